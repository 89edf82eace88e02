"""Another Python than the one an image has: a layer with one of python-build-standalone's, which `uv` fetches.

`UV_PYTHON_INSTALL_MIRROR`, `UV_PYTHON_DOWNLOADS_JSON_URL` and uv's other settings hold. What was fetched once is kept
as a layer: an unchanged deployment asks nobody, and stays at the patch version it began with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from mldeploy.errors import EnvironmentException
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.images.layers import bytecode, layer
from mldeploy.images.layers.layer import Entry, Layer
from mldeploy.packaging import uv
from mldeploy.packaging.alone import alone
from mldeploy.packaging.pythons import PREFERRED, SUPPORTED
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

FOLDER = "/opt/mldeploy/python"
"""Where interpreters are in an image."""

_DOWNLOAD_SECONDS = 600.0
_LAST_LINES = 12
_UNREACHED = re.compile(r"error sending request|Failed to fetch|[Rr]equest failed|dns error|timed out|[Cc]onnection")
# no service imports them, and they are a third of the bytes
_LEFT_OUT = re.compile(
    r"(?:^|/)(?:__pycache__|test|tests|idlelib|turtledemo|tkinter|lib2to3|ensurepip|site-packages)(?:/|$)"
    r"|^lib/(?:tcl|tk|itcl|thread|libtcl|libtk|pkgconfig)|^share/|^BUILD$|\.a$"
    r"|^bin/(?!python3)|_tkinter\.|/turtle\.py$"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python in a layer of its own.

    Args:
        version: Its minor version, `3.12`.
        full: With its patch number, `3.12.8`.
        path: In the image.
        layer: The layer.
    """

    version: str
    full: str
    path: str
    layer: Layer


def exactly(asked: str | None) -> str:
    """The minor version that is asked for; empty where none or a range is.

    Examples:
        >>> exactly("3.10.18"), exactly(">=3.9"), exactly(None)
        ('3.10', '', '')
    """
    return ".".join(asked.split(".")[:2]) if asked and asked[0].isdigit() else ""


def allows(asked: str, version: str) -> bool:
    """Tells whether a minor version is what is asked for.

    Examples:
        >>> allows("3.10.18", "3.10"), allows(">=3.9,<3.11", "3.10"), allows(">=3.10.5", "3.10"), allows("3.9", "3.10")
        (True, True, True, False)
    """
    if exactly(asked):
        return exactly(asked) == version
    allowed = SpecifierSet(asked)
    return allowed.contains(version) or allowed.contains(f"{version}.99")


def interpreter(
    client: DockerClient,
    image: str,
    asked: str,
    platform: str,
    *,
    own: str,
    offline: bool = False,
    refresh: bool = False,
    report: Report = silent,
) -> Interpreter:
    """Have another Python as a layer, fetched unless it is in the cache.

    Args:
        client: The engine, in whose container its library is compiled.
        image: The image that it is put on, by its id.
        asked: The version asked for, or a PEP 440 range.
        platform: The image's, in uv's words: `x86_64-manylinux_2_36`.
        own: The minor version that the image has.
        offline: Fetch nothing.
        refresh: Fetch the newest patch version, whichever is in the cache.
        report: Told of the step, if there is one, and that a patch version is not kept to.

    Returns:
        The interpreter.

    Raises:
        EnvironmentException: It cannot be had; the hint names those that there are.
    """
    minor = exactly(asked) or next((one for one in (PREFERRED, *reversed(SUPPORTED)) if allows(asked, one)), "")
    if minor not in SUPPORTED:
        raise _unsupported(asked, own)
    if asked.count(".") > 1 and exactly(asked) and not asked.endswith("*"):
        report(Notice(f"python={asked} was asked for; any {minor} is taken"))
    machine = platform.partition("-")[0]
    memory = cache_root() / "interpreters" / f"{minor}-{machine}.json"
    if not refresh and (known := _recall(memory, minor, machine)):
        return known
    with alone(memory, report, "the same interpreter"):
        if not refresh and (known := _recall(memory, minor, machine)):
            return known
        if offline:
            raise _cannot_be_had(minor, own, "offline nothing is fetched", "leave out --offline once: it is then kept")
        report(Step("image", f"fetching Python {minor} for the image, which has {own}"))
        return _fetched(client, image, minor, machine, own, memory)


