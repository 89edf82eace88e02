"""What a long step tells while it works: plain values that the runner, the plugin and the logs consume.

A step takes `report: Report` and calls it; it never prints and never knows who listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step of a deployment has begun.

    Args:
        name: The room it happens in: `register`, `resolve`, `install`, `package`, `start`, `health`, `delete`.
        text: One line for a person.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know although nothing is wrong, such as which Python was chosen."""

    text: str


@dataclass(frozen=True)
class Progress:
    """How far a step has come.

    Args:
        name: The same word as the step's.
        done: Bytes or items so far.
        total: All of them; 0 where that is not known.
    """

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class StateChanged:
    """A service is seen in a new state.

    Args:
        service: Its name.
        state: One of Azure ML's five: Transitioning, Unhealthy, Unschedulable, Failed, Healthy.
    """

    service: str
    state: str


@dataclass(frozen=True)
class Output:
    """A line that a program printed which a step runs, such as a Docker build.

    Args:
        text: The line, without its end, escape sequences and credentials.
    """

    text: str


Event = Step | Notice | Progress | Output | StateChanged
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """A `Report` that nobody listens to."""
