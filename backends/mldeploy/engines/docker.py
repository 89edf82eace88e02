"""The Docker engine: a package runs as a container of this machine's Docker, or Podman.

Every container of ours listens on loopback only, has no capabilities and can gain none, holds at most 512 processes,
has no restart policy (a service that ends is Failed) and a log that is rotated as the process engine's is. It outlives
the command that deployed it, and is found again by its id, or by its labels where nobody recorded that.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mldeploy.engines._docker_container import PIDS, PORT, Container, Mount, host_config, networks
from mldeploy.engines._docker_options import GB, Options, options
from mldeploy.engines.loopback import health, listen, refused
from mldeploy.errors import EngineException, UserErrorException, WebserviceException

__all__ = ["PIDS", "PORT", "UID", "Container", "Mount", "Observation", "Options", "PortTaken", "Running", "options"]

UID = 1000  # the user of our images
STOP_GRACE_S = 5
EXIT_FILE = "/tmp/mldeploy-exit.json"  # noqa: S108 - the container's
_OUT_OF_MEMORY = "out of memory"  # the server's own words begin so
_KILLED = {-9, 137}  # SIGKILL, as the server tells of its worker, and as Docker tells of a container
_GONE_S = 20.0
_LOOK_AGAIN_S = 0.02
_SAY_AGAIN_S = 0.25
_IN_USE = ("address already in use", "port is already allocated", "ports are not available")
_PRIVILEGED = "cannot expose privileged port"  # a rootless engine's


class PortTaken(WebserviceException):
    """Somebody else has the port."""


@dataclass(frozen=True)
class Running:
    """A container, as it can be found again by another process.

    Args:
        container: Its id.
        name: Its name, for a person.
        port: On this machine's loopback.
        host: The machine that asked for it.
        daemon: Which engine: another one does not know the container, which tells nothing about it.
    """

    container: str
    name: str
    port: int
    host: str
    daemon: str


@dataclass(frozen=True)
class Observation:
    """What is seen of a container now.

    Args:
        status: Docker's word: `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`; `gone`
            where there is none.
        health: The status of `GET /`; None where nothing answered in time, or it does not run.
        exit_code: The worker's, or minus its signal, where the server could tell; else the container's.
        reason: In one line, why it does not run; of one that runs, why a worker of it was replaced, if for memory.
        oom_killed: The kernel ended it, or a worker of it that was replaced since, for want of memory.
        restarts: How often the engine has started it again.
    """

    status: str
    health: int | None = None
    exit_code: int | None = None
    reason: str = ""
    oom_killed: bool = False
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Whether it has processes."""
        return self.status in {"running", "paused", "restarting"}


def check(wanted: Options) -> None:
    """See that this engine can give what is asked for, before anything is made.

    Raises:
        UserErrorException: It has no GPU runtime, less cores or memory, or no such network.
        EngineException: It does not answer.
    """
    from docker.errors import NotFound

    with _answering() as client:
        if wanted == Options():
            return
        about = client.info()
        _fits("cores", wanted.cpus, about["NCPU"])
        _fits("GB of memory", wanted.memory and wanted.memory / GB, about["MemTotal"] / GB)
        if wanted.gpu and "nvidia" not in about.get("Runtimes", {}) and not _has_cdi(about):
            raise UserErrorException(
                "docker.gpuSupport asks for a GPU, and this engine has no runtime for one",
                where="docker.gpuSupport",
                reason=f"its runtimes are {', '.join(sorted(about.get('Runtimes', {}))) or 'not told'}",
                hint="install the NVIDIA Container Toolkit, or set docker.gpuSupport to false",
            )
        if wanted.network:
            try:
                client.api.inspect_network(wanted.network)
            except NotFound:
                known = sorted(network["Name"] for network in client.api.networks())
                raise UserErrorException(
                    f"the engine has no network {wanted.network!r}",
                    where="docker.arguments: --network",
                    reason=f"it has {', '.join(known)}",
                    hint=f"docker network create {wanted.network}",
                ) from None


def create(container: Container, port: int | None) -> Running:
    """Make a container that does not run yet; whatever can be wrong with it but the port is told here.

    Args:
        container: What is to run.
        port: The loopback port that it will have; None takes one that is free now.

    Raises:
        PortTaken: The port cannot be had.
        WebserviceException: The engine refuses it.
        EngineException: The engine does not answer.
    """
    from docker.errors import APIError

    if port is None:
        with listen(None) as listener:
            port = int(listener.getsockname()[1])
    with _answering() as client:
        daemon = _identity(client)
        try:
            made = client.api.create_container(
                container.image,
                list(container.command),
                entrypoint="",
                name=container.name,
                user=container.user,
                working_dir=container.working_dir,
                hostname=container.options.hostname,
                environment={**container.options.environment, **container.environment},
                labels={**container.options.labels, **container.labels},
                ports=[PORT],
                host_config=client.api.create_host_config(**host_config(container, port)),
                networking_config=networks(client, container.options.network),
                healthcheck={"test": ["NONE"]},  # it is looked at from here, as it is used from here
            )
        except APIError as error:
            raise _refusal(container.name, error) from error
    return Running(made["Id"], container.name, port, platform.node(), daemon)


