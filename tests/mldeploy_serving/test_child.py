"""A worker as the supervisor sees it: what it says at the moment of its end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy_serving.channel import pack
from mldeploy_serving.messages import Request
from mldeploy_serving.supervisor.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable


class Owner:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def received(self, _child: Child, head: tuple[Any, ...], _body: bytes) -> None:
        self.told.append(head[0])

    def lost(self, _child: Child) -> None:
        self.told.append("lost")
        self.end.set_result(None)


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    uvloop = pytest.importorskip("uvloop")
    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("new_loop", loops(), ids=["asyncio", "uvloop"])
def test_an_answer_counts_though_its_worker_was_gone_when_it_was_sent_more(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def talk() -> list[str]:
        near, far = socket.socketpair()
        owner = Owner()
        child = Child(owner, 0)
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=near)
        far.sendall(pack(("answer", 200), 2) + b"ok")
        far.close()
        for _ in range(2):
            child.send(Request())  # before the answer is read
        await asyncio.wait_for(owner.end, 20)
        return owner.told

    loop = new_loop()
    try:
        assert loop.run_until_complete(talk()) == ["answer", "lost"]
    finally:
        loop.close()
