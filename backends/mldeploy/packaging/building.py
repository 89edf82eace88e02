"""An environment built on purpose, before any deployment asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mldeploy.events import Report, silent
from mldeploy.packaging import environments

if TYPE_CHECKING:
    from pathlib import Path

    from mldeploy.environment import Environment


@dataclass(frozen=True)
class EnvironmentBuild:
    """What `Environment.build` made (v1's `ImageBuildDetails`).

    Args:
        resolved: Every package decided; `resolved.lock` can be exported and committed.
        python: The path of its Python.
    """

    resolved: environments.ResolvedEnvironment
    python: Path

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
    refresh: bool = False,
    offline: bool = False,
    report: Report = silent,
) -> EnvironmentBuild:
    """Resolve an environment and install it.

    Args:
        environment: What to build; None is the serving stack only.
        locks: The workspace's locks.
        refresh: Resolve anew.
        offline: Contact nobody.
        report: Told of each step.

    Returns:
        What was built.

    Raises:
        EnvironmentException: It does not resolve or install, or needs an image.
    """
    resolved = environments.resolve(environment, locks, offline=offline, refresh=refresh, report=report)
    return EnvironmentBuild(resolved, environments.install(resolved, offline=offline, report=report))
