"""A local service as a container: the environment's image, with the instance's folder mounted at the app root.

So a changed script needs no image, and a model is never copied into one. An engine of another machine has no folders of
this one: there the whole package is an image.

A file in the instance's folder (`MARK`) is written before the container is made, so whoever dies in between, the next
deployment or deletion of that name finds both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.engines import docker
from mldeploy.engines.docker import EXIT_FILE, Container, Mount, Observation, Options, PortTaken, Running
from mldeploy.engines.loopback import listen
from mldeploy.errors import EngineException
from mldeploy.events import Notice, Report, Step
from mldeploy.packaging.source import MODELS_FOLDER
from mldeploy.targets import _local_states
from mldeploy.targets._local_folder import MARK, hand_over, instance, lay_out, variables
from mldeploy.targets._protocol import UNREACHABLE, Deployment, Description, Handle

if TYPE_CHECKING:
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.environment import DockerDefinition
    from mldeploy.images.resolving import ImageEnvironment
    from mldeploy.targets.local import Start

_OWN_IMAGE = "mldeploy.image"  # a container's label: the image that goes with it
_TRIES = 5  # for a free port that somebody takes before the container has it


def asked(definition: DockerDefinition | None, configuration: DeploymentConfiguration) -> Options:
    """What is asked of the container, checked.

    Raises:
        UserErrorException: An argument is not taken, or two things that are asked for exclude each other.
    """
    from mldeploy.config.deployment import LocalWebserviceDeploymentConfiguration

    assert isinstance(configuration, LocalWebserviceDeploymentConfiguration)
    return docker.options(
        definition.arguments if definition else (),
        shm_size=definition.shm_size if definition else None,
        gpu=bool(definition and definition.gpu_support),
        cpu=configuration.cpu_cores,
        memory_gb=configuration.memory_gb,
    )


def check(options: Options) -> None:
    """See that the engine answers and can give what is asked of it.

    Raises:
        UserErrorException: It cannot.
        EngineException: It does not answer.
    """
    docker.check(options)


@contextlib.contextmanager
def prepared(deployment: Deployment, port: int | None, report: Report, old: Handle) -> Iterator[Start]:
    """Make the container, ready to be started; undo it all when what follows fails.

    Args:
        deployment: What is asked for.
        port: The port it will have; None chooses a free one.
        report: Told each step.
        old: What it replaces; empty where there is nothing.

    Yields:
        Starts it on a port.
    """
    options = asked(deployment.docker, deployment.configuration)
    check(options)
    if port is not None and port != old.get("port"):
        listen(port).close()  # told before anything is made
    image, mounted = _image(deployment, report, old)
    folder = instance(deployment)
    try:
        container = _container(deployment, folder, image, mounted, options)
        starting = _Starting(deployment, folder, container, port, report)
        report(Step("start", "Starting Docker container..."))
        yield starting
    except BaseException:
        with contextlib.suppress(EngineException):  # the next sweep does it
            remove(folder)
        raise


class _Starting:
    """Starts the container that was made; makes it again where it has to have another port."""

    def __init__(
        self, deployment: Deployment, folder: Path, container: Container, port: int | None, report: Report
    ) -> None:
        self._deployment = deployment
        self._folder = folder
        self._container = container
        self._report = report
        self._running = docker.create(container, port)

    def __call__(self, port: int | None) -> Handle:
        for left in reversed(range(_TRIES)):
            try:
                if port not in {None, self._running.port}:
                    self._make_again(port)
                docker.start(self._running)
                break
            except PortTaken:
                if port is not None or not left:
                    raise
                self._make_again(None)
        self._report(Step("start", "Docker container running."))
        return {
            "engine": "docker",
            **asdict(self._running),
            "folder": str(self._folder),
            "image": self._container.image,
        }

    def _make_again(self, port: int | None) -> None:
        docker.remove(self._running.container)
        self._running = docker.create(self._container, port)


def stop(handle: Handle) -> None:
    """End its processes; the container stays."""
    docker.stop(_running(handle))


def resume(handle: Handle) -> None:
    """Start it again, after what was to take its place has failed."""
    docker.start(_running(handle))


def describe(handle: Handle) -> Description:
    """What the Docker engine sees now."""
    running = _running(handle)
    try:
        seen = docker.observe(running)
    except EngineException as failure:
        if _elsewhere(handle):
            return _local_states.elsewhere(running.host)
        message = ". ".join(part for part in (failure.message, failure.reason, failure.hint) if part)
        return _local_states.described(running.port, "Unhealthy", _local_states.error(UNREACHABLE, message))
    if seen.status == "gone" and _elsewhere(handle):
        return _local_states.elsewhere(running.host)
    return _local_states.description(running.port, seen.alive, seen.health, _error(seen))


def logs(handle: Handle, num_lines: int) -> str:
    """The last lines of the container's log."""
    return docker.logs(_running(handle), num_lines)


def delete(handle: Handle) -> None:
    """Remove the container, the image that was made for it alone, and its folder.

    Raises:
        EngineException: The engine does not answer, or it is another one than the container's.
    """
    stop(handle)
    remove(Path(handle["folder"]))


