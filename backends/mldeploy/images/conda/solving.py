"""Which conda packages an image gets: asked once, then it is the lock that says it.

What is decided for: the foundation's platform and C library, and its Python where the channels bring none. A Python of
theirs that is needed becomes the environment's interpreter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import EnvironmentException
from mldeploy.events import Report, Step, silent
from mldeploy.images.conda import channels as conda_channels
from mldeploy.images.conda import failures, installing, rattling
from mldeploy.images.conda.locks import CondaLock, locked
from mldeploy.images.foundations import interpreters
from mldeploy.images.layers import layer
from mldeploy.packaging import pythons
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from mldeploy.images.conda.channels import Channel
    from mldeploy.images.foundations.foundation import Foundation
    from mldeploy.packaging.requirements import CondaWanted

_QUESTION = 1  # changes when the same question is asked in another way
_KERNEL = "5.10"  # what is claimed of the host that nobody knows yet
_PRIORITIES = {"strict": "Strict", "flexible": "Flexible", "disabled": "Disabled"}
_CUDA = "CONDA_OVERRIDE_CUDA"


def key(wanted: CondaWanted, foundation: Foundation) -> str:
    """The lock's name in the workspace and in the cache: 64 hexadecimal digits.

    Args:
        wanted: What is asked for.
        foundation: What it stands on.

    Raises:
        EnvironmentException: A channel has credentials in it.
    """
    question, _ = _question(wanted, foundation)
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def solve(
    wanted: CondaWanted,
    foundation: Foundation,
    *,
    offline: bool = False,
    refresh: bool = False,
    report: Report = silent,
) -> CondaLock:
    """Decide the conda packages, or take what was decided earlier on this machine.

    The packages are fetched too, for what they bring of pip's can only be seen in them.

    Args:
        wanted: What is asked for.
        foundation: What it stands on.
        offline: Ask no channel that is not a folder.
        refresh: Decide anew although there is a lock.
        report: Told of the step, if there is one, and of the lock's notices.

    Returns:
        The lock.

    Raises:
        EnvironmentException: There is no solution; a channel or a package cannot be had; py-rattler is not installed.
    """
    question, channels = _question(wanted, foundation)
    cached = cache_root() / "locks" / f"{key(wanted, foundation)}.conda.json"
    with alone(cached, report):
        if (kept := _kept(cached)) is not None and not refresh:
            return kept
        if offline and (far := [url for one in channels for url in one.urls if not url.startswith("file:")]):
            raise EnvironmentException(
                "the conda packages were not decided yet, and no channel may be asked",
                where=f"condaDependencies: {', '.join(wanted.packages)}",
                reason=f"{', '.join(far)}: not on this machine",
                hint="leave out --offline once, so that they are decided and fetched",
            )
        report(Step("resolve", f"resolving {len(wanted.packages)} conda packages"))
        records = _solved(question, channels, report)
        report(Step("install", f"fetching {len(records)} conda packages"))
        with layer.staging() as folder:
            found = installing.look(records, folder / "env", foundation, report)
            lock = locked(records, found, tuple(wanted.packages))
            partial = folder / "lock"
            partial.write_text(lock.text, encoding="utf-8")
            partial.replace(cached)
    return lock


def _kept(cached: Path) -> CondaLock | None:
    try:
        return CondaLock.parse(cached.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError):
        return None


def _solved(question: dict[str, Any], channels: tuple[Channel, ...], report: Report) -> list[dict[str, Any]]:
    try:
        answer = rattling.ask(question, report)
    except rattling.RattlerFailure as failure:
        if failure.kind.startswith("Invalid"):
            raise failures.unreadable(failure, ", ".join(question["specs"])) from None
        raise failures.failed(failure, channels) from None
    if "refused" in answer:
        raise failures.unsolved(answer["refused"], answer["there"], question["specs"], channels)
    records: list[dict[str, Any]] = answer["records"]
    for record in records:
        if not record.get("sha256"):
            raise EnvironmentException(
                f"the conda package {record['fn']} has no SHA-256 in its channel's index",
                where=conda_channels.scrub(record["url"]),
                hint="index the channel anew (`conda index`)",
            )
    return records


def _question(wanted: CondaWanted, foundation: Foundation) -> tuple[dict[str, Any], tuple[Channel, ...]]:
    conda = conda_channels.settings()
    specs, more = _specs(wanted.packages, conda)
    written = (*wanted.channels, *more) if wanted.channels else wanted.channels
    channels = conda_channels.sources(written, conda)
    if not wanted.channels:
        channels += tuple(one for name in more if (one := conda_channels.channel(name, conda)) not in channels)
    asked = _python(wanted.python)
    attempts = [[*wanted.bounds, *asked]]
    if not asked:
        attempts = [[*wanted.bounds, f"python {minor}"] for minor in (f"{foundation.python}.*", _supported())]
    elif wanted.python and not interpreters.allows(wanted.python, foundation.python):
        specs = (*specs, *asked)
    question = {
        "question": _QUESTION,
        "sources": [[one.name, list(one.urls)] for one in channels],
        "specs": list(specs),
        "attempts": attempts,
        "python": foundation.python,
        "subdir": installing.subdir(foundation),
        "virtual": _virtual(foundation.platform),
        "priority": _PRIORITIES.get(str(conda.get("channel_priority", "flexible")).lower(), "Flexible"),
    }
    return question, channels


def _specs(packages: tuple[str, ...], conda: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The specifications with the URLs of the channels that they name, and those channels."""
    specs, named = [], []
    for line in packages:
        name, separator, rest = line.strip().partition("::")
        if not separator:
            specs.append(line.strip())
            continue
        channel = conda_channels.channel(name, conda)
        specs.append(f"{channel.urls[0] if len(channel.urls) == 1 else name}::{rest}")
        named.append(name)
    return tuple(specs), tuple(named)


def _python(asked: str | None) -> tuple[str, ...]:
    """What is asked of Python's version in conda's words; of `3.10.18` the last number is not kept to."""
    if asked is None:
        return ()
    if not asked[0].isdigit():
        return (f"python {asked.removeprefix('==')}", f"python {_supported()}")
    minor = interpreters.exactly(asked)
    if minor not in pythons.SUPPORTED:
        raise EnvironmentException(
            f"Python {asked} cannot be had",
            where=f"python={asked}",
            reason=f"a service runs on Python {', '.join(pythons.SUPPORTED)}",
            hint="name one of these",
        )
    return (f"python {minor}.*",)


def _supported() -> str:
    first, last = pythons.SUPPORTED[0], pythons.SUPPORTED[-1]
    major, minor = last.split(".")
    return f">={first},<{major}.{int(minor) + 1}.0a0"


def _virtual(platform: str) -> list[tuple[str, str, str]]:
    """What conda knows of a machine, for the platform as uv names it."""
    found = [("__unix", "0", "0"), ("__linux", _KERNEL, "0"), ("__archspec", "1", platform.partition("-")[0])]
    if glibc := re.search(r"manylinux_?(\d+)_(\d+)", platform):
        found.append(("__glibc", f"{glibc[1]}.{glibc[2]}", "0"))
    elif "manylinux2014" in platform:
        found.append(("__glibc", "2.17", "0"))
    if cuda := os.environ.get(_CUDA):
        found.append(("__cuda", cuda, "0"))
    return found
