"""Every row is answered the same by both servers, or differs in the way that is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Difference, Group, Reply, Row, Starter


def test_row(
    servers: Starter, known: dict[str, Difference], group: Group, row: Row, contract: str
) -> None:
    official, ours = (server.ask(row.asked) for server in servers.pair(group, contract))
    if row.differs is not None and contract in known[row.differs].contracts:
        answers = known[row.differs].answers
        assert_has(official, **answers["official"])
        assert_has(ours, **answers["here"])
        assert row.ours is None or ours.body.decode() == row.ours
    else:
        assert ours.comparable() == official.comparable()


def assert_has(
    reply: Reply,
    status: int | None = None,
    reason: str | None = None,
    headers: Mapping[str, str | None] | None = None,
    contains: str = "",
) -> None:
    assert status in {None, reply.status}
    assert reason in {None, reply.reason}
    assert {name: reply.header(name) for name in headers or {}} == (headers or {})
    assert contains in reply.body.decode()