def remove(folder: Path) -> None:
    """Remove the container of an instance's folder, whoever made it, and the folder.

    Raises:
        EngineException: The engine does not answer; the folder stays, so that it is tried again.
    """
    for container, labels in docker.instances({"mldeploy.instance": folder.name}).items():
        _remove(container, labels)
    shutil.rmtree(folder, ignore_errors=True)


def remove_strays(folder: Path, keep: Handle) -> None:
    """Remove every container of a service but one, by their labels.

    Args:
        folder: The service's.
        keep: The handle of the one that stays; empty removes all.
    """
    ours = docker.instances({"mldeploy.store": _store(folder), "mldeploy.service": folder.name})
    for container, labels in ours.items():
        if container != keep.get("container"):
            _remove(container, labels)


def _remove(container: str, labels: Mapping[str, str]) -> None:
    """Remove a container, and the image that was made for it alone."""
    docker.remove(container)
    if image := labels.get(_OWN_IMAGE):
        docker.remove_image(image)


def _image(deployment: Deployment, report: Report, old: Handle) -> tuple[str, bool]:
    """The image to run, loaded; and whether the package is mounted into it."""
    from mldeploy.engines.connection import connect, endpoint, facts
    from mldeploy.images.assemble import bring_environment, package_image
    from mldeploy.images.loading import load
    from mldeploy.images.resolving import ImageEnvironment

    environment = deployment.package.environment
    assert isinstance(environment, ImageEnvironment)
    client = connect()
    offline = deployment.offline
    if not facts(client).local:
        report(Notice(f"{endpoint().shown} is another machine: its loopback is not this one's, forward the port"))
        labels = {"mldeploy.service": deployment.service}
        image = package_image(
            client, deployment.package, deployment.serving, labels=labels, offline=offline, report=report
        )
        load(client, image, None, report)
        return image.id, False
    if deployment.keep_environment and old.get("engine") == "docker" and docker.has_image(old["image"]):
        return str(old["image"]), True
    image, _ = bring_environment(client, environment, offline=offline, report=report)
    return image.id, True


def _container(deployment: Deployment, folder: Path, image: str, mounted: bool, options: Options) -> Container:
    from mldeploy.images.assemble import command
    from mldeploy.images.layers.environment import APP_ROOT

    name = f"mldeploy-{deployment.service}-{folder.name}"
    folder.mkdir(parents=True)
    (folder / MARK).write_text(json.dumps({"name": name}))
    mounts: tuple[Mount, ...] = ()
    user = None
    if mounted:
        user = docker.user()
        app = folder / "app"
        lay_out(deployment, app)
        if os.geteuid() == 0:
            hand_over(deployment, app, docker.UID)
        mounts = (Mount(app.resolve(), APP_ROOT),)
        if deployment.package.models:
            mounts += (Mount((app / MODELS_FOLDER).resolve(), f"{APP_ROOT}/{MODELS_FOLDER}", read_only=True),)
    flags = ("--init-timeout", str(deployment.timeout), "--exit-file", EXIT_FILE)
    return Container(
        image=image,
        name=name,
        command=(*command(deployment.serving.module), *flags),
        labels=_labels(deployment, folder) | ({} if mounted else {_OWN_IMAGE: image}),
        environment=variables(deployment, APP_ROOT),
        mounts=mounts,
        user=user,
        options=options,
    )


def _labels(deployment: Deployment, folder: Path) -> dict[str, str]:
    environment: ImageEnvironment | Any = deployment.package.environment
    return {
        "mldeploy.kind": "service",
        "mldeploy.service": deployment.service,
        "mldeploy.workspace": deployment.workspace,
        "mldeploy.store": _store(deployment.folder),
        "mldeploy.instance": folder.name,
        "mldeploy.package": deployment.package.digest,
        "mldeploy.environment": environment.digest,
        "mldeploy.models": ",".join(deployment.package.model_ids),
    }


def _store(service_folder: Path) -> str:
    """Which workspace of which store: the same whichever way the folder is come by."""
    return os.path.realpath(service_folder.parent)


def _error(seen: Observation) -> dict[str, Any] | None:
    if seen.status == "gone":
        return _local_states.ended(None, seen.reason, "ContainerRemoved")
    if not seen.alive:
        code = "OutOfMemory" if seen.oom_killed else "ServiceEnded"
        return _local_states.ended(seen.exit_code, seen.reason, code, restartCount=seen.restarts)
    if seen.oom_killed:
        message = f"A worker was ended and replaced, {seen.reason}."
        return _local_states.error("OutOfMemory", message, restartCount=seen.restarts)
    return _local_states.error("ContainerStopped", seen.reason) if seen.reason else None


def _elsewhere(handle: Handle) -> bool:
    import platform

    return handle["host"] != platform.node() and not Path(handle["folder"]).exists()


def _running(handle: Handle) -> Running:
    values: dict[str, Any] = {each.name: handle[each.name] for each in fields(Running)}
    return Running(**values)
