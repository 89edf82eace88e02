"""The hooks that a `conftest.py` or another plugin may implement to follow what is deployed for tests.

Under pytest-xdist they are called in the worker that deploys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mldeploy.webservice import Webservice


@pytest.hookspec
def pytest_mldeploy_deployed(item: pytest.Item, service: Webservice, target: str, seconds: float) -> None:
    """A service was deployed and is Healthy.

    Args:
        item: The test that was the first to ask for it.
        service: The service.
        target: Where it runs: `local`, ….
        seconds: How long it took.
    """


@pytest.hookspec
def pytest_mldeploy_failed(item: pytest.Item, service: Webservice, target: str, error: Exception) -> None:
    """A deployment failed; its service can still be looked at, and is deleted when this returns.

    Args:
        item: The test that asked for it.
        service: The service: its state, error and log are what they are.
        target: Where it was to run.
        error: What the test will see.
    """


@pytest.hookspec
def pytest_mldeploy_notice(item: pytest.Item, text: str) -> None:
    """There is something the user should know although nothing is wrong.

    Args:
        item: The test it is about.
        text: In one line.
    """