def _recall(memory: Path, minor: str, machine: str) -> Interpreter | None:
    try:
        full = str(json.loads(memory.read_bytes())["full"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    kept = layer.cached(_key(full, machine))
    return Interpreter(minor, full, _path(full), kept) if kept else None


def _key(full: str, machine: str) -> str:
    return f"interpreter {full} {machine}"


def _path(full: str) -> str:
    return f"{_root(full)}/bin/python{'.'.join(full.split('.')[:2])}"


def _root(full: str) -> str:
    return f"{FOLDER}/cpython-{full}"


def _fetched(client: DockerClient, image: str, minor: str, machine: str, own: str, memory: Path) -> Interpreter:
    with layer.staging() as staging:
        installed = _installed(staging, minor, machine, own)
        full = installed.name.split("-")[1]
        root = _root(full)
        entries = list(_entries(installed, root))
        bare = layer.write(f"bare {_key(full, machine)}", f"Python {full}, source only", entries)
        sources = {
            entry.path: entry.content
            for entry in entries
            if entry.path.endswith(".py") and isinstance(entry.content, Path)
        }
        try:
            compiled = bytecode.compiled(client, image, _path(full), sources, [bare])
        finally:
            bare.path.unlink(missing_ok=True)
        whole = [*entries, *(Entry(path, code) for path, code in compiled.items())]
        made = layer.write(_key(full, machine), f"Python {full} of python-build-standalone", whole)
    memory.write_text(json.dumps({"full": full}), encoding="utf-8")
    return Interpreter(minor, full, _path(full), made)


def _installed(folder: Path, minor: str, machine: str, own: str) -> Path:
    wanted = f"cpython-{minor}-linux-{machine}-gnu"
    try:
        uv.run(
            "python", "install", "--no-bin", "--install-dir", str(folder), wanted,
            timeout=_DOWNLOAD_SECONDS,
        )  # fmt: skip
    except uv.UvFailure as failure:
        hint = ""
        if _UNREACHED.search(failure.output):
            hint = "UV_PYTHON_INSTALL_MIRROR names a mirror that this machine reaches"
        last = "\n".join(failure.output.splitlines()[-_LAST_LINES:])
        raise _cannot_be_had(minor, own, last, hint) from None
    # beside it uv puts a link by the minor version
    found = [one for one in folder.glob(f"cpython-{minor}.*") if one.is_dir() and not one.is_symlink()]
    if len(found) != 1:
        raise _cannot_be_had(minor, own, f"uv has installed {[one.name for one in found]}", "")
    return found[0]


def _entries(installed: Path, root: str) -> Iterator[Entry]:
    """What of an installation goes into the layer; its own path in files of settings is made the image's."""
    here, there = str(installed).encode(), root.encode()
    for path in sorted(installed.rglob("*")):
        name = path.relative_to(installed).as_posix()
        if _LEFT_OUT.search(name):
            continue
        place = f"{root[1:]}/{name}"
        if path.is_symlink():
            yield Entry(place, link=str(path.readlink()))
        elif path.is_file():
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            settings = path.name.startswith("_sysconfigdata") or path.name in {"Makefile", "python-config.py"}
            content = path.read_bytes().replace(here, there) if settings else path
            yield Entry(place, content, mode)


def _unsupported(asked: str, own: str) -> EnvironmentException:
    return EnvironmentException(
        f"Python {asked} cannot be had",
        where=f"python={asked}",
        reason=f"a service runs on Python {', '.join(SUPPORTED)}",
        hint=f"python={own}, which the image has (`mldeploy environment modernize FILE` writes the mended file)",
    )


def _cannot_be_had(minor: str, own: str, reason: str, hint: str) -> EnvironmentException:
    there = sorted({own, *_kept()}, key=lambda version: int(version.split(".")[1]))
    return EnvironmentException(
        f"Python {minor} cannot be had for the image",
        where=f"python={minor}",
        reason=reason,
        hint=f"there are {' and '.join(there)}{': ' if hint else ''}{hint}; or docker.baseImage python:{minor}-slim",
    )


def _kept() -> list[str]:
    """The versions whose layers are in the cache."""
    kept = []
    for memory in (cache_root() / "interpreters").glob("*.json"):
        minor, _, machine = memory.stem.partition("-")
        if _recall(memory, minor, machine):
            kept.append(minor)
    return kept
