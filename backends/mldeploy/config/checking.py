"""`mldeploy config check`: everything that can be said about a config file without deploying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.config.deployment_file import read_deployment
from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.config.files import Document, read
from mldeploy.config.findings import Finding, in_order
from mldeploy.config.harness import read_harness, read_toml
from mldeploy.config.inference import inference_config_of, read_inference
from mldeploy.config.inline import inline_files, read_environment
from mldeploy.config.words import nearest
from mldeploy.errors import AzureMLException, ConfigException, UserErrorException
from mldeploy.events import Event, Notice

if TYPE_CHECKING:
    from collections.abc import Callable


def check(path: str | Path) -> list[Finding]:
    """Checks a config file of any kind, and the files that it names.

    What it is shows by its keys: `computeType` is a deployment config, `entryScript` an inference config,
    `python` or `docker` an environment; a TOML file is the harness' own.

    Args:
        path: The file.

    Returns:
        The findings in the order of the file; empty if all is well.
    """
    try:
        if Path(path).suffix.lower() == ".toml":
            return in_order(read_harness(read_toml(path))[1])
        document = read(path)
        return in_order(_CHECKS[kind_of_file(document)](document))
    except UserErrorException as error:
        return [_finding(error, str(path))]


def kind_of_file(document: Document) -> str:
    """The kind of a JSON or YAML config file.

    Raises:
        ConfigException: None of the keys that tell the kinds apart is there, nor one that resembles it.
    """
    for kind, keys in _MARKS.items():
        if keys & document.data.keys():
            return kind
    for kind, keys in _MARKS.items():
        if any(nearest(key, keys) for key in document.data):
            return kind
    raise ConfigException(
        "This is no config file that mldeploy knows",
        where=str(document.path),
        hint="a deployment config has 'computeType', an inference config 'entryScript', an environment 'python'",
    )


def _check_inference(document: Document) -> list[Finding]:
    model, findings = read_inference(document)
    if model is None:
        return findings
    told: list[Event] = []
    try:
        inference_config_of(document, told.append).validate()
    except UserErrorException as error:
        findings.append(_finding(error, str(document.path)))
    seen = {str(finding) for finding in findings}  # reading it again told its warnings again
    return findings + [warning for warning in _warnings(told, document) if warning.message not in seen]


def _check_environment(document: Document) -> list[Finding]:
    definition, findings = read_environment(document)
    told: list[Event] = []
    try:
        inline_files(definition or EnvironmentDefinition(), document.path.parent, told.append)
    except UserErrorException as error:
        findings.append(_finding(error, str(document.path)))
    return findings + _warnings(told, document)


def _warnings(told: list[Event], document: Document) -> list[Finding]:
    return [Finding("warning", event.text, str(document.path)) for event in told if isinstance(event, Notice)]


def _finding(error: AzureMLException, path: str) -> Finding:
    elsewhere = error.where and not error.where.startswith(path) and not error.message.startswith(error.where)
    message = (f"{error.where}: " if elsewhere else "") + error.message + (f": {error.reason}" if error.reason else "")
    line = error.where.removeprefix(path).lstrip(":").partition(":")[0]
    return Finding("error", message, path, int(line) if line.isdigit() else None, error.hint)


_MARKS = {
    "deployment": {"computeType"},
    "inference": {"entryScript", "sourceDirectory", "environment"},
    "environment": {"python", "docker", "environmentVariables"},
}
_CHECKS: dict[str, Callable[[Document], list[Finding]]] = {
    "deployment": lambda document: read_deployment(document)[1],
    "inference": _check_inference,
    "environment": _check_environment,
}
