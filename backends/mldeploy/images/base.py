"""The base image: Debian with its Python, found on the engine or made there, once.

It is built from `base/Dockerfile` on `debian:bookworm-slim`, or on a root of our own (`images/debian.py`) where that
cannot be pulled. Its tag says what it was made from; the label says that it is ours.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException, EnvironmentException
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.images import debian
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "mldeploy/base"
KIND = "mldeploy.kind"
PYTHON = "3.11"
INTERPRETER = "/usr/bin/python3.11"
PLATFORM = "x86_64-manylinux_2_36"
_LAST_LINES = 12


@dataclass(frozen=True)
class BaseImage:
    """An image that others stand on.

    Args:
        reference: What it was asked for by.
        id: `sha256:…` of its config.
        diff_ids: Its layers from bottom to top, `sha256:…` of each one's uncompressed tar.
        config: Docker's `Config`: `Env`, `User`, `WorkingDir`, `Labels` ….
        architecture: `amd64`, `arm64`.
        os: `linux`.
        size: Bytes on the engine's disk.
    """

    reference: str
    id: str
    diff_ids: tuple[str, ...]
    config: Mapping[str, Any]
    architecture: str
    os: str
    size: int

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels; empty for an image that has none."""
        return self.config.get("Labels") or {}


def inspect(client: DockerClient, reference: str) -> BaseImage | None:
    """Look at an image on the engine; nothing is pulled.

    Args:
        client: The engine.
        reference: A tag, a digest or an id.

    Returns:
        The image; None where the engine has none of that name.

    Raises:
        EngineException: The engine does not answer, or the name is none.
    """
    from docker.errors import NotFound

    try:
        found = asking(client.api.inspect_image, reference)
    except NotFound:
        return None
    return BaseImage(
        reference=reference,
        id=_full(found["Id"]),
        diff_ids=tuple(found.get("RootFS", {}).get("Layers") or ()),
        config=found.get("Config") or {},
        architecture=found.get("Architecture", ""),
        os=found.get("Os", ""),
        size=int(found.get("Size") or 0),
    )


@cache
def reference() -> str:
    """Our base image's name: its tag is made from all that it is built from."""
    digest = hashlib.sha256()
    for name in ("Dockerfile", "debian"):
        digest.update(_file(name))
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def base(client: DockerClient, *, report: Report = silent, offline: bool = False) -> BaseImage:
    """Our base image, made where the engine has none yet: that takes a minute, once.

    One process at a time makes it, and it gets its name last: a process that is killed leaves nothing that a later
    one would take for a base image.

    Args:
        client: The engine.
        report: Told of each step, if it has to be made.
        offline: Do not make it, for that takes a network.

    Raises:
        EnvironmentException: It is not there and cannot be made; a foreign image has its name.
        EngineException: The engine does not answer.
    """
    if found := _ours(client):
        return found
    if offline:
        raise EnvironmentException(
            "the base image is not there, and offline it cannot be made",
            where=reference(),
            hint="mldeploy images build, once, with a network",
        )
    with _alone(report):
        return _ours(client) or _made(client, report)


def _ours(client: DockerClient) -> BaseImage | None:
    found = inspect(client, reference())
    if found is not None and found.labels.get(KIND) != "base":
        raise EnvironmentException(
            f"the image {reference()} is not mldeploy's",
            where=reference(),
            reason=f"it has no label {KIND}=base: somebody gave another image that name",
            hint=f"docker rmi {reference()}",
        )
    return found


def _made(client: DockerClient, report: Report) -> BaseImage:
    root = debian.root(client, _file("debian"), report)
    report(Step("image", f"building the base image {reference()}"))
    made = _build(client, root)
    repository, tag = reference().split(":")
    asking(client.api.tag, made, repository, tag)
    found = _ours(client)
    if found is None:
        raise EngineException("the Docker engine has lost the base image that it built", where=reference())
    report(Notice(f"base image {reference()}: {found.size / 1e6:.0f} MB"))
    return found


def _build(client: DockerClient, root: str) -> str:
    """The id of the image that the Dockerfile gives on that root."""
    said: list[str] = []
    made = ""
    stream = asking(
        client.api.build,
        fileobj=_context(),
        custom_context=True,
        decode=True,
        rm=True,
        forcerm=True,
        buildargs={"DEBIAN": root},
    )
    for line in stream:
        if "error" in line:
            raise EnvironmentException(
                "the base image cannot be built",
                where=reference(),
                reason="\n".join([*"".join(said).splitlines()[-_LAST_LINES:], str(line["error"]).strip()]),
                hint="its packages come from Debian's mirror: mldeploy doctor",
            )
        said.append(line.get("stream") or "")
        if built := re.search(r"Successfully built (\w+)", said[-1]):
            made = built[1]
        made = (line.get("aux") or {}).get("ID") or made
    return made


def _context() -> io.BytesIO:
    content = _file("Dockerfile")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    file.seek(0)
    return file


def _file(name: str) -> bytes:
    return (files("mldeploy.images") / "base" / name).read_bytes()


def _full(identity: str) -> str:
    """Podman leaves the algorithm out."""
    return identity if ":" in identity else f"sha256:{identity}"


@contextmanager
def _alone(report: Report) -> Iterator[None]:
    """One process at a time; whoever waits says so."""
    from filelock import FileLock, Timeout

    cache_root().mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_root() / "base-image.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(Notice("another process makes the base image: waiting for it"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
