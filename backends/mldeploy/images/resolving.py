"""An environment for an image, of which every byte is decided: what it stands on, and a lock for that platform."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mldeploy.errors import EnvironmentException
from mldeploy.events import Notice, Report, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mldeploy.config.environment import EnvironmentDefinition
    from mldeploy.environment import Environment
    from mldeploy.images.conda import CondaLock
    from mldeploy.images.foundations.foundation import Foundation
    from mldeploy.packaging.environments import Locks
    from mldeploy.packaging.locking import Question
    from mldeploy.packaging.requirements import Wanted

PREFIX = "/opt/mldeploy/env"
"""Where the environment is in the image."""

_LAYOUT = "3"  # changes when the same lock makes other layers


@dataclass(frozen=True)
class ImageEnvironment:
    """What `packaging.environments.ResolvedEnvironment` is for a process.

    Args:
        foundation: The image below, and its Python.
        lock: Requirements with hashes, wheels for the foundation's platform; our serving wheel not in it.
        digest: SHA-256 over all that decides the environment's layers, hexadecimal.
        notices: What the user should know about the choices made.
        options: Arguments about indexes that installing needs too.
        conda: What conda brings; None where nothing is.
        sources: Whether the lock may name source distributions, which have to be built first.
    """

    foundation: Foundation
    lock: str
    digest: str
    notices: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    conda: CondaLock | None = None
    sources: bool = False

    @property
    def python(self) -> str:
        """The minor version of the Python that runs the service, `3.11`."""
        if self.conda is not None and self.conda.python:
            return ".".join(self.conda.python.split(".")[:2])
        return self.foundation.python

    @property
    def interpreter(self) -> str:
        """Its path in the image."""
        return f"{PREFIX}/bin/python" if self.conda is not None and self.conda.python else self.foundation.interpreter


def resolve(
    environment: Environment | None,
    locks: Locks,
    *,
    besides: Sequence[str] = (),
    offline: bool = False,
    refresh: bool = False,
    report: Report = silent,
) -> ImageEnvironment:
    """Decide every package of an environment for an image, or take what was decided earlier.

    Args:
        environment: What the entry script needs; None is the serving stack only.
        locks: The workspace's locks.
        besides: Requirements that it has to satisfy besides, such as those of another scoring server.
        offline: Ask no index and no registry.
        refresh: Decide anew although there is a lock.
        report: Told of each step, and of each notice.

    Returns:
        The same for the same environment as written and the same base image, until `refresh`.

    Raises:
        EngineException: There is no Docker.
        EnvironmentException: It cannot be resolved, or there is no such base image.
    """
    from mldeploy.config.environment import EnvironmentDefinition
    from mldeploy.packaging import pythons, requirements, serving_wheel
    from mldeploy.packaging.locking import Question

    definition = environment.definition() if environment is not None else EnvironmentDefinition()
    if definition.python.user_managed_dependencies:
        wanted = requirements.Wanted(requirements=tuple(besides))
    else:
        wanted = requirements.from_definition(definition, besides, image=True)
    foundation, conda = _below(definition, wanted, locks, offline=offline, refresh=refresh, report=report)
    notices = (*wanted.notices, *(conda.notices if conda else ()))
    for notice in notices:
        report(Notice(notice))
    draft = ImageEnvironment(foundation, "", "", notices, wanted.options, conda)
    question = Question(
        wanted,
        pythons.Python(draft.python, pythons.own()),
        f"linux-{foundation.platform}",
        foundation.present,
        foundation.platform,
        provided=conda.provided if conda else (),
    )
    lock, sources = _lock(question, locks, offline=offline, refresh=refresh, report=report)
    decides = (
        _LAYOUT,
        foundation.image.id,
        *(layer.diff_id for layer in foundation.layers),
        draft.interpreter,
        lock,
        conda.text if conda else "",
        *(wanted.options if "--no-binary" in wanted.options else ()),  # the lock does not tell which was taken
        serving_wheel.serving_wheel().sha256,
    )
    return replace(draft, lock=lock, digest=hashlib.sha256("\0".join(decides).encode()).hexdigest(), sources=sources)


def _below(
    definition: EnvironmentDefinition, wanted: Wanted, locks: Locks, *, offline: bool, refresh: bool, report: Report
) -> tuple[Foundation, CondaLock | None]:
    """The foundation with the Python that was asked for, unless conda brings it."""
    from mldeploy.engines.connection import connect
    from mldeploy.images.foundations.foundation import found

    client = connect()
    asked = None if wanted.conda else wanted.python
    foundation = found(client, definition, asked=asked, report=report, offline=offline, refresh=refresh)
    conda = _conda_lock(wanted, foundation, locks, offline=offline, refresh=refresh, report=report)
    if conda and wanted.python and not conda.python:
        foundation = found(client, definition, asked=wanted.python, report=report, offline=offline)
    return foundation, conda


def _lock(question: Question, locks: Locks, *, offline: bool, refresh: bool, report: Report) -> tuple[str, bool]:
    """The lock: wheels alone where that is possible, else with source distributions, which is said too."""
    from mldeploy.packaging.environments import known, locked

    with_sources = replace(question, sources=True)
    if "--no-binary" in question.wanted.options:  # asked for, wheels or not
        return locked(with_sources, locks, offline=offline, refresh=refresh, report=report), True
    if refresh or not known(with_sources, locks):
        try:
            return locked(question, locks, offline=offline, refresh=refresh, report=report), False
        except EnvironmentException as error:
            no_wheels = error
        try:
            return locked(with_sources, locks, offline=offline, refresh=refresh, report=report), True
        except EnvironmentException as error:
            error.reason = f"{no_wheels.reason}\n{error.reason}"
            raise
    return locked(with_sources, locks, offline=offline, refresh=False, report=report), True


def _conda_lock(
    wanted: Wanted, foundation: Foundation, locks: Locks, *, offline: bool, refresh: bool, report: Report
) -> CondaLock | None:
    """What conda's channels bring; remembered in the workspace, as uv's lock is."""
    if wanted.conda is None:
        return None
    from mldeploy.images import conda

    key = conda.key(wanted.conda, foundation)
    if not refresh and (text := locks.get(key)):
        return conda.CondaLock.parse(text)
    lock = conda.solve(wanted.conda, foundation, offline=offline, refresh=refresh, report=report)
    locks.put(key, lock.text)
    return lock
