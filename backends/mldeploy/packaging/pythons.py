"""Which Python an environment gets: the one asked for, else 3.11 where it can be had, else our own.

An interpreter once found is remembered in the cache, for looking takes longer than all else that an
unchanged deployment does.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from mldeploy.errors import EnvironmentException
from mldeploy.packaging import uv
from mldeploy.store.places import cache_root

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
"""The minor versions that the scoring server runs on."""

PREFERRED = "3.11"
"""What a service gets when nobody asks for a version."""

_DOWNLOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Python:
    """An interpreter that makes virtual environments.

    Args:
        version: Its minor version, `3.11`.
        interpreter: Its path.
        notice: What the user should know about the choice; empty if there is nothing.
    """

    version: str
    interpreter: str
    notice: str = ""


def running() -> str:
    """The minor version of the Python that runs mldeploy."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def machine() -> str:
    """What a lock is good for besides the Python version: operating system and processor.

    Examples:
        >>> machine().islower()
        True
    """
    return f"{platform.system()}-{platform.machine()}".lower()


def choose(asked: str | None, *, offline: bool = False, refresh: bool = False) -> Python:
    """Choose the Python of an environment.

    Args:
        asked: A version (`3.8`, `3.10.18`) or a PEP 440 range (`>=3.9,<3.12`); None where nobody asked.
        offline: Download none.
        refresh: Forget what was found earlier.

    Returns:
        Minor version and interpreter. Of `3.10.18` the last number is not kept to: it is whichever 3.10 there
        is, and the notice says so.

    Raises:
        EnvironmentException: The version cannot be had; the hint names the nearest that can.
    """
    if asked is None:
        return _preferred(offline, refresh)
    if not asked[0].isdigit():
        return _within(asked, offline)
    minor = ".".join(asked.split(".")[:2])
    path = _find(minor, offline) if minor in SUPPORTED else None
    if path is None:
        raise _cannot_be_had(asked)
    patch = asked.count(".") > 1 and not asked.endswith("*")
    return Python(minor, path, f"python={asked} was asked for; any {minor} is taken" if patch else "")


def nearest(asked: str) -> str:
    """The version nearest to one that cannot be had, among those on this machine.

    Args:
        asked: A version, such as `3.6.2`.

    Returns:
        A minor version, such as `3.10`.
    """
    wanted = int([*asked.split("."), "0"][1].strip("*") or 0)
    here = [minor for minor in SUPPORTED if _find(minor, offline=True)] or [running()]
    return min(here, key=lambda minor: abs(int(minor.split(".")[1]) - wanted))


def _preferred(offline: bool, refresh: bool) -> Python:
    if running() == PREFERRED:
        return Python(PREFERRED, own())
    memory = cache_root() / f"python-{PREFERRED}.json"
    if refresh:
        memory.unlink(missing_ok=True)
    path = _recall(memory)
    if path is None:
        path = _find(PREFERRED, offline) or ""
        if path or not offline:
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text(json.dumps(path), encoding="utf-8")
    if path:
        return Python(PREFERRED, path)
    return Python(
        running(), own(), f"no Python version was asked for and {PREFERRED} cannot be had: {running()} is taken"
    )


def _recall(memory: Path) -> str | None:
    """The interpreter remembered, an empty text for "there is none", None where nothing is remembered."""
    try:
        path = str(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return path if not path or os.access(path, os.X_OK) else None


def _within(specifier: str, offline: bool) -> Python:
    """The best version in a range: 3.11 if it is in it, else the newest that can be had."""
    allowed = SpecifierSet(specifier)
    candidates = sorted(SUPPORTED, key=lambda minor: (minor != PREFERRED, -SUPPORTED.index(minor)))
    for minor in candidates:
        if (allowed.contains(minor) or allowed.contains(f"{minor}.99")) and (path := _find(minor, offline)):
            return Python(minor, path)
    raise _cannot_be_had(specifier)


def _find(minor: str, offline: bool) -> str | None:
    if minor == running():
        return own()
    try:
        return uv.run("python", "find", "--no-project", "--system", "--no-python-downloads", minor).strip()
    except uv.UvFailure:
        return None if offline else _download(minor)


def _download(minor: str) -> str | None:
    try:
        uv.run("python", "install", "--no-bin", minor, timeout=_DOWNLOAD_SECONDS, UV_HTTP_RETRIES="0")
        return uv.run("python", "find", "--no-project", "--system", "--no-python-downloads", minor).strip()
    except uv.UvFailure:
        return None


def own() -> str:
    """The interpreter below the virtual environment that mldeploy may run in."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _cannot_be_had(asked: str) -> EnvironmentException:
    digits = "".join(c if c.isdigit() or c == "." else " " for c in asked).split()
    return EnvironmentException(
        f"Python {asked} cannot be had",
        where=f"python={asked}",
        reason=f"a service runs on Python {', '.join(SUPPORTED)}, and it has to be on this machine or downloadable",
        hint=f"python={nearest(digits[0])} (`mldeploy environment modernize FILE` writes the mended file)",
    )
