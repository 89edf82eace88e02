"""Environments that point at files, made whole: a definition in the registry has to stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.config.environment import (
    STOCK_BASE,
    CondaDefinition,
    DockerDefinition,
    EnvironmentDefinition,
    PythonDefinition,
    RegistryDefinition,
)
from mldeploy.config.files import Document, read, read_text
from mldeploy.config.findings import Finding, settle
from mldeploy.config.parsing import parse
from mldeploy.config.paths import locate
from mldeploy.config.words import found
from mldeploy.errors import ConfigException
from mldeploy.events import Notice, Report, silent

if TYPE_CHECKING:
    from mldeploy.inference_config import InferenceConfig

OLDER_NAME = "inference-config"
"""The name of an environment that only v1's older arguments describe."""


def load_environment(path: str | Path, report: Report = silent) -> EnvironmentDefinition:
    """Loads an environment that is a file by itself (`azureml_environment.json`, or YAML), made whole.

    Args:
        path: The file; paths in it are relative to its folder.
        report: Gets a `Notice` for each path that was only found under the current folder.

    Raises:
        ConfigException: Something in the file, or in the conda file it names, is wrong; with file and line.
    """
    document = read(path)
    definition, findings = read_environment(document)
    settle(findings)
    return inline_files(definition or EnvironmentDefinition(), document.path.parent, report)


def read_environment(document: Document) -> tuple[EnvironmentDefinition | None, list[Finding]]:
    """Reads an environment; None if there is an error, and the findings."""
    definition, problems = parse(EnvironmentDefinition, document.data)
    return (None if problems else definition), [problem.found_in(document) for problem in problems]


def load_conda_file(path: str | Path) -> CondaDefinition:
    """Loads a conda environment file (YAML or JSON), made whole: `-r` and `-c` among its pip lines are followed.

    Raises:
        ConfigException: It cannot be read, or is not a conda environment; with file, line and key.
        EnvironmentException: A requirements file that it names cannot be read.
    """
    from mldeploy.packaging.requirement_files import whole_conda

    document = read(path)
    made, problems = parse(CondaDefinition, document.data)
    settle(problem.found_in(document) for problem in problems)
    whole = whole_conda((made or CondaDefinition()).to_dict(), document.path.absolute().parent)
    return CondaDefinition.model_validate(whole)


def inline_files(definition: EnvironmentDefinition, folder: Path, report: Report = silent) -> EnvironmentDefinition:
    """Takes into a definition what it points at: `condaDependenciesFile`, and a `baseDockerfile` that is a path.

    Args:
        definition: An environment whose paths are relative to `folder`.
        folder: The folder of the file that the definition came from.
        report: Gets a `Notice` for each path that was only found under the current folder.

    Raises:
        ConfigException: The conda file is missing or wrong.
    """
    python, docker = definition.python, definition.docker
    if python.conda_dependencies_file:
        place = locate(python.conda_dependencies_file, folder)
        if place.note:
            report(Notice(f"'condaDependenciesFile' {place.note}"))
        update: dict[str, Any] = {
            "conda_dependencies": load_conda_file(place.path),
            "conda_dependencies_file": None,
        }
        definition = definition.model_copy(update={"python": python.model_copy(update=update)})
    dockerfile = docker.base_dockerfile
    if dockerfile and "\n" not in dockerfile and not dockerfile.lstrip().upper().startswith("FROM "):
        text = _dockerfile(dockerfile, folder, report)
        definition = definition.model_copy(update={"docker": docker.model_copy(update={"base_dockerfile": text})})
    return definition


def _dockerfile(value: str, folder: Path, report: Report) -> str:
    place = locate(value, folder)
    if place.note:
        report(Notice(f"'baseDockerfile' {place.note}"))
    return read_text(place.path)


def older_definition(config: InferenceConfig, folder: Path) -> EnvironmentDefinition | None:
    """The environment that the older arguments of an `InferenceConfig` describe; None if none of them is given.

    Args:
        config: The configuration.
        folder: What its `conda_file` and `extra_docker_file_steps` are relative to.

    Raises:
        ConfigException: A file is missing or wrong.
    """
    python: dict[str, Any] = {}
    docker: dict[str, Any] = {}
    if config.conda_file:
        python["conda_dependencies"] = load_conda_file(folder / config.conda_file)
    if config.enable_gpu:
        docker["gpu_support"] = True
    if config.extra_docker_file_steps:
        steps = read_text(folder / config.extra_docker_file_steps)
        docker["base_dockerfile"] = f"FROM {config.base_image or STOCK_BASE}\n{steps}"
    elif config.base_image:
        docker["base_image"] = config.base_image
    if config.base_image_registry:
        docker["base_image_registry"] = _registry(config.base_image_registry)
    if not python and not docker:
        return None
    return EnvironmentDefinition(name=OLDER_NAME, python=PythonDefinition(**python), docker=DockerDefinition(**docker))


def _registry(registry: Any) -> RegistryDefinition:
    """A registry given by its address, or by an object with v1's attributes."""
    if isinstance(registry, str):
        return RegistryDefinition(address=registry)
    if isinstance(registry, dict):
        return RegistryDefinition.of(**registry)
    if not hasattr(registry, "address"):
        raise ConfigException(
            "'base_image_registry' expected an address, or an object with 'address', 'username' and 'password', "
            f"found {found(registry)}",
            where="InferenceConfig",
        )
    given = {name: getattr(registry, name, None) for name in ("address", "username", "password")}
    return RegistryDefinition.of(**{name: value for name, value in given.items() if value is not None})
