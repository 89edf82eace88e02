"""The local target: a package on this machine, as a process or as a container.

Which of the two follows from what the package's environment was made for; what is deployed already is found by the
engine that its handle names. (Handles without one are older, and mean a process.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mldeploy.config.settings import SETTINGS
from mldeploy.engines import process
from mldeploy.errors import EngineException, UserErrorException, WebserviceException
from mldeploy.events import Report
from mldeploy.targets import _local_process
from mldeploy.targets._local_folder import MARK
from mldeploy.targets._protocol import Deployment, Description, Handle

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.environment import DockerDefinition
    from mldeploy.targets.capabilities import Capability

Start = Callable[[int | None], Handle]
"""Starts what is prepared, on a port; None chooses one."""


class LocalTarget:
    """Deploys to this machine; the handle's `engine` says what runs it, the rest is that engine's."""

    name = "local"
    compute_type = "Local"
    capabilities: frozenset[Capability] = frozenset({"reload"})

    def check(self, engine: str, docker: DockerDefinition | None, configuration: DeploymentConfiguration) -> None:
        """See that what is asked of an engine can be had, before anything is made.

        Args:
            engine: `process`, `docker` or `auto`.
            docker: What the environment asks of a container.
            configuration: The deployment's.

        Raises:
            UserErrorException: It cannot; says what can.
            EngineException: There is no Docker, and it was asked for.
        """
        if engine not in (known := SETTINGS["engine"].choices):
            raise UserErrorException(f"'{engine}' is no engine", hint=f"one of {', '.join(known)}")
        if engine == "process" or not (docker or configuration.needs_docker or engine == "docker"):
            return
        containers = _engine("docker")
        options = containers.asked(docker, configuration)
        try:
            if engine == "docker" or configuration.needs_docker or (docker and docker.needs_image):
                containers.check(options)
        except EngineException:
            if engine == "docker":
                raise
            # that there is none is told with what needs it, when the package is made

    def deploy(self, deployment: Deployment, report: Report) -> Handle:
        """Lay the package out in a folder of its own and start it.

        Raises:
            EnvironmentException: The environment cannot be installed.
            EngineException: There is no Docker, and the package needs it.
            WebserviceException: The port is taken.
        """
        port = _port(deployment)
        with _engine_for(deployment).prepared(deployment, port, report, {}) as start:
            return _handle(start(port))

    def update(self, handle: Handle, deployment: Deployment, report: Report) -> Handle:
        """Start the new one on the old one's port, which is stopped when nearly all that can fail is done.

        Only where another port is asked for are both there for a moment. Where the new one does not start after all,
        a container that was stopped for it is started again.
        """
        old, asked = _engine_of(handle), _port(deployment)
        port, stopped = asked or handle["port"], False
        try:
            with _engine_for(deployment).prepared(deployment, port, report, handle) as start:
                if port == handle["port"]:
                    stopped = True
                    old.stop(handle)
                try:
                    return _handle(start(port))
                except WebserviceException:
                    if asked:
                        raise
                    # nobody asked for the port, and somebody has taken it since the old one ended
                    return _handle(start(None))
        except BaseException:
            if stopped:
                with contextlib.suppress(EngineException, WebserviceException):
                    old.resume(handle)
            raise

    def describe(self, handle: Handle) -> Description:
        """What the engine sees now."""
        seen: Description = _engine_of(handle).describe(handle)
        return seen

    def logs(self, handle: Handle, num_lines: int) -> str:
        """The last `num_lines` lines the server and the script wrote."""
        return str(_engine_of(handle).logs(handle, num_lines))

    def delete(self, handle: Handle) -> None:
        """Stop it and remove it with its folder.

        Raises:
            EngineException: Its engine does not answer; nothing is forgotten.
        """
        _engine_of(handle).delete(handle)

    def sweep(self, folder: Path, keep: Handle) -> None:
        """End and remove every instance of a service but one, whoever started them.

        A container whose engine does not answer now is left for the next time.
        """
        kept = Path(keep["folder"]).name if keep else None
        containers = engine(keep) == "docker"
        for instance in folder.glob("*"):
            if instance.name == kept:
                continue
            if (instance / MARK).exists():
                containers = True
                with contextlib.suppress(EngineException):
                    _engine("docker").remove(instance)
            else:
                process.remove(instance)
        if containers:
            with contextlib.suppress(EngineException):
                _engine("docker").remove_strays(folder, keep)
        with contextlib.suppress(OSError):
            folder.rmdir()


def engine(handle: Handle) -> str:
    """What runs a deployment: `process` or `docker`."""
    return str(handle.get("engine", "process"))


def remove_image(handle: Handle) -> bool:
    """Remove the image that a deployment ran, unless another container has it.

    Args:
        handle: Of a deployment that is deleted.

    Returns:
        Whether it is gone.
    """
    if engine(handle) != "docker":
        return False
    from mldeploy.engines import docker

    return docker.remove_image(handle["image"])


def _engine_for(deployment: Deployment) -> Any:
    from mldeploy.packaging.environments import ResolvedEnvironment

    return _engine("process" if isinstance(deployment.package.environment, ResolvedEnvironment) else "docker")


def _engine_of(handle: Handle) -> Any:
    return _engine(engine(handle))


def _engine(name: str) -> ModuleType:
    """The module that speaks to an engine; both have the same functions."""
    if name == "process":
        return _local_process
    from mldeploy.targets import _local_docker

    return _local_docker


def _handle(started: Handle) -> Handle:
    return dict(started)


def _port(deployment: Deployment) -> int | None:
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration

    assert isinstance(deployment.configuration, LocalWebserviceDeploymentConfiguration)
    return deployment.configuration.port
