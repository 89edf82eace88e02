"""Where the Docker engine is: `DOCKER_HOST`, the Docker context in use, the usual sockets, and last of all Podman's.

The order is the Docker command's own (docs.docker.com/engine/manage-resources/contexts). A socket is tried by hand
first: where no engine is, that is known before the SDK is imported.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mldeploy.errors import EngineException

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 30  # seconds for an engine to say who it is
TIMEOUT = 300  # seconds without a byte: an engine that unpacks a big layer is silent for long
_DEFAULT = "/var/run/docker.sock"
_PODMAN = "/run/podman/podman.sock"
_OLDEST = "1.24"  # that the SDK speaks
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_INSTALL = "install one: docs.docker.com/engine/install"


@dataclass(frozen=True)
class Endpoint:
    """Where an engine listens.

    Args:
        url: `unix://`, `tcp://`, `http(s)://` or `ssh://`.
        origin: Who said so, for messages: `DOCKER_HOST`, `the Docker context 'x'`, or nothing for the usual sockets.
        certificates: A folder with `ca.pem`, `cert.pem` and `key.pem`; None is no TLS.
        verify: Whether the engine's certificate is checked against `ca.pem`.
    """

    url: str
    origin: str = ""
    certificates: Path | None = None
    verify: bool = True

    @property
    def socket(self) -> str | None:
        """The path of a Unix socket; None for an engine behind a network."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None

    @property
    def shown(self) -> str:
        """The URL without a name and password."""
        parts = urlsplit(self.url)
        if not parts.netloc:
            return self.url
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself.

    Args:
        name: `Docker` or `Podman`.
        version: Its version.
        storage_driver: `overlay2`, `overlayfs`, `vfs` ….
        containerd_store: Whether its images are in containerd's store, which takes whole archives only.
        cgroup_version: `1` or `2`.
        architecture: In the words of image configs: `amd64`, `arm64`.
        root_dir: Its data folder, on the engine's machine.
        local: Whether this machine's folders can be mounted: it listens on a Unix socket.
        gpu: Whether it can hand on an NVIDIA device.
        cpus: Processors that it may use.
        memory: Its machine's memory, in bytes.
    """

    name: str
    version: str
    storage_driver: str
    containerd_store: bool
    cgroup_version: str
    architecture: str
    root_dir: str
    local: bool
    gpu: bool
    cpus: int
    memory: int


def endpoint() -> Endpoint:
    """Find the engine without talking to it.

    Returns:
        What `DOCKER_HOST` names, else the Docker context in use, else the first of the usual sockets that listens.

    Raises:
        EngineException: The context is not there, or no socket listens; says which of missing, stopped and not
            permitted it is.
    """
    environ = os.environ
    if host := environ.get("DOCKER_HOST"):
        folder = Path(environ.get("DOCKER_CERT_PATH") or _config_folder())
        verify = bool(environ.get("DOCKER_TLS_VERIFY"))
        tls = verify or bool(environ.get("DOCKER_CERT_PATH"))
        return _listening(Endpoint(_url(host), "DOCKER_HOST", folder if tls else None, verify))
    if (context := _context()) is not None:
        return _listening(context)
    return _usual()


def connect() -> DockerClient:
    """The engine to work with; the same client for the same engine, as long as this process lives.

    Returns:
        A client that has talked to it.

    Raises:
        EngineException: No engine answers; says which it was and what starts one.
    """
    place = endpoint()
    key = (os.getpid(), place)  # a fork must not share its parent's connections
    if key not in _clients:
        _clients[key] = _client(place)
    return _clients[key]


_clients: dict[tuple[int, Endpoint], DockerClient] = {}


def facts(client: DockerClient) -> EngineFacts:
    """Ask an engine what it is.

    Args:
        client: What `connect` gave.

    Raises:
        EngineException: It has stopped answering.
    """
    info, version = asking(client.info), asking(client.version)
    components = [str(each.get("Name", "")) for each in version.get("Components") or []]
    status = dict(each for each in info.get("DriverStatus") or [] if len(each) == 2)
    machine = str(info.get("Architecture", ""))
    return EngineFacts(
        name="Podman" if any(name.startswith("Podman") for name in components) else "Docker",
        version=str(version.get("Version", "")),
        storage_driver=str(info.get("Driver", "")),
        containerd_store=str(status.get("driver-type", "")).startswith("io.containerd."),
        cgroup_version=str(info.get("CgroupVersion") or "1").removeprefix("v"),
        architecture=_MACHINES.get(machine, machine),
        root_dir=str(info.get("DockerRootDir", "")),
        local=client.api.base_url.startswith("http+docker://localhost"),
        gpu=_hands_on_gpus(info),
        cpus=int(info.get("NCPU") or 0),
        memory=int(info.get("MemTotal") or 0),
    )


def asking(ask: Any, *args: Any, **more: Any) -> Any:
    """Call the SDK; an engine that is gone or refuses is told as our own error.

    Args:
        ask: A method of the SDK.
        args: Its arguments.
        more: Its named arguments.

    Raises:
        EngineException: The engine has stopped answering, or answered with an error; `reason` has its words.
        docker.errors.NotFound: As the SDK raises it: what is not there is the caller's to judge.
    """
    with told():
        return ask(*args, **more)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the SDK raises in here is told as `asking` tells it.

    Raises:
        EngineException: As there.
        docker.errors.NotFound: As there.
    """
    import requests
    from docker import errors

    try:
        yield
    except errors.NotFound:
        raise
    except errors.APIError as error:
        reason = str(error.explanation or error)
        raise EngineException("the Docker engine refuses", reason=reason, hint=to_have_room(reason)) from None
    except (errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineException(
            "the Docker engine has stopped answering", reason=_innermost(error), hint=_to_start()
        ) from None


def to_have_room(words: str) -> str:
    """What helps if an engine says that its disk is full; empty for other words of its."""
    full = "no space left" in words.lower()
    return "make room on the engine's disk: mldeploy images prune, docker system df" if full else ""


def _listening(place: Endpoint) -> Endpoint:
    """The same; a socket in which nobody listens is told now."""
    if (path := place.socket) is not None and (failure := _failure(path)) is not None:
        if failure in {errno.EACCES, errno.EPERM}:
            raise _not_permitted(path)
        raise EngineException(
            "no Docker engine answers",
            where=f"{place.shown} ({place.origin})",
            reason=os.strerror(failure),
            hint=f"start that engine, or choose another: {_otherwise(place.origin)}",
        )
    return place


def _usual() -> Endpoint:
    refused = False
    for path in _sockets():
        failure = _failure(path)
        if failure is None:
            return Endpoint(f"unix://{path}")
        if failure in {errno.EACCES, errno.EPERM}:
            raise _not_permitted(path)
        refused = refused or failure != errno.ENOENT
    if refused or shutil.which("dockerd") or shutil.which("docker"):
        raise EngineException("the Docker engine is not running", where=_DEFAULT, hint=_to_start())
    raise EngineException("no Docker engine is installed", where=_DEFAULT, hint=_to_install())


def _sockets() -> Iterator[str]:
    """Docker's as root, Docker's as a user, Docker Desktop's, then Podman's as a user and as root."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield _DEFAULT
    if runtime:
        yield f"{runtime}/docker.sock"
    for place in ("run/docker.sock", "desktop/docker.sock"):
        yield str(Path.home() / ".docker" / place)
    if runtime:
        yield f"{runtime}/podman/podman.sock"
    yield _PODMAN


def _failure(path: str) -> int | None:
    """The errno of a connection to a Unix socket; None where somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno or errno.ENOENT  # a path too long for a socket has no errno
    return None


def _client(place: Endpoint) -> DockerClient:
    import docker
    import requests
    from docker import errors
    from docker.tls import TLSConfig

    tls: Any = False
    try:
        if (folder := place.certificates) is not None:
            pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
            authority = str(folder / "ca.pem") if place.verify else None
            tls = TLSConfig(client_cert=pair, ca_cert=authority, verify=place.verify)
        settings: dict[str, Any] = {"base_url": place.url, "tls": tls, "use_ssh_client": place.url.startswith("ssh://")}
        # not the SDK's "auto", which asks before anything can be set
        first = docker.DockerClient(version=_OLDEST, timeout=PATIENCE, **settings)
        with contextlib.closing(_direct(first, place)):
            version = str(first.version(api_version=False)["ApiVersion"])
        client = docker.DockerClient(version=version, timeout=TIMEOUT, **settings)
    except (errors.DockerException, requests.RequestException, OSError, ValueError, KeyError, TypeError) as error:
        raise EngineException(
            "no Docker engine answers",
            where=f"{place.shown} ({place.origin})" if place.origin else place.shown,
            reason=_innermost(error).replace(place.url, place.shown),
            hint="pip install 'docker[ssh]'" if "paramiko" in str(error) else _otherwise(place.origin),
        ) from None
    return _direct(client, place)


def _direct(client: DockerClient, place: Endpoint) -> DockerClient:
    """With certificates of its own, the ones that the environment names are not the ones to check it against.

    requests would take `REQUESTS_CA_BUNDLE` in the place of the session's.
    """
    client.api.trust_env = place.certificates is None
    return client


def _innermost(error: BaseException) -> str:
    """The first cause, in its own words: the SDK wraps it three times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK forgets to close a socket that did not connect
        traceback.clear_frames(error.__traceback__)
        while isinstance(inner := error.__cause__ or error.__context__, BaseException):
            error = inner
            traceback.clear_frames(error.__traceback__)
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()


def _config_folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _url(host: str) -> str:
    return host if "://" in host else f"tcp://{host}"


def _context() -> Endpoint | None:
    """The endpoint of the Docker context in use; None for the default one."""
    folder = _config_folder()
    name = os.environ.get("DOCKER_CONTEXT") or _read(folder / "config.json").get("currentContext") or "default"
    if name == "default":
        return None
    digest = hashlib.sha256(str(name).encode()).hexdigest()
    origin = f"the Docker context '{name}'"
    found = _read(folder / "contexts" / "meta" / digest / "meta.json")
    docker = (found.get("Endpoints") or {}).get("docker") or {}
    if not docker.get("Host"):
        raise EngineException(f"{origin} is not there", where=str(folder), hint=_otherwise(origin))
    certificates = folder / "contexts" / "tls" / digest / "docker"
    return Endpoint(
        docker["Host"],
        origin,
        certificates if certificates.is_dir() else None,
        not docker.get("SkipTLSVerify"),
    )


def _read(file: Path) -> Mapping[str, Any]:
    """A JSON object of Docker's; nothing where it is missing, unreadable or none."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _hands_on_gpus(info: Mapping[str, Any]) -> bool:
    devices = [str(each.get("ID", "")) for each in info.get("DiscoveredDevices") or []]
    return "nvidia" in (info.get("Runtimes") or {}) or any(each.startswith("nvidia.com/gpu") for each in devices)


def _not_permitted(path: str) -> EngineException:
    return EngineException(
        "this user may not use the Docker engine",
        where=path,
        hint="sudo usermod -aG docker $USER, then log in again",
    )


def _otherwise(origin: str) -> str:
    if origin == "DOCKER_HOST":
        return "unset DOCKER_HOST"
    return "docker context ls; docker context use default" if origin else _to_start()


def _to_start() -> str:
    if sys.platform == "darwin":
        return "open -a Docker"
    if Path("/run/systemd/system").is_dir():
        return "sudo systemctl start docker"
    return "start it: sudo dockerd, Docker Desktop, or scripts/docker-up in this project's repository"


def _to_install() -> str:
    if shutil.which("apt-get"):
        return "sudo apt-get install docker.io; or scripts/docker-up in this project's repository"
    return _INSTALL
