"""The base image: Debian with its Python, found on the engine or made there, once.

It is built from `base/Dockerfile` on `debian:bookworm-slim`, or on a root of our own (`debian.py`) where that cannot be
pulled. Its tag says what it was made from; the label says that it is ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException, EnvironmentException
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.images.builds import building
from mldeploy.images.foundations import debian
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "mldeploy/base"
KIND = "mldeploy.kind"
PYTHON = "3.11"
INTERPRETER = "/usr/bin/python3.11"


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


def labelled(client: DockerClient, labels: Mapping[str, str], tag: str) -> BaseImage | None:
    """Find an image that was built here by its labels; a tag alone could be anybody's.

    Args:
        client: The engine.
        labels: All of these.
        tag: The name that it was given. Where several have the labels, such as one that somebody built on it, the one
            of that name is taken, else the newest.

    Raises:
        EngineException: The engine does not answer.
    """
    images = asking(client.api.images, filters={"label": [f"{name}={value}" for name, value in labels.items()]})

    def rank(one: Mapping[str, Any]) -> tuple[bool, int]:
        # Podman writes out where a name is from
        return any(name.endswith(tag) for name in one.get("RepoTags") or ()), int(one.get("Created") or 0)

    found = inspect(client, max(images, key=rank)["Id"]) if images else None
    return replace(found, reference=tag) if found else None


@cache
def reference() -> str:
    """Our base image's name: its tag is made from all that it is built from."""
    digest = hashlib.sha256()
    for name in ("Dockerfile", "debian"):
        digest.update(_file(name))
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def base(client: DockerClient, *, report: Report = silent, offline: bool = False, refresh: bool = False) -> BaseImage:
    """Our base image, made where the engine has none yet: that takes a minute, once.

    One process at a time makes it, and it gets its name last: a process that is killed leaves nothing that a later
    one would take for a base image.

    Args:
        client: The engine.
        report: Told of each step, if it has to be made.
        offline: Do not make it, for that takes a network.
        refresh: Make it anew although it is there, from the packages that Debian has today.

    Raises:
        EnvironmentException: It is not there and cannot be made; a foreign image has its name.
        EngineException: The engine does not answer.
    """
    found = _ours(client)
    if found and not refresh:
        return found
    if offline:
        raise EnvironmentException(
            "the base image is not there, and offline it cannot be made",
            where=reference(),
            hint="mldeploy images build, once, with a network",
        )
    with alone(cache_root() / "base-image", report, "the base image"):
        present = None if refresh else _ours(client)
        return present or _made(client, report, refresh=refresh)


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


def _made(client: DockerClient, report: Report, *, refresh: bool) -> BaseImage:
    before = _ours(client)
    root = debian.root(client, _file("debian"), report, refresh=refresh)
    report(Step("image", f"building the base image {reference()}"))
    made = building.build(
        client,
        _file("Dockerfile").decode(),
        tag=None,
        labels={},
        arguments={"DEBIAN": root},
        report=report,
        where=f"the Dockerfile of {reference()}",
        fresh=refresh,
    )
    repository, tag = reference().split(":")
    asking(client.api.tag, made, repository, tag)
    found = _ours(client)
    if found is None:
        raise EngineException("the Docker engine has lost the base image that it built", where=reference())
    if before is not None and before.id != found.id:
        building.discard(client, before.id)
    report(Notice(f"base image {reference()}: {found.size / 1e6:.0f} MB"))
    return found


def _file(name: str) -> bytes:
    return (files("mldeploy.images.foundations") / "base" / name).read_bytes()


def _full(identity: str) -> str:
    """Podman leaves the algorithm out."""
    return identity if ":" in identity else f"sha256:{identity}"
