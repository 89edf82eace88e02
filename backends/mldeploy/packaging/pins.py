"""The version nearest to a pin that no longer installs, or that installs and does not run.

A wheel that was built for numpy 1 installs beside numpy 2 and fails when it is imported; `runs_from.json` has, for the
packages that old pins are about, the first version that runs on the Pythons and the numpy of today.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mldeploy.packaging import locking, uv

if TYPE_CHECKING:
    from mldeploy.packaging.requirements import Wanted

_PIN = {"==", "~=", "===", "<=", "<"}
_LESS_THAN_2 = {("<", "2"), ("<", "2.0"), ("<", "2.0.0")}


def floors(lines: Iterable[str]) -> Mapping[str, str]:
    """The first versions that run, by normalised name.

    Args:
        lines: All requirements of the environment: beside a numpy that is held below 2, older ones run too.
    """
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) == "numpy" and any(map(_below_2, requirement.specifier)):
            return {}
    text = (importlib.resources.files("mldeploy.packaging") / "runs_from.json").read_text(encoding="utf-8")
    table: dict[str, str] = json.loads(text)
    return table


def nearest(name: str, version: str, interpreter: str, options: tuple[str, ...] = ()) -> str | None:
    """Find the version nearest to one that cannot be had, as a wheel for this Python.

    Args:
        name: The package.
        version: The one that cannot be had; `.*` at its end is not looked at.
        interpreter: The Python it is for.
        options: Arguments for `uv` about indexes.

    Returns:
        The lowest later version with a wheel, else the newest of all; None if there is none.
    """
    above = f"{name}>={version.removesuffix('.*')}"
    for line, mode in ((above, "lowest-direct"), (name, "highest")):
        try:
            lock = _wheels_only((line,), interpreter, options, "--resolution", mode)
        except uv.UvFailure:
            continue
        found = re.search(rf"^{_loose(name)}==(\S+)", lock, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else None
    return None


def installs(line: str, interpreter: str, options: tuple[str, ...] = ()) -> bool:
    """Tells whether a requirement can be had as a wheel, it and all it needs.

    Args:
        line: One requirement line.
        interpreter: The Python it is for.
        options: Arguments for `uv` about indexes.
    """
    try:
        _wheels_only((line,), interpreter, options)
    except uv.UvFailure:
        return False
    return True


def mend(
    line: str, interpreter: str, options: tuple[str, ...] = (), runs_from: Mapping[str, str] | None = None
) -> str | None:
    """Move one pin to the nearest version that installs and runs.

    Args:
        line: One requirement line.
        interpreter: The Python it is for.
        options: Arguments for `uv` about indexes.
        runs_from: As `floors` gives it.

    Returns:
        The mended line; None if it is right as it is, is no pin, or nothing near it installs.
    """
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    pinned = [specifier for specifier in requirement.specifier if specifier.operator in _PIN]
    if not pinned or requirement.url:
        return None
    floor = (runs_from or {}).get(canonicalize_name(requirement.name), "0")
    asked = pinned[0].version.removesuffix(".*")
    too_old = _older(asked, floor)
    if not too_old and installs(line, interpreter, options):
        return None
    version = nearest(requirement.name, floor if too_old else asked, interpreter, options)
    if version is None:
        return None
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{extras}=={version}{marker}"


def nearest_pins(wanted: Wanted, interpreter: str, *, offline: bool = False) -> dict[str, str]:
    """Mend each pin by itself.

    Args:
        wanted: What was asked for.
        interpreter: The Python it is for.
        offline: Use only what uv has in its cache.

    Returns:
        From each line that does not install to the mended one.
    """
    options = (*wanted.options, *(["--offline"] if offline else []))
    runs_from = floors(wanted.requirements)
    with ThreadPoolExecutor(4) as pool:
        mended = pool.map(lambda line: mend(line, interpreter, options, runs_from), wanted.requirements)
        return {line: new for line, new in zip(wanted.requirements, mended, strict=True) if new}


def _wheels_only(lines: tuple[str, ...], interpreter: str, options: tuple[str, ...], *arguments: str) -> str:
    return locking.compile_requirements(
        lines, (), interpreter, "--no-build", "--no-header", "--no-annotate", "--quiet", *options, *arguments
    )


def _below_2(specifier: Specifier) -> bool:
    """Whether it keeps 2 and all that is later away."""
    if (specifier.operator, specifier.version) in _LESS_THAN_2:
        return True
    return specifier.operator in _PIN and specifier.version.partition(".")[0] in {"0", "1"}


def _older(version: str, floor: str) -> bool:
    try:
        return Version(version) < Version(floor)
    except InvalidVersion:
        return False


def _loose(name: str) -> str:
    return re.sub(r"[-_.]+", "[-_.]+", name)
