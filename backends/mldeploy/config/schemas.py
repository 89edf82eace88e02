"""JSON Schemas of the config files, for an editor's completion; published in `docs/schemas/`."""

from __future__ import annotations

from typing import Any

from mldeploy.config.deployment import TARGETS, DeploymentConfiguration
from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.config.harness import HarnessConfig
from mldeploy.config.inference import InferenceConfigFile
from mldeploy.config.sections import Section
from mldeploy.config.words import listing
from mldeploy.errors import ConfigException

KINDS = ("inference", "deployment", "environment", "mldeploy")
"""The kinds of config files."""

_TITLES = {
    "inference": "inferenceconfig.json",
    "deployment": "deploymentconfig.json",
    "environment": "azureml_environment.json",
    "mldeploy": "mldeploy.toml",
}
_MODELS: dict[str, type[Section]] = {
    "inference": InferenceConfigFile,
    "environment": EnvironmentDefinition,
    "mldeploy": HarnessConfig,
}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of config file.

    Args:
        kind: One of `KINDS`.

    Raises:
        ConfigException: There is no such kind.

    Examples:
        >>> json_schema("inference")["required"]
        ['entryScript']
    """
    if kind not in KINDS:
        raise ConfigException(f"{kind!r} is not a kind of config file", hint=f"one of {listing(KINDS)}")
    schema = _deployment() if kind == "deployment" else _MODELS[kind].model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_brief(schema),
        "title": _TITLES[kind],
    }


def _brief(schema: Any) -> Any:
    """A schema with the first paragraph of each description; the rest is for people who read Python."""
    if isinstance(schema, list):
        return [_brief(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.partition("\n\n")[0] if key == "description" and isinstance(value, str) else _brief(value)
        for key, value in schema.items()
    }


def _deployment() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["computeType"],
        "oneOf": [_one_target(model) for model in TARGETS.values()],
    }


def _one_target(model: type[DeploymentConfiguration]) -> dict[str, Any]:
    """The schema of a target's file: that of its attributes, put where they stand in the file."""
    flat = model.model_json_schema()["properties"]
    schema = _object(model.__name__, {"computeType": _any_case(model.compute_type)})
    for name, way in model.ways().items():
        section = schema["properties"]
        for key in way[:-1]:
            section = section.setdefault(key, _object(key, {}))["properties"]
        section[way[-1]] = _or_null(flat[name])
    return schema


def _object(title: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "type": "object", "additionalProperties": False, "properties": properties}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Null means "not given" in a deployment config."""
    if {"type": "null"} in schema.get("anyOf", []):
        return schema
    about: dict[str, Any] = {key: schema[key] for key in schema if key in {"title", "default"}}
    kind = {key: value for key, value in schema.items() if key not in about}
    return {**about, "anyOf": [kind, {"type": "null"}]}


def _any_case(word: str) -> dict[str, Any]:
    """A word in any case: completed as v1 wrote it, accepted as anybody did."""
    pattern = "".join(f"[{letter.lower()}{letter.upper()}]" for letter in word)
    return {"anyOf": [{"enum": [word, word.lower()]}, {"type": "string", "pattern": f"^{pattern}$"}]}
