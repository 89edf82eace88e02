"""A Package: models, source and environment as one content-addressed value, and its layout on disk.

The layout is the serving container's (C §4.2): an app root that is the working directory, models below
`azureml-models/<name>/<version>`, `AZUREML_MODEL_DIR` naming the one model's folder or the folder of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.errors import UserErrorException
from mldeploy.events import Report, silent
from mldeploy.packaging.choosing import resolved
from mldeploy.packaging.source import MODELS_FOLDER, Source, collect

if TYPE_CHECKING:
    from mldeploy.config.harness import ServingSettings
    from mldeploy.images.resolving import ImageEnvironment
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.packaging.environments import ResolvedEnvironment
    from mldeploy.workspace import Workspace

MOST_MODELS = 1000  # v1's limit for one deployment (C §4.2)


@dataclass(frozen=True)
class Package:
    """What can be deployed; it runs nowhere yet.

    Args:
        digest: A sha256 (hex) over all that is in it; equal packages need no second deployment.
        source: The entry script and what goes with it.
        models: In the order given, without repeats.
        environment: The locked environment, for a process of this machine or for an image.
        variables: The environment's own variables, for the serving process.
    """

    digest: str
    source: Source
    models: tuple[Model, ...]
    environment: ResolvedEnvironment | ImageEnvironment
    variables: Mapping[str, str]

    @property
    def model_ids(self) -> tuple[str, ...]:
        """`name:version` of each model."""
        return tuple(model.id for model in self.models)

    @property
    def model_dir(self) -> str | None:
        """`AZUREML_MODEL_DIR` relative to the app root; None without a model."""
        if not self.models:
            return None
        if len(self.models) == 1:
            return f"{MODELS_FOLDER}/{self.models[0].name}/{self.models[0].version}"
        return MODELS_FOLDER

    def server_variables(self, app_root: str, serving: ServingSettings) -> dict[str, str]:
        """The environment variables of the serving process (C §4.2), the environment's own among them.

        Args:
            app_root: Where `lay_out` has put the package, as that process sees it.
            serving: How the scoring server behaves.
        """
        variables = {
            **self.variables,
            "AML_APP_ROOT": app_root,
            "AZUREML_ENTRY_SCRIPT": self.source.entry_script,
            **serving.variables(),
        }
        if self.source.directory:
            variables["AZUREML_SOURCE_DIRECTORY"] = self.source.directory
        if self.model_dir:
            variables["AZUREML_MODEL_DIR"] = f"{app_root}/{self.model_dir}"
        return variables

    def lay_out(self, app_root: Path) -> None:
        """Write source and models below `app_root`, which is made."""
        app_root.mkdir(parents=True, exist_ok=True)
        for model in self.models:
            model.materialize(app_root / MODELS_FOLDER / model.name / str(model.version))
        self.source.copy_to(app_root)


def package(
    workspace: Workspace,
    models: tuple[Model, ...],
    inference_config: InferenceConfig,
    *,
    besides: Sequence[str] = (),
    engine: str = "auto",
    offline: bool = False,
    report: Report = silent,
) -> Package:
    """Make a package: check the script, collect the source, resolve the environment.

    Args:
        workspace: Whose environment locks count.
        models: The registered models that the script loads.
        inference_config: Script, source directory and environment.
        besides: Requirements that the scoring server brings.
        engine: What it is for: `process`, `docker`, or `auto`, which is Docker where a process will not do.
        offline: Resolve without a network; what was resolved before needs none anyway.
        report: Told each step.

    Raises:
        UserErrorException: The script or the source directory breaks a rule.
        EnvironmentException: The environment cannot be resolved; `NeedsImage` where only an image will do.
        EngineException: Docker is asked for, and there is none.
    """
    models = tuple({model.id: model for model in models}.values())
    if len(models) > MOST_MODELS:
        raise UserErrorException(
            f"{len(models)} models in one deployment", reason=f"v1's limit is {MOST_MODELS} for a container"
        )
    inference_config.validate()
    source = collect(inference_config.entry_script_path, inference_config.source_directory_path, report)
    environment = resolved(
        inference_config.environment, workspace.store.locks, engine, besides=besides, offline=offline, report=report
    )
    variables = dict(inference_config.environment.environment_variables) if inference_config.environment else {}
    parts = [source.digest(), environment.digest]
    parts += [f"{model.id}/{file.path}/{file.digest}" for model in models for file in model.files]
    parts += [f"{name}={value}" for name, value in sorted(variables.items())]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Package(digest, source, models, environment, variables)
