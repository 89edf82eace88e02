"""An environment resolved once and installed once: a lock with hashes, and a virtual environment per digest.

The lock is looked for in the workspace, then in the user's cache, and only then is `uv` asked; so an unchanged
environment needs no network and is never another one because a package was released.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mldeploy.errors import NeedsImage
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.packaging import explain, locking, pythons, requirements, serving_wheel, user_managed, uv
from mldeploy.packaging.alone import alone
from mldeploy.packaging.requirements import Wanted
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mldeploy.environment import Environment

__all__ = ["Locks", "NeedsImage", "ResolvedEnvironment", "install", "installed", "known", "locked", "resolve"]


class Locks(Protocol):
    """Where a workspace keeps its locks."""

    def get(self, key: str, /) -> str | None:
        """The lock of that name, None if there is none."""

    def put(self, key: str, text: str, /) -> None:
        """Keep a lock, in the place of an earlier one."""


@dataclass(frozen=True)
class ResolvedEnvironment:
    """An environment of which every byte is decided.

    Args:
        python: Its minor version, `3.11`.
        interpreter: The base interpreter that makes the virtual environment.
        lock: Requirements with hashes; no index URLs, no credentials, and our serving wheel not in it.
        digest: SHA-256 over Python version, machine, lock and the serving wheel's bytes, hexadecimal.
        notices: What the user should know about the choices made.
        options: Arguments about indexes and builds that installing needs too.
        site_packages: Folders of an interpreter managed by the user, whose packages the environment sees.
    """

    python: str
    interpreter: str
    lock: str
    digest: str
    notices: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    site_packages: tuple[str, ...] = ()


def resolve(
    environment: Environment | None,
    locks: Locks,
    *,
    besides: Sequence[str] = (),
    offline: bool = False,
    refresh: bool = False,
    report: Report = silent,
) -> ResolvedEnvironment:
    """Decide every package of an environment, or take what was decided earlier.

    Args:
        environment: What the entry script needs; None is the serving stack only.
        locks: The workspace's locks.
        besides: Requirements that it has to satisfy besides, such as those of another scoring server.
        offline: Ask no index and download no Python.
        refresh: Decide anew although there is a lock.
        report: Told of the step, if there is one, and of each notice.

    Returns:
        The same for the same environment as written, Python and machine, until `refresh`.

    Raises:
        NeedsImage: Only an image can satisfy it.
        EnvironmentException: It cannot be resolved; `reason` has uv's words, `hint` the nearest that can.
    """
    question, site_packages = _question(environment, besides, offline=offline, refresh=refresh)
    wanted = question.wanted
    notices = tuple(notice for notice in (question.python.notice, *wanted.notices) if notice)
    for notice in notices:
        report(Notice(notice))
    lock = locked(question, locks, offline=offline, refresh=refresh, report=report)
    return ResolvedEnvironment(
        question.python.version,
        question.python.interpreter,
        lock,
        _digest(question, lock, site_packages),
        notices,
        wanted.options,
        site_packages,
    )


def installed(resolved: ResolvedEnvironment) -> Path | None:
    """The Python of an environment that is there already.

    Args:
        resolved: What `resolve` gave.

    Returns:
        Its path; None where the environment was not installed yet, or its base interpreter is gone.
    """
    python = _folder(resolved) / "bin" / "python"
    return python if python.exists() else None


def install(resolved: ResolvedEnvironment, *, offline: bool = False, report: Report = silent) -> Path:
    """Make the virtual environment, unless it is there.

    It is built aside and renamed when it is whole, one process at a time: a process that is killed leaves
    nothing that a later one would take for an environment.

    Args:
        resolved: What `resolve` gave.
        offline: Use only what uv has in its cache.
        report: Told of the step, if there is one.

    Returns:
        The path of its Python.

    Raises:
        EnvironmentException: A package cannot be had or does not build, or the disk is full; nothing is left.
    """
    if python := installed(resolved):
        return python
    folder = _folder(resolved)
    with alone(folder, report):
        if python := installed(resolved):
            return python
        report(Step("install", f"installing {_count(resolved.lock)} packages for Python {resolved.python}"))
        shutil.rmtree(folder, ignore_errors=True)
        _sweep(folder)
        _build(resolved, folder, offline=offline)
    return folder / "bin" / "python"


def _question(
    environment: Environment | None, besides: Sequence[str], *, offline: bool, refresh: bool
) -> tuple[locking.Question, tuple[str, ...]]:
    """What to ask uv, and the folders of packages that the user manages."""
    from mldeploy.config.environment import EnvironmentDefinition

    definition = environment.definition() if environment is not None else EnvironmentDefinition()
    requirements.refuse_image(definition)
    if definition.python.user_managed_dependencies:
        theirs = user_managed.inspect(definition.python.interpreter_path)
        question = locking.Question(
            Wanted(requirements=tuple(besides)), theirs.python, pythons.machine(), theirs.present
        )
        return question, theirs.site_packages
    wanted = requirements.from_definition(definition, besides)
    python = pythons.choose(wanted.python, offline=offline, refresh=refresh)
    return locking.Question(wanted, python, pythons.machine()), ()


def known(question: locking.Question, locks: Locks) -> bool:
    """Tells whether a question was answered earlier.

    Args:
        question: What to resolve.
        locks: The workspace's locks.
    """
    return locks.get(question.key) is not None or _cached(question.key).exists()


def locked(question: locking.Question, locks: Locks, *, offline: bool, refresh: bool, report: Report) -> str:
    """The lock that answers a question: the workspace's, the cache's, or a new one.

    Args:
        question: What to resolve.
        locks: The workspace's locks.
        offline: Ask no index.
        refresh: Decide anew although there is a lock.
        report: Told of the step, if there is one.

    Raises:
        EnvironmentException: It cannot be resolved; `reason` has uv's words, `hint` the nearest that can.
    """
    key = question.key
    kept = None if refresh else locks.get(key)
    cached = _cached(key)
    if kept is None:
        with alone(cached, report):
            if refresh or not cached.exists():
                report(Step("resolve", _resolving(len(question.wanted.requirements))))
                _write(cached, _answer(question, offline=offline, refresh=refresh))
            kept = cached.read_text(encoding="utf-8")
        locks.put(key, kept)
    return kept


def _cached(key: str) -> Path:
    return cache_root() / "locks" / f"{key}.txt"


def _answer(question: locking.Question, *, offline: bool, refresh: bool) -> str:
    try:
        return locking.answer(question, offline=offline, refresh=refresh)
    except uv.UvFailure as failure:
        raise explain.resolving(failure, question, offline=offline) from None


def _digest(question: locking.Question, lock: str, site_packages: tuple[str, ...]) -> str:
    parts = (
        question.python.version,
        question.machine,
        *((question.python.interpreter, *site_packages) if site_packages else ()),
        lock,
        serving_wheel.serving_wheel().sha256,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _folder(resolved: ResolvedEnvironment) -> Path:
    return cache_root() / "environments" / resolved.digest


def _build(resolved: ResolvedEnvironment, folder: Path, *, offline: bool) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        _fill(resolved, partial, offline=offline)
        # mkdtemp's folders are the owner's alone, and so stay the environments
        partial.rename(folder)
    except uv.UvFailure as failure:
        raise explain.installing(failure, resolved.interpreter, resolved.options, offline=offline) from None
    except OSError as error:
        raise explain.disk(error, folder) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half built; a uv that outlived one may still have written there."""
    from filelock import FileLock, Timeout

    for half in folder.parent.glob("*.partial-*"):
        digest = half.name.partition(".")[0]
        if digest == folder.name:  # its lock is ours
            shutil.rmtree(half, ignore_errors=True)
            continue
        with suppress(Timeout), FileLock(folder.parent / f"{digest}.lock").acquire(timeout=0):
            shutil.rmtree(half, ignore_errors=True)


def _fill(resolved: ResolvedEnvironment, folder: Path, *, offline: bool) -> None:
    wheel = serving_wheel.serving_wheel()
    lock = folder / "requirements.lock"
    python = folder / "bin" / "python"
    arguments = ["--offline"] if offline else []
    uv.run(
        "venv",
        "--quiet",
        "--no-project",
        "--allow-existing",
        "--relocatable",
        "--python",
        resolved.interpreter,
        str(folder),
    )
    lock.write_text(f"{resolved.lock}{wheel.requirement()} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    uv.run(
        "pip", "install", "--python", str(python), "--require-hashes", "--no-deps",
        "--requirements", str(lock), *resolved.options, *arguments,
    )  # fmt: skip
    if resolved.site_packages:
        user_managed.link(python, resolved.site_packages)


def _resolving(asked: int) -> str:
    return (
        f"resolving {asked} requirements and the scoring server's"
        if asked
        else "resolving the scoring server's requirements"
    )


def _count(lock: str) -> int:
    return 1 + sum(1 for line in lock.splitlines() if line and not line.startswith((" ", "#")))


def _write(path: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(scratch).replace(path)
