"""What every target can do. What only some can is a capability (`capabilities.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.environment import DockerDefinition
    from mldeploy.config.harness import ServingSettings
    from mldeploy.events import Report
    from mldeploy.packaging.package import Package
    from mldeploy.targets.capabilities import Capability

State = Literal["Transitioning", "Unhealthy", "Unschedulable", "Failed", "Healthy"]
UNREACHABLE = "EngineUnreachable"  # the code of an error that says nothing of the service: nobody can look at it
Handle = Mapping[str, Any]  # what a target needs to find its deployment again; JSON, kept in the service's record


@dataclass(frozen=True)
class Deployment:
    """One order to a target: this package, under this name, so configured; `timeout` in seconds until Healthy.

    `keep_environment` runs it in the environment of what it replaces, whatever became of the requirements since.
    """

    service: str
    workspace: str
    package: Package
    configuration: DeploymentConfiguration
    serving: ServingSettings
    folder: Path  # this machine's, for what the deployment keeps here
    timeout: float
    offline: bool
    docker: DockerDefinition | None = None  # what the environment asks of a container
    keep_environment: bool = False


@dataclass(frozen=True)
class Description:
    """What the engine reports, in Azure ML's words; `error` is v1's error object (C §5.1 of the REST service)."""

    state: State
    scoring_uri: str | None
    swagger_uri: str | None
    error: dict[str, Any] | None


class Target(Protocol):
    """One of local, aci, aks, edge, fpga.

    `update` leaves the old deployment where the new one can stand beside it: `sweep` ends and removes all that is in
    a service's folder but what is kept, so what a killed deployer has left too.
    """

    name: str
    compute_type: str
    capabilities: frozenset[Capability]

    def check(self, engine: str, docker: DockerDefinition | None, configuration: DeploymentConfiguration) -> None: ...
    def deploy(self, deployment: Deployment, report: Report) -> Handle: ...
    def update(self, handle: Handle, deployment: Deployment, report: Report) -> Handle: ...
    def describe(self, handle: Handle) -> Description: ...
    def logs(self, handle: Handle, num_lines: int) -> str: ...
    def delete(self, handle: Handle) -> None: ...
    def sweep(self, folder: Path, keep: Handle) -> None: ...
