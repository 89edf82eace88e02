"""Every row is answered the same by both servers, or differs in the way that is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Difference, Group, Row, Servers

NOW = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


def test_row(servers: Servers, known: dict[str, Difference], group: Group, row: Row, contract: str) -> None:
    official, ours = (server.ask(row.asked) for server in servers.pair(group, contract))
    assert ours.status == 0 or NOW.fullmatch(ours.header("Date") or "")
    if row.differs is not None and contract in known[row.differs].contracts:
        assert ours.comparable() != official.comparable()
        assert known[row.differs].is_shown_by(official, ours), (official, ours)
        assert row.ours is None or ours.body.decode() == row.ours
    else:
        assert ours.comparable() == official.comparable()
