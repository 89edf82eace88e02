"""The examples of the table: what each contract answers to the same request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy_serving.contract.table import CONTRACTS, examples

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, start_service: Any) -> Iterator[Callable[[str, str], Service]]:
    """The service with a script of the table under a contract, started when it is first asked for."""
    started: list[Service] = []

    @cache
    def start(script: str, contract: str) -> Service:
        folder: Path = tmp_path_factory.mktemp(contract)
        started.append(start_service(folder, script, MLDEPLOY_CONTRACT=contract))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(
    "example", [pytest.param(each, id=each.rule, marks=pytest.mark.holds(each.rule)) for each in examples()]
)
def test_example(service: Callable[[str, str], Service], example: Any, contract: str) -> None:
    answer = service(example.script, contract).post(example.body)
    assert (answer.status_code, answer.text) == example.answers[contract]
