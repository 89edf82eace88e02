"""`inferenceconfig.json`: the entry script, its folder and its environment, with v1's older keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Tag, ValidationError

from mldeploy.config.environment import EnvironmentDefinition, RegistryDefinition, is_reserved
from mldeploy.config.files import Document, read
from mldeploy.config.findings import Finding, Problem, explain, settle
from mldeploy.config.inline import inline_files
from mldeploy.config.parsing import parse
from mldeploy.config.paths import locate
from mldeploy.config.sections import Section, Way, by_shape
from mldeploy.config.words import found
from mldeploy.errors import ConfigException
from mldeploy.events import Notice, Report, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mldeploy.inference_config import InferenceConfig

_NO_SPARK = "is 'spark-py', and a service has no Spark: use 'python', and an environment with 'pyspark'"

LEGACY = ("runtime", "conda_file", "extra_docker_file_steps", "enable_gpu", "cuda_version", "base_image")
"""The attributes that `environment` excludes (as v1's `InferenceConfig` did)."""

Registry = Annotated[
    Annotated[str, Tag("text")] | Annotated[RegistryDefinition, Tag("object")],
    by_shape('expected an address or an object like {"address": "registry.example"}'),
]


class InferenceConfigFile(Section):
    """The object in `inferenceconfig.json` (JSON or YAML).

    Examples:
        >>> InferenceConfigFile(entryScript="score.py", sourceDirectory="./working_dir").to_dict()
        {'entryScript': 'score.py', 'sourceDirectory': './working_dir'}
    """

    entry_script: str = Field(min_length=1)
    source_directory: str | None = Field(default=None, min_length=1)
    description: str | None = None
    environment: EnvironmentDefinition | None = None
    runtime: Literal["python", "spark-py", "python-slim"] | None = None
    conda_file: str | None = Field(default=None, min_length=1)
    extra_docker_file_steps: str | None = Field(default=None, alias="extraDockerfileSteps", min_length=1)
    schema_file: str | None = None
    enable_gpu: bool | None = None
    cuda_version: Literal["9.0", "9.1", "10.0"] | None = None
    base_image: str | None = Field(default=None, min_length=1)
    base_image_registry: Registry | None = None

    def broken(self) -> Iterator[tuple[Way, str]]:
        """The environment is described once, and in a form that a service can have."""
        if self.environment is not None:
            for name in LEGACY:
                if getattr(self, name):
                    yield (self.key_of(name),), "excludes 'environment': say it there"
        if self.runtime == "spark-py":
            yield ("runtime",), _NO_SPARK

    @classmethod
    def key_of(cls, name: str) -> str:
        """An attribute as the file spells it."""
        return cls.model_fields[name].alias or name


def load_inference_config(path: str | Path, report: Report = silent) -> InferenceConfig:
    """Loads `inferenceconfig.json` (JSON or YAML).

    Args:
        path: The file. Paths in it are relative to its folder; one that is absent there but present under the
            current folder, where v1 looked, is taken from there.
        report: Gets a `Notice` for each path that was only found under the current folder, and each warning.

    Raises:
        ConfigException: Something in the file, or in a conda file it names, is wrong; the message has one line
            for each, with file and line.
    """
    return inference_config_of(read(path), report)


def inference_config_of(document: Document, report: Report = silent) -> InferenceConfig:
    """Makes an `InferenceConfig` of a file, or of a table in `mldeploy.toml`.

    Raises:
        ConfigException: As for `load_inference_config`.
    """
    from mldeploy.inference_config import InferenceConfig

    model, findings = read_inference(document)
    settle(findings, report)
    if model is None:  # settle() has raised already: there is no model only with an error
        raise ConfigException("No inference configuration", where=str(document.path))
    folder = document.path.parent
    anchor = "entry_script" if model.source_directory is None else "source_directory"
    place = locate(getattr(model, anchor), folder)
    source = place.base if model.source_directory is None else place.path
    update: dict[str, Any] = {}
    notes = {anchor: place.note}
    for name in ("conda_file", "extra_docker_file_steps"):
        value = getattr(model, name)
        if value is not None:
            found = locate(value, source)
            update[name], notes[name] = str(found.path), found.note
    for name, note in notes.items():
        if note:
            report(Notice(f"{document.place((model.key_of(name),))}: '{model.key_of(name)}' {note}"))
    if model.environment is not None:
        update["environment"] = inline_files(model.environment, folder, report)
    return InferenceConfig.from_file(model.model_copy(update=update), place.base)


def read_inference(document: Document) -> tuple[InferenceConfigFile | None, list[Finding]]:
    """Reads an inference config; None if there is an error, and the findings."""
    data = _one_spelling(document.data)
    model, problems = parse(InferenceConfigFile, data)
    name = data["environment"].get("name") if isinstance(data.get("environment"), dict) else None
    if isinstance(name, str) and is_reserved(name):
        problems.append(Problem(("environment", "name"), f"is {name!r}: {_RESERVED}", _CURATED))
    findings = [problem.found_in(document) for problem in problems]
    if model is not None and model.schema_file:
        findings.append(_SCHEMA_FILE.found_in(document, "warning"))
    return (None if problems else model), findings


_RESERVED = "names that begin with 'Microsoft' or 'AzureML' are for curated environments"
_CURATED = "choose another; a curated environment is chosen with 'mldeploy model deploy -e NAME'"
_SCHEMA_FILE = Problem(
    ("schemaFile",),
    "has no effect: the service describes itself by its decorators",
    "decorate 'run', or put a swagger.json into the source directory",
)


def _one_spelling(data: dict[str, Any]) -> dict[str, Any]:
    """v1's own pages write `extraDockerfileSteps` and `extraDockerFileSteps`."""
    other, right = "extraDockerFileSteps", "extraDockerfileSteps"
    if other not in data or right in data:
        return data
    return {right if key == other else key: value for key, value in data.items()}


def check_arguments(config: InferenceConfig) -> list[str]:
    """Everything that stands against the arguments of an `InferenceConfig`, spelled as in Python."""
    names = {field.alias or name: name for name, field in InferenceConfigFile.model_fields.items()}
    values = {
        name: getattr(config, name)
        for name in InferenceConfigFile.model_fields
        if hasattr(config, name) and name not in {"environment", "base_image_registry"}
    }
    if config.environment is not None:
        from mldeploy.environment import Environment

        if not isinstance(config.environment, Environment):
            return [f"'environment' expected an Environment, found {found(config.environment)}"]
        values["environment"] = EnvironmentDefinition()  # its own checks are its own; here it only excludes
    try:
        InferenceConfigFile.model_validate(values)
    except ValidationError as error:
        return [
            replace(problem, keys=(names.get(str(problem.keys[0]), problem.keys[0]), *problem.keys[1:])).text
            for problem in explain(error, values)
        ]
    return []
