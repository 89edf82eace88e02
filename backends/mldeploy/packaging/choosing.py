"""Which engine an environment is decided for: a process of this machine, or Docker where a process will not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mldeploy.errors import EngineException, NeedsImage
from mldeploy.events import Notice, Report, silent
from mldeploy.packaging import environments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mldeploy.environment import Environment
    from mldeploy.images.resolving import ImageEnvironment
    from mldeploy.packaging.environments import Locks, ResolvedEnvironment


def resolved(
    environment: Environment | None,
    locks: Locks,
    engine: str,
    *,
    besides: Sequence[str] = (),
    offline: bool = False,
    refresh: bool = False,
    report: Report = silent,
) -> ResolvedEnvironment | ImageEnvironment:
    """Decide every package of an environment, for the engine that can run it.

    Args:
        environment: What the entry script needs; None is the serving stack only.
        locks: The workspace's locks.
        engine: `process`, `docker`, or `auto`, which is Docker where a process will not do.
        besides: Requirements that it has to satisfy besides.
        offline: Contact nobody.
        refresh: Decide anew although there is a lock.
        report: Told of each step and notice.

    Raises:
        NeedsImage: A process was asked for, and only an image will do; or Docker is needed, and there is none.
        EnvironmentException: It cannot be resolved.
        EngineException: Docker was asked for, and there is none; it fails, or a registry refuses.
    """
    from mldeploy.images import resolving

    if engine != "docker":
        try:
            return environments.resolve(
                environment, locks, besides=besides, offline=offline, refresh=refresh, report=report
            )
        except NeedsImage as need:
            docker_instead(need, engine, report)
    return resolving.resolve(environment, locks, besides=besides, offline=offline, refresh=refresh, report=report)


def docker_instead(need: NeedsImage, engine: str, report: Report) -> None:
    """Let what a process will not do go on with Docker, unless somebody asked for a process.

    Args:
        need: Why a process will not do.
        engine: What was asked for.
        report: Told of it.

    Raises:
        NeedsImage: A process was asked for; or there is no Docker, which it says too.
    """
    from mldeploy.engines.connection import connect

    if engine != "auto":
        raise need
    report(Notice(f"Docker is taken: {need.message}"))
    try:
        connect()
    except EngineException as missing:
        reason = f"{need.reason}\n{missing.message}".strip()
        raise NeedsImage(need.message, where=need.where, reason=reason, hint=missing.hint) from missing
