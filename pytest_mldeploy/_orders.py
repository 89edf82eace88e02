"""From what a test wants to an order of the backend: files are read, models registered, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mldeploy.config.deployment import DeploymentConfiguration
from mldeploy.config.deployment_file import load_deployment_config, read_deployment
from mldeploy.config.files import Document
from mldeploy.config.findings import settle
from mldeploy.config.inference import inference_config_of, load_inference_config
from mldeploy.deployment import Order
from mldeploy.errors import ConfigException
from mldeploy.events import Notice, Report
from mldeploy.inference_config import InferenceConfig
from mldeploy.model import Model
from mldeploy.store.copying import digest_of
from mldeploy.store.sources import find_sources
from mldeploy.targets import TARGETS
from mldeploy.webservice import order
from mldeploy.workspace import Workspace
from pytest_mldeploy._marks import Wanted
from pytest_mldeploy._options import Options

_MODEL_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*:\d+")
_LONGEST_NAME = 255
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Orders:
    """Makes orders for one workspace.

    Args:
        workspace: Where models are registered.
        options: What the run asks for.
    """

    workspace: Workspace
    options: Options

    def of(self, wanted: Wanted, target: str, tell: Tell, file: Mapping[str, Any]) -> Order:
        """What the backend is asked for.

        Args:
            wanted: What the test says.
            target: Where it runs.
            tell: Gets what the user should know although nothing is wrong.
            file: What `mldeploy.toml` says about the settings.

        Raises:
            AzureMLException: A file cannot be read or says something wrong, or a model is not there.
        """

        def report(event: object) -> None:
            if isinstance(event, Notice):
                tell(event.text)

        def value(name: str, mark: Any = None) -> Any:
            return self.options.value(name, mark, file.get(name))

        return order(
            self.workspace,
            list(_models(self.workspace, wanted)),
            _inference_config(wanted, report),
            _configuration(wanted, target, report),
            value("engine"),
            value("timeout", wanted.timeout),
            self.options.serving(wanted.serving, file),
            value("offline"),
        )


def _inference_config(wanted: Wanted, report: Report) -> InferenceConfig:
    given = wanted.inference_config
    if isinstance(given, InferenceConfig):
        return given
    if isinstance(given, Mapping):
        return inference_config_of(_document(wanted, given), report)
    return load_inference_config(wanted.folder / _path(given, "inference_config"), report)


def _configuration(wanted: Wanted, target: str, report: Report) -> DeploymentConfiguration | None:
    """The configuration that is meant for a target; None where it takes its defaults."""
    given = wanted.deployment_config
    if isinstance(given, Mapping) and "computeType" not in given:
        unknown = [name for name in given if name not in TARGETS]
        if unknown or not given:
            raise ConfigException(
                "deployment_config is neither a configuration nor a mapping from targets to configurations",
                reason=f"it has no 'computeType', and {unknown[0]!r} is no target" if unknown else "it is empty",
                hint='{"computeType": "local", "port": 8890}, or {"local": "dc-local.json", "aks": "dc-aks.json"}',
            )
        return _one_configuration(wanted, given.get(target), target, report)
    made = _one_configuration(wanted, given, None, report)
    if made is None or _target_of(made) == target:
        return made
    name = given if isinstance(given, str | Path) else "the deployment configuration"
    report(Notice(f"{name} is for {_target_of(made)}: on {target} its defaults were taken"))
    return None


def _one_configuration(
    wanted: Wanted, given: Any, target: str | None, report: Report
) -> DeploymentConfiguration | None:
    if given is None or isinstance(given, DeploymentConfiguration):
        made = given
    elif isinstance(given, Mapping):
        made, findings = read_deployment(_document(wanted, given), None if "computeType" in given else target)
        settle(findings, report)
    else:
        made = load_deployment_config(wanted.folder / _path(given, "deployment_config"), report)
    if target and made and _target_of(made) != target:
        raise ConfigException(f"what deployment_config has for {target} is for {_target_of(made)}")
    return made


def _target_of(configuration: DeploymentConfiguration) -> str:
    """The target that a configuration is for: an endpoint runs on AKS."""
    return configuration.compute_type.lower().removesuffix("endpoint")


def _document(wanted: Wanted, data: Mapping[str, Any]) -> Document:
    return Document(wanted.folder / "mark", dict(data))


def _models(workspace: Workspace, wanted: Wanted) -> Iterator[Model | str]:
    given = wanted.models
    if isinstance(given, Mapping):
        for name, path in given.items():
            yield _registered(workspace, name, wanted.folder / _path(path, "models"))
        return
    for model in [given] if isinstance(given, str | Path | Model) else given:
        if isinstance(model, Model) or (isinstance(model, str) and _MODEL_ID.fullmatch(model)):
            yield model
        else:
            path = wanted.folder / _path(model, "models")
            yield _registered(workspace, _legal_name(path.stem), path)


def _path(given: Any, what: str) -> Path:
    if not isinstance(given, str | Path):
        raise ConfigException(f"{what} cannot be {given!r}", hint="a path, or one of the objects the guide lists")
    return Path(given)


def _registered(workspace: Workspace, name: str, path: Path) -> Model:
    """The model of that name and content; registered if there is none yet."""
    known = Model.list(workspace, name=name)
    if known:
        content = {(source.path, digest_of(source.file)) for source in find_sources(path)}
        for model in known:
            if {(file.path, file.digest) for file in model.files} == content:
                return model
    return Model.register(workspace, path, name)


def _legal_name(stem: str) -> str:
    """A file's stem as a model's name: letters, digits, `-`, `.` and `_`, the first a letter or digit."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", stem).lstrip("-._")[:_LONGEST_NAME] or "model"