def start(running: Running) -> None:
    """Start a container, or start it again; it may not answer yet when this returns.

    Raises:
        PortTaken: Somebody has its port.
        WebserviceException: The engine cannot start it.
        EngineException: The engine does not answer.
    """
    from docker.errors import APIError

    with _answering() as client:
        try:
            client.api.start(running.container)
        except APIError as error:
            why = error.explanation or str(error)
            in_use = any(words in why.lower() for words in _IN_USE)
            if in_use or _PRIVILEGED in why:
                taken = refused(running.port, os.strerror(errno.EADDRINUSE if in_use else errno.EACCES))
                raise PortTaken(taken.message, where=taken.where, reason=why, hint=taken.hint) from error
            raise _refusal(running.name, error) from error


def observe(running: Running) -> Observation:
    """Look at a container.

    Raises:
        EngineException: The engine does not answer, or it is another one than the container's.
    """
    from docker.errors import NotFound

    with _answering() as client:
        try:
            seen = client.api.inspect_container(running.container)
        except NotFound:
            _should_know(client, running)
            return Observation("gone", reason=f"the container {running.name} was removed from outside")
        state = seen["State"]
        restarts = seen.get("RestartCount", 0)
        blamed = _out_of_memory(seen) if state.get("OOMKilled") else ""
        if state["Status"] == "running":
            status, said = health(running.port)
            reason = said or blamed  # Docker tells it of a container that lives since version 23
            return Observation("running", status, None, reason, bool(reason), restarts)
        if state["Status"] in {"paused", "restarting"}:
            reason = f"the container {running.name} is {state['Status']}"
            return Observation(state["Status"], reason=reason, restarts=restarts)
        code, reason = _ended(client, running, state)
        if blamed and code in _KILLED and not reason.startswith(_OUT_OF_MEMORY):
            reason = blamed  # not where it ended otherwise: then it was an earlier worker, which was replaced
        return Observation(state["Status"], None, code, reason, reason.startswith(_OUT_OF_MEMORY), restarts)


def logs(running: Running, num_lines: int) -> str:
    """The last `num_lines` lines of output; nothing of a container that is gone.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import NotFound

    if num_lines <= 0:
        return ""
    with _answering() as client, contextlib.suppress(NotFound):
        written: bytes = client.api.logs(running.container, tail=num_lines)
        return written.decode(errors="replace")
    return ""


def stop(running: Running) -> None:
    """End a container's processes; it stays, and can be started again. One that is gone or ended does not matter.

    Raises:
        EngineException: The engine does not answer, or it is another one than the container's.
    """
    from docker.errors import NotFound

    with _answering() as client:
        try:
            _end(client, running.container)
        except NotFound:
            if running.host == platform.node():  # another machine's is out of reach anyway
                _should_know(client, running)


def remove(container: str) -> None:
    """End a container and remove it with its writable layer; returns when it is gone.

    Args:
        container: Its id or name.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import APIError, NotFound

    with _answering() as client, contextlib.suppress(NotFound):
        try:
            _end(client, container)
            client.api.remove_container(container, v=True, force=True)
        except NotFound:
            return
        except APIError:  # somebody else removes it just now
            deadline = time.monotonic() + _GONE_S
            while time.monotonic() < deadline:
                client.api.inspect_container(container)
                time.sleep(_LOOK_AGAIN_S)
            raise


def user() -> str:
    """Who a container has to be, as `UID:GID`, to own what this process owns or gives to user 1000.

    A service never runs as root. A rootless engine's root is this user, and nobody else.

    Raises:
        EngineException: The engine does not answer.
    """
    if os.geteuid() == 0:
        return f"{UID}:{UID}"
    with _answering() as client:
        rootless = any("name=rootless" in option for option in client.info().get("SecurityOptions") or ())
    return "0:0" if rootless else f"{os.geteuid()}:{os.getegid()}"


