"""Our images on an engine: which there are, what uses them, and which may go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mldeploy.engines.connection import asking
from mldeploy.errors import EngineException
from mldeploy.images.foundations.base import KIND, reference
from mldeploy.images.image import CREATED

if TYPE_CHECKING:
    from docker import DockerClient

# what stands on others goes before them
_ORDER = ("package", "environment", "builder", "foundation", "base", "debian")
_MADE_AGAIN = ("environment", "base")


@dataclass(frozen=True)
class Stocked:
    """One of our images on an engine.

    Args:
        names: Its tags; none for one that has lost them.
        kind: `base`, `builder`, `environment`, `package`, `foundation` (built from an environment's Dockerfile), or
            `debian`, which a base made here stands on.
        id: `sha256:…`.
        size: Bytes, its base's and those that it shares with other images included.
        created: When it was made or loaded here, in UTC; None where the engine does not tell.
        services: The services whose containers use it.
        containers: How many containers use it, running or not, of whatever origin.
        diff_ids: Its layers, from bottom to top.
    """

    names: tuple[str, ...]
    kind: str
    id: str
    size: int
    created: datetime | None
    services: tuple[str, ...]
    containers: int
    diff_ids: tuple[str, ...]

    @property
    def used_by(self) -> str:
        """How many containers, in words; empty where there are none."""
        return f"{self.containers} container{'s' if self.containers > 1 else ''}" if self.containers else ""

    def stands_on(self, other: Stocked) -> bool:
        """Tells whether the other's layers are below its own, and some of its own above them."""
        below = len(other.diff_ids)
        return below < len(self.diff_ids) and self.diff_ids[:below] == other.diff_ids


@dataclass(frozen=True)
class Verdict:
    """What becomes of an image.

    Args:
        image: The image.
        goes: Whether it is removed.
        reason: Why it stays; empty for one that goes.
    """

    image: Stocked
    goes: bool
    reason: str = ""


def stock(client: DockerClient) -> list[Stocked]:
    """Look at our images.

    A label alone makes no image ours, for what somebody builds on an image of ours inherits it: base, builder and
    foundation are known by their names too, environments and packages by the date that only our own images have.

    Args:
        client: The engine.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import NotFound

    users = _users(client)
    found = []
    for summary in asking(client.api.images, filters={"label": KIND}):
        try:
            details = asking(client.api.inspect_image, summary["Id"])
        except NotFound:  # gone since
            continue
        kind = str(((details.get("Config") or {}).get("Labels") or {}).get(KIND, ""))
        names = tuple(sorted(name for name in details.get("RepoTags") or () if not name.startswith("<none>")))
        if kind in _ORDER and _is_ours(kind, names, str(details.get("Created", ""))):
            found.append(_stocked(kind, names, details, users.get(details["Id"], [])))
    return sorted(found, key=lambda image: (_ORDER.index(image.kind), image.names, image.id))


def judge(images: Sequence[Stocked], *, everything: bool = False) -> Iterator[Verdict]:
    """Decide which images go: those that no container uses and nothing stands on that stays.

    Args:
        images: What `stock` gave.
        everything: Also what a person named (packages), and what takes long to make again: the base in use, what it
            stands on, foundations and builders.

    Returns:
        One verdict for each, in the order in which they can be removed.
    """
    stay: list[Stocked] = []
    for image in images:
        below = next((other for other in stay if other.stands_on(image)), None)
        if image.containers:
            reason = f"used by {image.used_by}"
        elif below is not None:
            reason = f"{_name(below)} stands on it"
        elif everything:
            reason = ""
        elif any(name.endswith(reference()) for name in image.names):
            reason = "the base of what is deployed next; --all removes it"
        elif image.kind not in _MADE_AGAIN and image.names:
            reason = "--all removes it"
        else:
            reason = ""
        if reason:
            stay.append(image)
        yield Verdict(image, not reason, reason)


def remove(client: DockerClient, image: Stocked) -> str:
    """Remove an image, by each of its names.

    Args:
        client: The engine.
        image: The image.

    Returns:
        Why the engine keeps it; empty where it is gone.

    Raises:
        EngineException: The engine does not answer.
    """
    from docker.errors import NotFound

    for name in (*image.names, image.id):
        try:
            asking(client.api.remove_image, name)
        except NotFound:
            continue
        except EngineException as error:
            if not error.reason or error.hint:
                raise
            return error.reason
    return ""


def _users(client: DockerClient) -> dict[str, list[Mapping[str, str]]]:
    """The labels of the containers of each image."""
    users: dict[str, list[Mapping[str, str]]] = {}
    for container in asking(client.api.containers, all=True):
        users.setdefault(container.get("ImageID", ""), []).append(container.get("Labels") or {})
    return users


def _is_ours(kind: str, names: Sequence[str], created: str) -> bool:
    if kind in {"environment", "package"}:
        return created == CREATED
    # Podman writes out where a name is from
    return any(re.match(rf"(?:docker\.io/|localhost/)?mldeploy/{kind}:", name) for name in names)


def _stocked(
    kind: str, names: tuple[str, ...], details: Mapping[str, Any], users: Sequence[Mapping[str, str]]
) -> Stocked:
    return Stocked(
        names=names,
        kind=kind,
        id=details["Id"],
        size=int(details.get("Size") or 0),
        created=_time((details.get("Metadata") or {}).get("LastTagTime")) or _time(details.get("Created")),
        services=tuple(sorted({labels["mldeploy.service"] for labels in users if "mldeploy.service" in labels})),
        containers=len(users),
        diff_ids=tuple(details.get("RootFS", {}).get("Layers") or ()),
    )


def _time(text: str | None) -> datetime | None:
    """A time of the engine's, without fractions; the date that all our images have, and Go's zero, tell nothing."""
    if not text or text == CREATED or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)


def _name(image: Stocked) -> str:
    return image.names[0] if image.names else image.id.removeprefix("sha256:")[:12]
