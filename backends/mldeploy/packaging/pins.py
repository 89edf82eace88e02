"""The version nearest to a pin that no longer installs."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from mldeploy.packaging import locking, uv

if TYPE_CHECKING:
    from mldeploy.packaging.requirements import Wanted

_PIN = {"==", "~=", "===", "<=", "<"}


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


def mend(line: str, interpreter: str, options: tuple[str, ...] = ()) -> str | None:
    """Move one pin to the nearest version that installs.

    Args:
        line: One requirement line.
        interpreter: The Python it is for.
        options: Arguments for `uv` about indexes.

    Returns:
        The mended line; None if it installs as it is, is no pin, or nothing near it installs.
    """
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    pinned = [specifier for specifier in requirement.specifier if specifier.operator in _PIN]
    if not pinned or requirement.url or installs(line, interpreter, options):
        return None
    version = nearest(requirement.name, pinned[0].version, interpreter, options)
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
    with ThreadPoolExecutor(4) as pool:
        mended = pool.map(lambda line: mend(line, interpreter, options), wanted.requirements)
        return {line: new for line, new in zip(wanted.requirements, mended, strict=True) if new}


def _wheels_only(lines: tuple[str, ...], interpreter: str, options: tuple[str, ...], *arguments: str) -> str:
    return locking.compile_requirements(
        lines, (), interpreter, "--no-build", "--no-header", "--no-annotate", "--quiet", *options, *arguments
    )


def _loose(name: str) -> str:
    return re.sub(r"[-_.]+", "[-_.]+", name)
