"""pytest-xdist: what a worker has to say that only the controller can tell the user."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_mldeploy._report import LEFT

_REFUSED = "mldeploy_refused"
_LEFT = "mldeploy_left"


def refuse(config: pytest.Config, items: list[pytest.Item], text: str) -> None:
    """End the run before any test, with a usage error; a worker leaves that to the controller.

    Raises:
        pytest.UsageError: This is no worker.
    """
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is None:
        raise pytest.UsageError(text)
    output[_REFUSED] = text
    items.clear()


def send(config: pytest.Config) -> None:
    """Tell the controller, if there is one, what could not be deleted."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[_LEFT] = config.stash.get(LEFT, [])


def receive(config: pytest.Config, output: dict[str, Any]) -> None:
    """In the controller: take what a worker that ended has to say.

    Raises:
        pytest.UsageError: It refused to run.
    """
    config.stash.setdefault(LEFT, []).extend(output.get(_LEFT, []))
    if text := output.get(_REFUSED):
        raise pytest.UsageError(text)
