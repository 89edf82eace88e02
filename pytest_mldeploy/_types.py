"""What the fixtures give, for a test's annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.webservice import Webservice


@dataclass(frozen=True)
class Target:
    """Where a test runs.

    Args:
        name: `local`, `aci`, `aks`, `edge` or `fpga`.
        capabilities: What it can do, as `mldeploy.targets.capabilities` lists it.
    """

    name: str
    capabilities: frozenset[str]

    def __str__(self) -> str:
        return self.name


class Deploy(Protocol):
    """Deploys a service and waits until it is Healthy; see the fixture `mldeploy_deploy`."""

    def __call__(
        self,
        inference_config: str | PathLike[str] | Mapping[str, Any] | InferenceConfig,
        *,
        models: Mapping[str, str | PathLike[str]] | Sequence[str | PathLike[str] | Model] = (),
        deployment_config: str | PathLike[str] | Mapping[str, Any] | DeploymentConfiguration | None = None,
        name: str | None = None,
        timeout: float | None = None,
        **serving: Any,
    ) -> Webservice:
        """Deploy; the parameters are the mark's."""
        ...
