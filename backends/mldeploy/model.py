"""Registered models.

The names and parameters are `azureml.core.model.Model`'s (azureml-core 1.61, observed). What needs a run in
the cloud (`run_id`, access signatures) is not here.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import ComputeTargetException, ModelNotFoundException, UserErrorException, WebserviceException
from mldeploy.events import Report, Step, silent
from mldeploy.inference_config import InferenceConfig
from mldeploy.model_package import Asked, ModelPackage, make
from mldeploy.resource_configuration import ResourceConfiguration
from mldeploy.store.drafts import (
    Changes,
    Framework,
    checked_framework,
    checked_name,
    checked_pairs,
    dataset_id,
    references,
    resources,
)
from mldeploy.store.files import Content
from mldeploy.store.filters import Filter, fits, latest_first, not_found, split_id, version_number

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.harness import ServingSettings
    from mldeploy.store.models import ModelFile, ModelRecord
    from mldeploy.webservice import Webservice
    from mldeploy.workspace import Workspace

__all__ = ["InferenceConfig", "Model", "ModelPackage"]

_MODELS = "azureml-models"


class Model:
    """A registered model: the latest that fits everything given.

    Args:
        workspace: Where it is registered.
        name: Its name.
        id: `name:version`.
        tags: Keys, or `[key, value]` pairs, that it must have.
        properties: The same for properties.
        version: Its version.
        model_framework: Its framework.

    Attributes:
        workspace: As given.

    Raises:
        ModelNotFoundException: There is none.
        WebserviceException: Neither a name nor an id is given.

    Examples:
        >>> from mldeploy.workspace import Workspace
        >>> ws = Workspace.create("my-workspace", exist_ok=True)
        >>> _ = Path("model.txt").write_text("0.5")
        >>> model = Model.register(ws, "model.txt", "half", tags={"stage": "test"})
        >>> model.name, model.tags, [file.path for file in model.files]
        ('half', {'stage': 'test'}, ['model.txt'])
        >>> Model(ws, "half", tags=[["stage", "test"]]).id == model.id
        True
    """

    Framework = Framework

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  (v1's name)
        tags: Filter | None = None,
        properties: Filter | None = None,
        version: int | str | None = None,
        *,
        model_framework: str | None = None,
    ) -> None:
        if name is None and id is None and not tags and not properties:
            raise WebserviceException(
                "a model is asked for by nothing",
                where="Model",
                hint="give name, or id ('name:version'), or tags, or properties",
            )
        if id is not None:
            name, version = split_id(id)
        wanted = version_number(version)
        fitting = fits(tags, properties, model_framework)
        for record in latest_first(workspace.store.models.list(name, wanted)):
            if fitting(record):
                self._take(workspace, record)
                return
        raise not_found(workspace, name, wanted, tags, properties)

    def _take(self, workspace: Workspace, record: ModelRecord) -> None:
        self.workspace = workspace
        self._record = record

    def __repr__(self) -> str:
        return f"Model(workspace={self.workspace!r}, name={self.name!r}, version={self.version})"

    @property
    def name(self) -> str:
        """Its name."""
        return self._record.name

    @property
    def version(self) -> int:
        """Given by the registry, counted from 1."""
        return self._record.version

    @property
    def id(self) -> str:
        """`name:version`."""
        return self._record.id

    @property
    def description(self) -> str | None:
        """The user's text."""
        return self._record.description

    @property
    def tags(self) -> dict[str, str]:
        """Pairs that may change."""
        return dict(self._record.tags)

    @property
    def properties(self) -> dict[str, str]:
        """Pairs that are only added to."""
        return dict(self._record.properties)

    @property
    def model_framework(self) -> str:
        """One of `Model.Framework`."""
        return self._record.framework

    @property
    def model_framework_version(self) -> str | None:
        """The framework's version."""
        return self._record.framework_version

    @property
    def created_time(self) -> datetime:
        """When it was registered, UTC."""
        return self._record.created_time

    @property
    def datasets(self) -> dict[str, builtins.list[str]]:
        """From a purpose (`training`, `validation`, `inferencing`) to the ids of datasets."""
        found: dict[str, builtins.list[str]] = {}
        for purpose, dataset in self._record.datasets:
            found.setdefault(purpose, []).append(dataset)
        return found

    @property
    def sample_input_dataset_id(self) -> str | None:
        """A dataset with sample requests."""
        return self._record.sample_input_dataset_id

    @property
    def sample_output_dataset_id(self) -> str | None:
        """A dataset with sample answers."""
        return self._record.sample_output_dataset_id

    @property
    def resource_configuration(self) -> ResourceConfiguration | None:
        """What it needs where no deployment configuration says it."""
        return ResourceConfiguration.deserialize(self._record.resource_configuration)

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Its files, by path."""
        return self._record.files

    @staticmethod
    def register(
        workspace: Workspace,
        model_path: str | Path,
        model_name: str,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        datasets: Iterable[tuple[str, object]] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Iterable[str] | None = None,
        sample_input_dataset: object = None,
        sample_output_dataset: object = None,
        resource_configuration: ResourceConfiguration | None = None,
        *,
        report: Report = silent,
    ) -> Model:
        """Store a model's files and record them under the name's next version.

        Args:
            workspace: Where.
            model_path: A file or folder.
            model_name: Up to 255 letters, digits, `-`, `.` and `_`, the first a letter or digit.
            tags: Pairs that may change.
            properties: Pairs that are only added to.
            description: For people.
            datasets: Pairs of a purpose and a dataset: its id, or anything with an `id` or a `name`.
            model_framework: One of `Model.Framework`; `Custom` if not given.
            model_framework_version: The framework's version.
            child_paths: Files and folders below `model_path`, if only those belong to the model.
            sample_input_dataset: A dataset with sample requests, as in `datasets`.
            sample_output_dataset: A dataset with sample answers.
            resource_configuration: What it needs where no deployment configuration says it.
            report: Is told of the bytes stored.

        Returns:
            The registered model.

        Raises:
            WebserviceException: The name breaks the rule.
            ModelPathNotFoundException: A path does not exist, or a link leaves the folder.
            UserErrorException: A value is wrong, or the model is empty.
            WorkspaceException: The disk is full, or the workspace cannot be written.
        """
        from mldeploy.store.models import ModelRecord
        from mldeploy.store.sources import find_sources

        draft = ModelRecord(
            name=checked_name(model_name),
            tags=checked_pairs("tags", tags),
            properties=checked_pairs("properties", properties),
            description=description,
            datasets=references(datasets),
            framework=checked_framework(model_framework),
            framework_version=model_framework_version,
            sample_input_dataset_id=dataset_id(sample_input_dataset),
            sample_output_dataset_id=dataset_id(sample_output_dataset),
            resource_configuration=resources(resource_configuration),
        )
        report(Step("register", f"Registering model {model_name}"))
        sources = find_sources(model_path, child_paths, report)
        return _model(workspace, workspace.store.models.register(draft, sources, report))

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Filter | None = None,
        properties: Filter | None = None,
        *,
        latest: bool = False,
        dataset_id: str | None = None,
        model_framework: str | None = None,
    ) -> builtins.list[Model]:
        """The registered models, the latest registered first.

        Args:
            workspace: Where.
            name: Only those of this name.
            tags: Only those that have all these keys, or `[key, value]` pairs.
            properties: The same for properties.
            latest: Only the latest version of each name that fits the rest.
            dataset_id: Only those registered with this dataset.
            model_framework: Only those of this framework.

        Returns:
            The models.
        """
        fitting = fits(tags, properties, model_framework)
        seen: set[str] = set()
        found = []
        for record in latest_first(workspace.store.models.list(name)):
            of_dataset = dataset_id is None or any(dataset == dataset_id for _, dataset in record.datasets)
            if fitting(record) and of_dataset and not (latest and record.name in seen):
                seen.add(record.name)
                found.append(_model(workspace, record))
        return found

    def download(self, target_dir: str | Path = ".", exist_ok: bool = False) -> str:
        """Write the model's files below a folder.

        Args:
            target_dir: The folder; made if it is not there.
            exist_ok: Whether what is there under the same names may be replaced.

        Returns:
            The path of the model's file or folder.

        Raises:
            UserErrorException: Something is there and may not be replaced, or the folder cannot be written.
        """
        folder = Path(target_dir)
        path = folder / self._top()
        try:
            if not exist_ok and path.exists():
                raise UserErrorException(
                    f"{path} already exists", where=self.id, hint="--overwrite (exist_ok=True) replaces it"
                )
            self._write(folder, link=False)
        except OSError as error:
            raise UserErrorException(
                f"{self.id} cannot be downloaded",
                where=str(error.filename2 or error.filename or folder),
                reason=error.strerror or str(error),
                hint="make room there, or give another folder",
            ) from error
        return str(path)

    def materialize(self, folder: Path) -> None:
        """Lay the model's files below a folder for a service: hard links where they can be, read-only.

        Args:
            folder: The folder.
        """
        self._write(folder, link=True)

    def _write(self, folder: Path, *, link: bool) -> None:
        for file in self.files:
            target = folder / file.path
            target.unlink(missing_ok=True)
            self.workspace.store.files.fetch(Content(file.digest, file.size), target, link=link)

    def _top(self) -> str:
        return self.files[0].path.partition("/")[0]

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change the values of those there."""
        self.update_tags_properties(add_tags=tags)

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove tags by key; those that are not there do not matter."""
        self.update_tags_properties(remove_tags=tags)

    def add_properties(self, properties: Mapping[str, str]) -> None:
        """Add properties.

        Raises:
            UserErrorException: One is there with another value: properties are only added to.
        """
        self.update_tags_properties(add_properties=properties)

    def update_tags_properties(
        self,
        add_tags: Mapping[str, str] | None = None,
        remove_tags: Iterable[str] | None = None,
        add_properties: Mapping[str, str] | None = None,
    ) -> None:
        """Change tags and add properties, all at once.

        Args:
            add_tags: Pairs to add or change.
            remove_tags: Keys to remove, after that; one key or several.
            add_properties: Pairs to add.

        Raises:
            UserErrorException: A property is there with another value.
            ModelNotFoundException: The model was deleted meanwhile.
        """
        changes = Changes(add_tags, remove_tags, add_properties)

        def change(record: ModelRecord) -> ModelRecord:
            tags, properties = changes.made(record.id, record.tags, record.properties)
            return replace(record, tags=tags, properties=properties)

        self._change(change)

    def update(
        self,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        sample_input_dataset: object = None,
        sample_output_dataset: object = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> None:
        """Replace what is given; the rest stays.

        Args:
            tags: All tags from now on.
            description: For people.
            sample_input_dataset: A dataset with sample requests.
            sample_output_dataset: A dataset with sample answers.
            resource_configuration: What the model needs.

        Raises:
            ModelNotFoundException: The model was deleted meanwhile.
        """
        given: dict[str, Any] = {
            "tags": None if tags is None else checked_pairs("tags", tags),
            "description": description,
            "sample_input_dataset_id": dataset_id(sample_input_dataset),
            "sample_output_dataset_id": dataset_id(sample_output_dataset),
            "resource_configuration": resources(resource_configuration),
        }
        values = {name: value for name, value in given.items() if value is not None}
        self._change(lambda record: replace(record, **values))

    def add_dataset_references(self, datasets: Iterable[tuple[str, object]]) -> None:
        """Add datasets, as `register` takes them.

        Raises:
            ModelNotFoundException: The model was deleted meanwhile.
        """
        added = references(datasets)
        self._change(lambda record: replace(record, datasets=record.datasets + added))

    def _change(self, change: Callable[[ModelRecord], ModelRecord]) -> None:
        changed = self.workspace.store.models.change(self.name, self.version, change)
        if changed is None:
            raise ModelNotFoundException(f"model {self.id} was deleted meanwhile", where=self.workspace.name)
        self._record = changed

    def delete(self) -> None:
        """Remove the model from the registry.

        Raises:
            UserErrorException: A service uses it; the message names the service.
        """
        self.workspace.store.models.delete(self.name, self.version)

    def serialize(self) -> dict[str, Any]:
        """The model as the retired command line printed it, and what it is registered with beside that."""
        record = self._record
        return {
            "createdTime": record.created_time.isoformat(),
            "datasets": [{"name": purpose, "id": dataset} for purpose, dataset in record.datasets],
            "description": record.description,
            "experimentName": None,
            "framework": record.framework,
            "frameworkVersion": record.framework_version,
            "id": record.id,
            "modifiedTime": record.modified_time.isoformat(),
            "name": record.name,
            "properties": record.properties,
            "resourceConfiguration": record.resource_configuration,
            "runId": None,
            "sampleInputDatasetId": record.sample_input_dataset_id,
            "sampleOutputDatasetId": record.sample_output_dataset_id,
            "tags": record.tags,
            "version": record.version,
        }

    @staticmethod
    def deserialize(workspace: Workspace, model_payload: Mapping[str, Any]) -> Model:
        """The registered model that `serialize` described, as it is now.

        Args:
            workspace: Where it is registered.
            model_payload: JSON with at least `id`.

        Raises:
            ModelNotFoundException: It is not registered there.
        """
        return Model(workspace, id=model_payload["id"])

    @staticmethod
    def deploy(
        workspace: Workspace,
        name: str,
        models: Sequence[Model | str],
        inference_config: InferenceConfig | None = None,
        deployment_config: DeploymentConfiguration | None = None,
        deployment_target: object = None,
        overwrite: bool = False,
        show_output: bool = False,
        *,
        engine: str = "auto",
        timeout: float | None = None,
        serving: ServingSettings | None = None,
        offline: bool = False,
        report: Report = silent,
    ) -> Webservice:
        """Deploy models as a service (v1's parameters up to `show_output`; the others are ours).

        It returns when the target runs the service; `wait_for_deployment` waits until it is Healthy.

        Args:
            workspace: Where the service is recorded.
            name: 3 to 32 lowercase letters, digits and dashes, a letter first.
            models: Registered models, as objects, `name:version` or `name` (the latest).
            inference_config: Entry script, source directory and environment.
            deployment_config: The place; None is the local target with a port that the system chooses.
            deployment_target: A compute target; local deployments have none.
            overwrite: Replace a service of that name.
            show_output: Wait, and print how it goes.
            engine: What runs it on this machine: `process`, `docker`, or `auto`: process unless that cannot do it.
            timeout: Seconds until it must be Healthy, 300 by default; then it is ended and Failed.
            serving: How the scoring server behaves.
            offline: Do without a network.
            report: Told each step.

        Returns:
            The service.

        Raises:
            WebserviceException: The name breaks v1's rule, is taken or being deployed (409), or the port is taken.
            UserErrorException: The script, a path, a configuration or the environment has to be changed.
            ComputeTargetException: This version cannot deploy to that place.
        """
        from mldeploy import deployment, webservice

        if deployment_target is not None:
            raise ComputeTargetException(
                "a deployment target was given, but local deployments have none",
                reason="compute targets come with the AKS target",
                hint="leave out the deployment target",
            )
        asked = webservice.order(
            workspace, models, inference_config, deployment_config, engine, timeout, serving, offline
        )
        deployment.deploy(workspace, name, asked, overwrite=overwrite, report=report)
        service = webservice.Webservice(workspace, name)
        if show_output:
            service.wait_for_deployment(show_output=True, report=report)
        return service

    @staticmethod
    def package(
        workspace: Workspace,
        models: Sequence[Model | str],
        inference_config: InferenceConfig | None = None,
        generate_dockerfile: bool = False,
        image_name: str | None = None,
        image_label: str | None = None,
        *,
        registry: str = "",
        serving: ServingSettings | None = None,
        debug_port: int | None = None,
        offline: bool = False,
        report: Report = silent,
    ) -> ModelPackage:
        """Make an image of models and what serves them, or a Dockerfile and its context (v1's parameters first).

        Args:
            workspace: Where the models are registered.
            models: Registered models, as objects, `name:version` or `name` (the latest); may be none.
            inference_config: Entry script, source directory and environment, which has to be there.
            generate_dockerfile: A Dockerfile, which `save` of the result writes, and no image.
            image_name: The image's; `package` if not given.
            image_label: The image's; the time in UTC if not given.
            registry: Where the image is pushed: a host, and the path there.
            serving: How the scoring server behaves.
            debug_port: The server waits there for a debugger; debugpy comes into the environment.
            offline: Do without a network.
            report: Told each step.

        Raises:
            UserErrorException: The script, a path, a name or the environment has to be changed.
            WebserviceException: There is no environment.
            EngineException: There is no Docker, or the registry refuses.
        """
        asked = Asked(generate_dockerfile, image_name, image_label, registry, debug_port)
        return make(workspace, models, inference_config, asked, serving, offline=offline, report=report)

    @staticmethod
    def get_model_path(model_name: str, version: int | str | None = None) -> str:
        """Where a model is, seen from a service's folder, or from the current folder in a script's first test.

        Args:
            model_name: Its name.
            version: Its version; None takes the highest there is below `azureml-models/`.

        Returns:
            `azureml-models/<name>/<version>/<the one thing in it>`, else `<name>` in the current folder.

        Raises:
            ModelNotFoundException: It is in neither place.
            WebserviceException: The version given is not there, or has not exactly one thing in it.
        """
        folder = Path(_MODELS) / model_name
        versions = sorted((int(one.name) for one in folder.glob("*") if one.name.isdigit()), reverse=True)
        if version is None and not versions:
            if Path(model_name).exists():
                return model_name
            raise ModelNotFoundException(
                f"Model not found in cache at {_MODELS} or in current working directory",
                where=str(Path.cwd()),
                hint=f"put the model at ./{model_name}, or deploy with it",
            )
        chosen = versions[0] if version is None else version
        found = sorted((folder / str(chosen)).glob("*"))
        if len(found) != 1:
            raise WebserviceException(
                f"version {chosen} of model {model_name} is not one file or folder",
                where=str(folder.absolute()),
                reason=f"there are {len(found)}",
            )
        return str(found[0])


def _model(workspace: Workspace, record: ModelRecord) -> Model:
    model = object.__new__(Model)
    model._take(workspace, record)
    return model
