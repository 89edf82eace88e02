"""A deployment seen from outside: `azureml.core.webservice` with v1's names and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mldeploy import deployment
from mldeploy.events import Report, silent
from mldeploy.webservice._cloud import AciWebservice, AksEndpoint, AksWebservice
from mldeploy.webservice._local import LocalWebservice
from mldeploy.webservice._orders import order
from mldeploy.webservice._service import Webservice

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.harness import ServingSettings
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.workspace import Workspace

__all__ = ["AciWebservice", "AksEndpoint", "AksWebservice", "LocalWebservice", "Webservice", "deploy", "order"]


def deploy(
    workspace: Workspace,
    name: str,
    models: Sequence[Model | str],
    inference_config: InferenceConfig | None = None,
    deployment_config: DeploymentConfiguration | None = None,
    *,
    overwrite: bool = False,
    engine: str = "auto",
    timeout: float | None = None,
    serving: ServingSettings | None = None,
    offline: bool = False,
    report: Report = silent,
) -> Webservice:
    """Deploy models; `Model.deploy` says what each argument means."""
    asked = order(workspace, models, inference_config, deployment_config, engine, timeout, serving, offline)
    deployment.deploy(workspace, name, asked, overwrite=overwrite, report=report)
    return Webservice(workspace, name)
