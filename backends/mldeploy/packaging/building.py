"""An environment built on purpose, before any deployment asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mldeploy.errors import NeedsImage
from mldeploy.events import Report, silent
from mldeploy.packaging import choosing, environments

if TYPE_CHECKING:
    from mldeploy.environment import Environment
    from mldeploy.images.resolving import ImageEnvironment


@dataclass(frozen=True)
class EnvironmentBuild:
    """What `Environment.build` made (v1's `ImageBuildDetails`).

    Args:
        resolved: Every package decided; `resolved.lock` can be exported and committed.
        place: The path of its Python, or the name of its image.
    """

    resolved: environments.ResolvedEnvironment | ImageEnvironment
    place: str

    @property
    def status(self) -> str:
        """Always "Succeeded", for what fails raises."""
        return "Succeeded"

    def wait_for_completion(self, show_output: bool = True) -> EnvironmentBuild:
        """Return at once: it is built already.

        Args:
            show_output: Taken for v1's sake; `Environment.build` told its steps.
        """
        return self


def build(
    environment: Environment | None,
    locks: environments.Locks,
    *,
    engine: str = "auto",
    refresh: bool = False,
    offline: bool = False,
    report: Report = silent,
) -> EnvironmentBuild:
    """Resolve an environment, and install it or make its image.

    Args:
        environment: What to build; None is the serving stack only.
        locks: The workspace's locks.
        engine: What services will run on: `process`, `docker`, or `auto`, which is Docker where a process will not do.
        refresh: Resolve anew.
        offline: Contact nobody.
        report: Told of each step.

    Returns:
        What was built.

    Raises:
        EnvironmentException: It does not resolve or install; `NeedsImage` where a process was asked for in vain.
        EngineException: Docker is needed, and there is none.
    """
    resolved = choosing.resolved(environment, locks, engine, offline=offline, refresh=refresh, report=report)
    if isinstance(resolved, environments.ResolvedEnvironment):
        try:
            return EnvironmentBuild(resolved, str(environments.install(resolved, offline=offline, report=report)))
        except NeedsImage as need:
            choosing.docker_instead(need, engine, report)
            return build(environment, locks, engine="docker", offline=offline, refresh=refresh, report=report)
    from mldeploy.engines.connection import connect
    from mldeploy.images.assemble import bring_environment

    _, tag = bring_environment(connect(), resolved, offline=offline, report=report)
    return EnvironmentBuild(resolved, tag)