def instances(labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """The labels of all containers, running or not, that have these; by their ids.

    Raises:
        EngineException: The engine does not answer.
    """
    with _answering() as client:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        return {found["Id"]: found["Labels"] for found in client.api.containers(all=True, filters={"label": wanted})}


def has_image(image: str) -> bool:
    """Whether the engine has an image.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import NotFound

    with _answering() as client:
        try:
            client.api.inspect_image(image)
        except NotFound:
            return False
        return True


def remove_image(image: str) -> bool:
    """Remove an image and its tags, unless a container is of it.

    Returns:
        Whether it is gone.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import APIError, NotFound

    with _answering() as client:
        if client.api.containers(all=True, filters={"ancestor": image}):
            return False
        try:
            tags = client.api.inspect_image(image)["RepoTags"] or [image]
            for tag in tags:
                client.api.remove_image(tag)
        except NotFound:
            return True
        except APIError:  # a container was made of it meanwhile, or another image stands on it
            return False
        return True


@contextlib.contextmanager
def _answering() -> Iterator[Any]:
    """The engine's client (the SDK types half of it), whose errors are told as ours."""
    from mldeploy.engines.connection import connect, told

    client = connect()
    with told():
        yield client


def _end(client: Any, container: str) -> None:
    """End a container's processes: by SIGTERM, so that what is under way is answered, and if need be by SIGKILL.

    `docker stop` sends SIGTERM once. The first process of a container ignores it until it has a handler for it, so
    one that is just starting would be waited for in vain: here it is sent again until it is heard.
    """
    from docker.errors import APIError, NotFound

    now = time.monotonic()
    deadline, again = now + STOP_GRACE_S, now
    while _runs(client, container):
        now = time.monotonic()
        try:
            if now > deadline:
                client.api.stop(container, timeout=0)
            elif now >= again:
                again = now + _SAY_AGAIN_S
                client.api.kill(container, "SIGTERM")
        except NotFound:
            raise
        except APIError:  # it has just ended, or is paused
            if now > deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _runs(client: Any, container: str) -> bool:
    state = client.api.inspect_container(container)["State"]
    if state["Paused"]:
        client.api.unpause(container)
    return bool(state["Running"])


def _should_know(client: Any, running: Running) -> None:
    """See that the engine that does not have a container is the one that made it.

    Raises:
        EngineException: It is another one.
    """
    if _identity(client) != running.daemon:
        raise EngineException(
            f"the container {running.name} is another Docker engine's than the one that answers",
            hint="choose the engine that it was deployed to: `docker context use`, or DOCKER_HOST",
        ) from None


def _identity(client: Any) -> str:
    """Which engine this is: its machine's name and its data folder, as Podman says another id each time it is asked."""
    about = client.info()
    return f"{about.get('Name')}:{about.get('DockerRootDir')}"


def _fits(what: str, asked: float | None, there: float) -> None:
    if asked is not None and asked > there:
        raise UserErrorException(
            f"{asked:g} {what} cannot be had",
            where="containerResourceRequirements",
            reason=f"the engine's machine has {there:.4g}",
            hint="ask for less",
        )


def _has_cdi(about: Mapping[str, Any]) -> bool:
    return any("gpu" in str(device) for device in about.get("DiscoveredDevices") or ())


def _ended(client: Any, running: Running, state: Mapping[str, Any]) -> tuple[int | None, str]:
    """How a container ended: in the server's own words where it could leave some."""
    if state["Status"] == "created":
        return None, state.get("Error") or f"the container {running.name} was never started"
    left = _left(client, running.container)
    return left or (state["ExitCode"], f"the container's exit code is {state['ExitCode']}")


def _out_of_memory(seen: Mapping[str, Any]) -> str:
    memory = seen["HostConfig"].get("Memory")
    return f"{_OUT_OF_MEMORY}: {f'the limit is {round(memory / GB, 3):g} GB' if memory else 'the machine has no more'}"


def _left(client: Any, container: str) -> tuple[int, str] | None:
    """The exit code and reason that the server wrote down; None where it was killed before it could."""
    from docker.errors import APIError

    try:
        packed = b"".join(client.api.get_archive(container, EXIT_FILE)[0])
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            written = archive.extractfile(Path(EXIT_FILE).name)
            ended = json.loads(written.read()) if written else {}
        return int(ended["exit_code"]), str(ended["reason"])
    except (APIError, tarfile.TarError, ValueError, KeyError):
        return None


def _refusal(name: str, error: Exception) -> WebserviceException:
    from mldeploy.engines.connection import to_have_room

    reason = str(getattr(error, "explanation", None) or error)
    return WebserviceException(
        f"the Docker engine refuses the container {name}",
        where="docker",
        reason=reason,
        hint=to_have_room(reason) or "see what is asked of it: docker.arguments, containerResourceRequirements",
    )
