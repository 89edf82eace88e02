"""What py-rattler's failures mean for a user: which package or channel, why in its own words, and what to type next."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mldeploy.errors import EnvironmentException
from mldeploy.images.conda.channels import scrub
from mldeploy.packaging import explain

if TYPE_CHECKING:
    from mldeploy.images.conda.channels import Channel
    from mldeploy.images.conda.rattling import RattlerFailure

_WHERE = "condaDependencies"
_LAST_LINES = 12
_FULL = re.compile(r"os error 28|No space left|os error 122")
_URL = re.compile(r"(?:https?|file)://[^\s)'\"]+")
_UNREACHED = re.compile(
    r"error sending request|tcp connect error|dns error|timed out|Connection reset|connection closed"
)
_NO_CHANNEL = re.compile(r"could not find subdir '[^']+' in channel '(?P<channel>[^']+)'")
_DENIED = re.compile(r"\(40[13] |status code \(40[13]|HTTP status client error \(40[13]")
_BROKEN = re.compile(r"HTTP status server error \((?P<status>\d+)")
_HASH = re.compile(r"hash mismatch|Invalid checksum|[Cc]hecksum")
_FETCHED = re.compile(r"failed to fetch (?P<file>\S+)")
_LACKING = re.compile(r"[Nn]o candidates were found(?: for (?P<spec>[^\n]+?))?\.")


def unsolved(
    words: str, there: Mapping[str, Sequence[str]], specs: Iterable[str], channels: Sequence[Channel]
) -> EnvironmentException:
    """Explain why there is no solution.

    Args:
        words: The solver's.
        there: For each name that was asked for, the versions that the channels have, newest first.
        specs: What was asked for.
        channels: What was asked.

    Returns:
        The error to raise.
    """
    asked = f"channels asked: {', '.join(_shown(one) for one in channels)}"
    unknown = [name for name, versions in there.items() if not versions]
    reason = re.sub(r"^Cannot solve the request because of: ", "", scrub(words)).strip()
    if unknown:
        return EnvironmentException(
            f"no channel has the conda package{'s' if len(unknown) > 1 else ''} {', '.join(unknown)} for this platform",
            where=f"{_WHERE}: {', '.join(unknown)}",
            reason=reason,
            hint=f"check the name, and add the channel that has it under 'channels'; {asked}",
        )
    lacking = _LACKING.search(reason)
    spec = (lacking["spec"] or "").strip() if lacking else ""
    name = spec.split(" ")[0]
    if name in there and not re.search(rf"would require[^\n]*\n[^\n]*{re.escape(name)}", reason):
        return EnvironmentException(
            f"no channel has {spec}",
            where=f"{_WHERE}: {spec}",
            reason=reason,
            hint=f"there are: {', '.join(there[name][:8])}; {asked}",
        )
    return EnvironmentException(
        "the conda packages cannot be installed together",
        where=f"{_WHERE}: {', '.join(specs)}",
        reason=reason,
        hint=f"loosen a version that is named above, or list under 'pip' what PyPI has too; {asked}",
    )


def failed(failure: RattlerFailure, channels: Sequence[Channel] = ()) -> EnvironmentException:
    """Explain why channels could not be asked, or packages not be installed.

    Args:
        failure: py-rattler's.
        channels: What was asked.

    Returns:
        The error to raise.
    """
    text = failure.text
    if failure.kind in {"Ended", "TypeError", "AttributeError"}:  # broken, or of another version
        return EnvironmentException(
            "py-rattler does not work",
            where=_WHERE,
            reason="\n".join(text.splitlines()[-_LAST_LINES:]),
            hint="install it anew: pip install --force-reinstall 'pytest-mldeploy[conda]'",
        )
    if _FULL.search(text):
        return explain.disk(OSError(errno.ENOSPC, "No space left on device"), None)
    url = _URL.search(text)
    where = url[0].rstrip(".") if url else _WHERE
    file = _FETCHED.search(text)
    subject = f"the conda package {file['file']}" if file else "the conda channel"
    message, hint = _meaning(text, subject)
    if channels and not file:
        hint = f"{hint}; channels asked: {', '.join(_shown(one) for one in channels)}"
    if no_channel := _NO_CHANNEL.search(text):
        message, where = f"there is no conda channel at {no_channel['channel']}", no_channel["channel"]
    return EnvironmentException(message, where=where, reason=text, hint=hint)


def _meaning(text: str, subject: str) -> tuple[str, str]:
    """The message and what to do."""
    if _HASH.search(text):
        return (
            f"{subject} is not the one that was decided on: its hash is another one",
            "if the channel has replaced it on purpose, `mldeploy environment build --refresh` decides anew",
        )
    if _DENIED.search(text):
        return (
            f"{subject} is not for everybody",
            "put the credentials in netrc, in the keyring (`rattler auth login`), or in the file of RATTLER_AUTH_FILE",
        )
    if _UNREACHED.search(text):
        return (
            f"{subject} cannot be reached",
            "check the network and the URL; a mirror is named in py-rattler's config.toml",
        )
    if broken := _BROKEN.search(text):
        return (
            f"{subject} cannot be had: its server answered {broken['status']}",
            "try again later, or name another channel",
        )
    if "404" in text:
        return f"{subject} is gone", "`mldeploy environment build --refresh` decides anew"
    return f"{subject} cannot be had", "the reason above is py-rattler's own"


def unreadable(failure: RattlerFailure, spec: str) -> EnvironmentException:
    """Explain that a line is no specification of conda's."""
    return EnvironmentException(
        f"{scrub(spec)!r} cannot be read as a conda package",
        where=f"{_WHERE}: {scrub(spec)}",
        reason=failure.text,
        hint="write NAME, NAME=VERSION or NAME>=VERSION",
    )


def _shown(channel: Channel) -> str:
    urls = ", ".join(channel.urls)
    return urls if channel.name.rstrip("/") == urls else f"{scrub(channel.name)} ({urls})"
