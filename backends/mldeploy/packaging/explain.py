"""What uv's failures mean for a user: which package, why in uv's words, and what to type next."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from mldeploy.errors import EnvironmentException, NeedsImage
from mldeploy.packaging import pins

if TYPE_CHECKING:
    from pathlib import Path

    from mldeploy.packaging.locking import Question
    from mldeploy.packaging.uv import UvFailure

_LAST_LINES = 30
_UNBUILT = re.compile(r"Failed to (?:download and )?build `(?P<name>[\w.-]+)(?:==|@)(?P<version>[\w.!+-]+)`")
_UNREACHED = re.compile(
    r"error sending request|Failed to fetch|[Cc]onnection refused|dns error|timed out|network is disabled|"
    r"requires network|not found in the cache|network connectivity is disabled"
)
_DENIED = re.compile(r"40[13] (?:Unauthorized|Forbidden)|status code: 40[13]|unauthorized", re.IGNORECASE)
_UNKNOWN = re.compile(r"[Bb]ecause (?P<name>[\w.-]+) was not found in the (?:package registry|provided package)")
NO_COMPILER = re.compile(
    r"command '?\S*(?:gcc|cc|g\+\+|c\+\+|clang)'? failed: No such file|unable to execute '?\S*(?:gcc|cc)|"
    r"Unknown compiler\(s\)|[Nn]o C(?:\+\+)? compiler|Python\.h: No such file|can't find Rust compiler|"
    r"(?:cmake|ninja|make|cargo|rustc|gfortran)\S*: (?:command )?not found|CMAKE_C(?:XX)?_COMPILER not set"
)
"""What building a source distribution says where there is nothing to compile it with."""

MODERNIZE = "`mldeploy environment modernize FILE` writes the mended file"


def resolving(failure: UvFailure, question: Question, *, offline: bool) -> EnvironmentException:
    """Explain why there is no lock.

    Args:
        failure: uv's.
        question: What was asked.
        offline: Whether the indexes were left alone.

    Returns:
        The error to raise.
    """
    if lacking := _compiler_lacking(failure.output):
        return lacking
    hint = _outside(failure.output, offline=offline) or _brought(failure.output, question)
    if not hint:
        mended = pins.nearest_pins(question.wanted, question.python.interpreter, offline=offline)
        hint = _nearest(mended) or _inside(failure.output)
    return EnvironmentException(
        _unbuilt(failure.output) or "the environment cannot be resolved",
        where="environment",
        reason=_tail(failure.output),
        hint=hint,
    )


def installing(
    failure: UvFailure, interpreter: str, options: tuple[str, ...], *, offline: bool
) -> EnvironmentException:
    """Explain why an environment cannot be installed.

    Args:
        failure: uv's.
        interpreter: The Python it is for.
        options: Its arguments about indexes.
        offline: Whether the indexes were left alone.

    Returns:
        The error to raise.
    """
    output = failure.output
    if "os error 28" in output or "No space left" in output:
        return disk(OSError(errno.ENOSPC, "No space left on device"), None)
    if lacking := _compiler_lacking(output):
        return lacking
    hint = _outside(output, offline=offline)
    if not hint and (match := _UNBUILT.search(output)):
        arguments = (*options, *(["--offline"] if offline else []))
        version = pins.nearest(match["name"], match["version"], interpreter, arguments)
        hint = _nearest({f"{match['name']}=={match['version']}": f"{match['name']}=={version}"} if version else {})
    return EnvironmentException(
        _unbuilt(output) or "the environment cannot be installed",
        where="environment",
        reason=_tail(output),
        hint=hint or "the reason above is uv's own; `mldeploy environment build --refresh` resolves anew",
    )


def disk(error: OSError, folder: Path | None) -> EnvironmentException:
    """Explain why an environment could not be written.

    Args:
        error: The system's.
        folder: Where it was to be; None if the system does not tell.

    Returns:
        The error to raise.
    """
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return EnvironmentException(
        "the disk is full: the environment was not installed" if full else "the environment could not be written",
        where=str(folder or "the cache"),
        reason=error.strerror or str(error),
        hint="make room, or move the cache with MLDEPLOY_CACHE (mldeploy's) and UV_CACHE_DIR (uv's)",
    )


def _compiler_lacking(output: str) -> NeedsImage | None:
    """What to raise where a source distribution needs a compiler that this machine has not; None where it has."""
    if not NO_COMPILER.search(output):
        return None
    return NeedsImage(
        f"{_unbuilt(output) or 'a source distribution does not build'} without a compiler",
        where="environment",
        reason=_tail(output),
        hint="--engine docker builds it in a container; or install a compiler here, or pin a version with a wheel",
    )


def _outside(output: str, *, offline: bool) -> str:
    """What to do if the cause is not in the requirements; empty if it is."""
    if _DENIED.search(output):
        return "give uv the credentials: netrc, the keyring, or UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD"
    if offline and _UNREACHED.search(output):
        return "leave out --offline once, so that uv has the packages in its cache"
    if _UNREACHED.search(output):
        return "the index could not be reached: check the network, or name another in uv.toml or UV_DEFAULT_INDEX"
    return ""


def _brought(output: str, question: Question) -> str:
    """What to do if what conda brings does not fit; empty if that is not it."""
    for pin, _ in question.provided:
        name = pin.partition("==")[0]
        if re.search(rf"only {re.escape(name)}[<=>!]", output):
            return f"conda brings {pin}: ask conda for another version of it, or loosen what pip asks of {name}"
    return ""


def _inside(output: str) -> str:
    """What to do if the cause is in the requirements, and no pin moved alone would mend it."""
    if match := _UNKNOWN.search(output):
        return f"check the name {match['name']}: no index that uv was given has it"
    if _UNBUILT.search(output):
        return "what the build says above; a package with a wheel for this Python needs no build"
    return "loosen one of the pins named above"


def _unbuilt(output: str) -> str:
    match = _UNBUILT.search(output)
    return f"{match['name']} {match['version']} does not build" if match else ""


def _nearest(mended: dict[str, str]) -> str:
    if not mended:
        return ""
    return f"the nearest that installs: {', '.join(mended.values())} ({MODERNIZE})"


def _tail(output: str) -> str:
    lines = output.splitlines()
    return "\n".join([*lines[:3], "…", *lines[-_LAST_LINES:]] if len(lines) > _LAST_LINES + 3 else lines)
