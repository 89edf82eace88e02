"""An environment for an image, of which every byte is decided: what it stands on, and a lock for that platform."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mldeploy.events import Notice, Report, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mldeploy.environment import Environment
    from mldeploy.images.conda import CondaLock
    from mldeploy.images.foundation import Foundation
    from mldeploy.packaging.environments import Locks
    from mldeploy.packaging.requirements import Wanted

PREFIX = "/opt/mldeploy/env"
"""Where the environment is in the image."""

_LAYOUT = "1"  # changes when the same lock makes other layers


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
    """

    foundation: Foundation
    lock: str
    digest: str
    notices: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    conda: CondaLock | None = None

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
    from mldeploy.engines.connection import connect
    from mldeploy.images.foundation import found
    from mldeploy.packaging import pythons, requirements, serving_wheel
    from mldeploy.packaging.environments import locked
    from mldeploy.packaging.locking import Question

    definition = environment.definition() if environment is not None else EnvironmentDefinition()
    foundation = found(connect(), definition, report=report, offline=offline)
    if definition.python.user_managed_dependencies:
        wanted = requirements.Wanted(requirements=tuple(besides))
    else:
        wanted = requirements.from_definition(definition, besides, image=True)
    for notice in wanted.notices:
        report(Notice(notice))
    conda = _conda_lock(wanted, foundation, locks, offline=offline, refresh=refresh, report=report)
    draft = ImageEnvironment(foundation, "", "", wanted.notices, wanted.options, conda)
    present = (*foundation.present, *(conda.present if conda else ()))
    question = Question(
        wanted,
        pythons.Python(draft.python, pythons.own()),
        f"linux-{foundation.platform}",
        present,
        foundation.platform,
    )
    lock = locked(question, locks, offline=offline, refresh=refresh, report=report)
    decides = (
        _LAYOUT,
        foundation.image.id,
        draft.interpreter,
        lock,
        conda.text if conda else "",
        serving_wheel.serving_wheel().sha256,
    )
    digest = hashlib.sha256("\0".join(decides).encode()).hexdigest()
    return ImageEnvironment(foundation, lock, digest, wanted.notices, wanted.options, conda)


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
