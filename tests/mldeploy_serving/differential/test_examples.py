"""The official server answers the examples of the contract's table as their column `v1` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mldeploy_serving.contract.table import Example, examples

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Asked, Server, Starter


@pytest.fixture(scope="module")
def with_scripts(official: Starter) -> dict[str, Server]:
    """The official server with each script of the table."""
    return {script: official({"score.py": script}, {}) for script in {each.script for each in examples()}}


@pytest.mark.parametrize("example", [pytest.param(each, id=each.rule) for each in examples()])
def test_example(with_scripts: dict[str, Server], asking: type[Asked], example: Example) -> None:
    server = with_scripts[example.script]
    server.wait_until_healthy()
    reply = server.ask(asking(headers=(("Content-Type", "application/json"),), body=example.body.encode()))
    assert (reply.status, reply.body.decode()) == example.answers["v1"]
