"""The table of the contract is right about the official server: its column `v1`, and ours beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mldeploy_serving.contract.table import Table

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Group, Row, Servers

# what one request and its answer do not show
SHOWN_ELSEWHERE = {
    "run.timeout": "test_connections.py::test_timeout_on_time",
    "workers.timeout": "test_connections.py::test_worker_timeout",
}


def test_row_of_the_table(servers: Servers, group: Group, held_row: Row, contract: str) -> None:
    assert held_row.holds is not None
    official, ours = (server.ask(held_row.asked) for server in servers.pair(group, contract))
    assert official.status == Table("v1")[held_row.holds].status
    assert ours.status == Table(contract)[held_row.holds].status
    if ours.status == 400 and held_row.holds.startswith(("columns.", "value.")):
        assert json.loads(ours.body)["rule"] == held_row.holds


def test_every_answer_of_the_table_has_a_row(scripts: dict[str, Group], answered: set[str]) -> None:
    held = {row.holds for group in scripts.values() for row in group.rows}
    assert answered - held - set(SHOWN_ELSEWHERE) == set()
