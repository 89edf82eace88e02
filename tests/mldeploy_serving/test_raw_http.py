"""Clients that speak raw HTTP in every way, beside a model of what has to come back.

A request that was sent to its end is answered once and in its turn, unless one before it has ended its connection;
whatever clients do, the service is up afterwards. `benchmarks/fuzz_scoring.py` does the same for longer.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

SCRIPT = """
    import json, os, time
    from azureml.contrib.services.aml_request import rawhttp
    from azureml.contrib.services.aml_response import AMLResponse
    from werkzeug.wrappers import Response
    def init():
        pass
    @rawhttp
    def run(request):
        asked = request.get_data().strip(b" ").decode()
        do, _, token = asked.partition(" ")
        if do == "raise":
            raise ValueError(token)
        if do == "die":
            os._exit(3)
        if do == "slow":
            time.sleep(0.02)
        if do == "stream":
            return Response(iter([do, " ", token]))
        if do == "large":
            return AMLResponse(asked + "." * 300_000, 200)
        return AMLResponse(asked, 200)
"""
PATIENCE_S = 20.0
TOO_LARGE = 100 * 1024 * 1024 + 1
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
RESET = struct.pack("ii", 1, 0)

tokens = itertools.count()
done: Counter[str] = Counter()


class Kind(NamedTuple):
    """One kind of request.

    Attributes:
        start: What is sent; `%d` stands for the body's size in decimal, `%x` in hexadecimal, and `%s` for the body.
        status: What it is answered by.
        do: What the script has to do.
        suffix: What its answer has after the body that was sent.
        ends: It is the last of its connection.
        padding: Blanks that are sent after the body.
    """

    start: str
    status: int = 200
    do: str = "echo"
    suffix: str = ""
    ends: bool = False
    padding: int = 0


_POST = "POST /score HTTP/1.1\r\nHost: x\r\n"
_BODY = "Content-Length: %(d)d\r\n\r\n%(s)s"
_CHUNK = "\r\n%(d)x;a=b\r\n%(s)s\r\n"
KINDS = {
    "plain": Kind(_POST + _BODY),
    "chunked": Kind(_POST + "Transfer-Encoding: chunked\r\n" + _CHUNK + "0\r\nT: x\r\n\r\n"),
    "two chunks": Kind(_POST + "Transfer-Encoding: chunked\r\n" + _CHUNK + "3\r\n   \r\n0\r\n\r\n"),
    "many bytes": Kind(_POST + _BODY, padding=200_000),
    "many back": Kind(_POST + _BODY, do="large", suffix="." * 300_000),
    "many headers": Kind(_POST + "A: b\r\n" * 300 + _BODY),
    "empty line first": Kind("\r\n" + _POST + _BODY),
    "upgrade": Kind(_POST + "Connection: Upgrade\r\nUpgrade: h2c\r\n" + _BODY),
    "expect": Kind(_POST + "Expect: 100-continue\r\n" + _BODY),
    "slow": Kind(_POST + _BODY, do="slow"),
    "stream": Kind(_POST + _BODY, do="stream"),
    "raise": Kind(_POST + _BODY, 500, do="raise"),
    "die": Kind(_POST + _BODY, 500, do="die"),
    "nowhere": Kind("POST /nowhere HTTP/1.1\r\nHost: x\r\n" + _BODY, 404),
    "delete": Kind("DELETE /score HTTP/1.1\r\nHost: x\r\n" + _BODY, 405),
    "close": Kind(_POST + "Connection: close\r\n" + _BODY, ends=True),
    "1.0": Kind("POST /score HTTP/1.0\r\n" + _BODY, ends=True),
    "1.0 kept": Kind("POST /score HTTP/1.0\r\nConnection: keep-alive\r\n" + _BODY),
    "1.0 stream": Kind("POST /score HTTP/1.0\r\n" + _BODY, do="stream", ends=True),
    "too large": Kind(_POST + f"Content-Length: {TOO_LARGE}\r\n\r\n", 413, ends=True),
    "long head": Kind(_POST + "A: " + "a" * 65536 + "\r\n\r\n", 431, ends=True),
    "two lengths": Kind(_POST + "Content-Length: 1\r\n" + _BODY, 400, ends=True),
    "length and chunks": Kind(_POST + "Transfer-Encoding: chunked\r\n" + _BODY, 400, ends=True),
    "not a chunk": Kind(_POST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, ends=True),
    "bare line feed": Kind(_POST + "A: b\n" + _BODY, 400, ends=True),
    "nonsense": Kind("nonsense\r\n\r\n", 400, ends=True),
}


some_kinds = st.lists(
    st.one_of(st.sampled_from([name for name, kind in KINDS.items() if not kind.ends]), st.sampled_from(list(KINDS))),
    min_size=1,
    max_size=8,
)


class Expected(NamedTuple):
    """What has to come back."""

    kind: Kind
    body: str


class Client:
    """A connection and its model."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")
        self.unsent = b""
        self._unfinished: deque[tuple[int, Expected]] = deque()  # and how many bytes of it have not been sent
        self.expected: deque[Expected] = deque()
        self.may_send = True  # the client has not ended its side, nor has the server closed
        self.ended = False  # what comes now is not answered any more

    def ask(self, kind: Kind) -> None:
        """Have a request sent, sooner or later."""
        body = f"{kind.do} {next(tokens)}"
        whole = body + " " * kind.padding
        sent = (kind.start % {"d": len(whole), "s": whole}).encode()
        self.unsent += sent
        self._unfinished.append((len(self.unsent), Expected(kind, body)))

    def write(self, size: int) -> None:
        """Send so many bytes of what was asked."""
        if not self.may_send:
            return
        try:
            sent = self.socket.send(self.unsent[:size])
        except (BrokenPipeError, ConnectionResetError):
            assert self.ended or self._refusal is not None, "the connection was closed in the middle"
            self.may_send = False
            self.ended = True
            return
        self.unsent = self.unsent[sent:]
        self._unfinished = deque((left - sent, expected) for left, expected in self._unfinished)
        while self._unfinished and self._unfinished[0][0] <= 0:
            _, expected = self._unfinished.popleft()
            done["requests"] += 1
            if not self.ended:
                self.expected.append(expected)
                self.ended = expected.kind.ends

    def flush(self) -> None:
        """Send all that was asked."""
        while self.unsent and self.may_send:
            self.write(100_000)
            while len(self.expected) > 5:  # who never reads is read from no more
                self.read()

    def half_close(self) -> None:
        """Say that no more is sent; what was asked in part is not asked."""
        if self.may_send:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        self.may_send = False
        self.ended = True

    def abort(self) -> None:
        """Go away without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def read(self) -> None:
        """Read the next answer that is due, and compare."""
        kind, body = self.expected.popleft()
        status, headers, received = self._answer()
        assert status == kind.status, (kind, status, received)
        assert (headers.get("connection") == "close") == kind.ends, (kind, headers)
        if status == 200:
            assert received.decode() == body + kind.suffix, kind
        else:
            assert json.loads(received)["message"], kind
        done["answers"] += 1

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        version, status = self._stream.readline().split()[:2]
        assert version == b"HTTP/1.1"
        headers = {}
        while line := self._stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            assert name.lower() not in headers or name.lower().startswith("x-"), name
            headers[name.lower()] = value
        if int(status) == 100:
            return self._answer()
        return int(status), headers, self._body(headers)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._stream.readline(), 16):
                body += self._stream.read(size)
                assert self._stream.readline() == b"\r\n"
            assert self._stream.readline() == b"\r\n"
            return body
        return self._stream.read(int(headers["content-length"]) if "content-length" in headers else -1)

    def settle(self) -> None:
        """Have everything sent and answered; then nothing more may come."""
        self.flush()
        while self.expected:
            self.read()
        if self.ended:
            with contextlib.suppress(ConnectionResetError):  # it was sent more than it had to read
                self._expect_the_end()
        else:
            self.half_close()
            self._expect_the_end()
        done["connections"] += 1
        self.close()

    @property
    def _refusal(self) -> int | None:
        """The status by which a request may be refused before it has been sent to its end."""
        kind = self._unfinished[0][1].kind if self._unfinished else None
        return kind.status if kind is not None and kind.ends and kind.status >= 400 else None

    def _expect_the_end(self) -> None:
        received = self._stream.read()
        if self._refusal is not None and received.startswith(b"HTTP/1.1 %d " % self._refusal):
            return
        # who has sent a head only may have been told to go on with the body
        assert received in {b"", CONTINUE}, received


class Clients(RuleBasedStateMachine):
    """Several clients at once, each doing one thing at a time.

    Attributes:
        port: Where the service listens.
    """

    port: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._clients: list[Client] = []
        self._deaths = 0

    def _any(self, which: int) -> Client:
        return self._clients[which % len(self._clients)]

    def _connected(self) -> bool:
        return bool(self._clients)

    @precondition(lambda self: len(self._clients) < 4)
    @rule(kinds=some_kinds)
    def connect(self, kinds: list[str]) -> None:
        """A client connects, and has something to ask."""
        self._clients.append(Client(self.port))
        self._ask(self._clients[-1], kinds)

    @precondition(_connected)
    @rule(which=st.integers(0, 3), kinds=some_kinds)
    def ask(self, which: int, kinds: list[str]) -> None:
        """A client has more to ask."""
        self._ask(self._any(which), kinds)

    def _ask(self, client: Client, kinds: list[str]) -> None:
        for kind in kinds:
            self._deaths += kind == "die"
            if kind != "die" or self._deaths == 1:  # each costs the start of a process
                client.ask(KINDS[kind])

    @precondition(_connected)
    @rule(which=st.integers(0, 3), size=st.integers(1, 300))
    def write(self, which: int, size: int) -> None:
        """A client sends a few bytes, wherever that cuts a request."""
        self._any(which).write(size)

    @precondition(_connected)
    @rule(which=st.integers(0, 3))
    def write_all(self, which: int) -> None:
        """A client sends all it has."""
        self._any(which).flush()

    @precondition(_connected)
    @rule(which=st.integers(0, 3))
    def read(self, which: int) -> None:
        """A client reads an answer."""
        client = self._any(which)
        if client.expected:
            client.read()

    @precondition(_connected)
    @rule(which=st.integers(0, 3), without_a_word=st.booleans())
    def leave(self, which: int, without_a_word: bool) -> None:
        """A client sends no more, or is gone."""
        client = self._any(which)
        if without_a_word:
            self._clients.remove(client)
            client.abort()
        else:
            client.half_close()

    def teardown(self) -> None:
        """Everybody gets what is due, and the service is up."""
        try:
            for client in self._clients:
                client.settle()
            wait_until_up(self.port)
        finally:
            for client in self._clients:
                client.close()


def wait_until_up(port: int) -> None:
    """Wait until `GET /` is 200: a worker that has ended may be on its way back."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            status = client.makefile("rb").readline().split()[1]
        if status == b"200":
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.01)


@pytest.fixture
def service(serve: Serve) -> Service:
    return serve(SCRIPT)


def test_whatever_clients_send_each_request_is_answered_once_and_in_its_turn(service: Service) -> None:
    class Here(Clients):
        port = service.port

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=35,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert done["answers"] > 100
    assert "has failed" not in service.log()
