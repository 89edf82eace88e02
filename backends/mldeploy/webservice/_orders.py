"""What is asked for, from v1's arguments or from a service's record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mldeploy.deployment import DEFAULT_TIMEOUT_S, Order
from mldeploy.errors import UserErrorException
from mldeploy.store.services import ServiceRecord

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.harness import ServingSettings
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.workspace import Workspace


def order(
    workspace: Workspace,
    models: Sequence[Model | str],
    inference_config: InferenceConfig | None = None,
    deployment_config: DeploymentConfiguration | None = None,
    engine: str = "auto",
    timeout: float | None = None,
    serving: ServingSettings | None = None,
    offline: bool = False,
) -> Order:
    """What `deploy` would be asked for, as a value; `mldeploy.deployment.plan` says what it would do.

    Raises:
        UserErrorException: There is no inference configuration.
        ModelNotFoundException: A model given as `name` or `name:version` is not registered.
    """
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration
    from mldeploy.config.harness import ServingSettings

    if inference_config is None:
        raise UserErrorException(
            "an inference configuration is needed",
            reason="deploying without one (v1's no-code deployment) comes with a later version",
            hint='InferenceConfig(entry_script="score.py"), or --ic inferenceconfig.json',
        )
    return Order(
        registered(workspace, models),
        inference_config,
        deployment_config or LocalWebserviceDeploymentConfiguration.of(),
        serving or ServingSettings(),
        engine,
        DEFAULT_TIMEOUT_S if timeout is None else timeout,
        offline,
    )


def recorded_order(workspace: Workspace, record: ServiceRecord) -> Order:
    """What a recorded service was asked for."""
    from mldeploy.config.deployment_file import deployment_from_dict
    from mldeploy.config.harness import ServingSettings
    from mldeploy.inference_config import InferenceConfig

    serving, inference = dict(record.serving), dict(record.inference_config)
    timeout, base = serving.pop("timeout"), inference.pop("base")
    configuration = deployment_from_dict(record.deployment_config)
    return Order(
        registered(workspace, record.model_ids),
        InferenceConfig.from_dict(inference, base),
        configuration.of(**{**configuration.model_dump(exclude_unset=True), **labels_of(record)}),
        ServingSettings(**serving),
        "docker" if record.engine == "docker" else "auto",
        timeout,
    )


def labels_of(record: ServiceRecord) -> dict[str, Any]:
    """What is written on a service by now, as a configuration says it."""
    labels = {"description": record.description, "tags": record.tags, "properties": record.properties}
    return {name: value for name, value in labels.items() if value is not None}


def registered(workspace: Workspace, models: Sequence[Model | str]) -> tuple[Model, ...]:
    """The registered models that are meant by objects, `name:version` or `name` (the latest).

    Raises:
        UserErrorException: Something else is given.
        ModelNotFoundException: There is no such model.
    """
    from mldeploy.model import Model

    if isinstance(models, (str, Model)):
        raise UserErrorException("'models' is a list", hint="models=[model]")
    given: Sequence[object] = models
    if strange := [model for model in given if not isinstance(model, (str, Model))]:
        raise UserErrorException(
            f"{strange[0]!r} is no model", where="models", hint="a registered Model, 'name:version' or 'name'"
        )
    return tuple(
        model
        if isinstance(model, Model)
        else Model(workspace, id=model)
        if ":" in model
        else Model(workspace, name=model)
        for model in models
    )
