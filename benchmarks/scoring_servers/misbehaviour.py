"""A client that does, one after the other, what no client should; what is answered to it is checked."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import struct
import time
from collections.abc import Callable, Sequence

from scoring_servers.servers import PATIENCE_S, Server, Unusable

LATE_S = 0.2  # a scoring timeout has to be shorter
PADDING = 1_000_000

_tokens = itertools.count(10**9)


def misbehave(server: Server) -> int:
    """Do all of it once, to a server with the script `mixed`; returns how many kinds there are.

    Raises:
        Unusable: An answer was wrong, or missing.
    """
    for each in _ALL:
        try:
            each(server)
        except (OSError, http.client.HTTPException) as error:
            raise Unusable(f"{each.__name__[1:]}: {error!r}") from error
    return len(_ALL)


def body(token: int, **more: object) -> bytes:
    """A body that the script answers with this token."""
    return json.dumps({"token": token, "data": [list(range(10))], **more}).encode()


def expect(server: Server, posted: bytes, status: int, *, says: str = "") -> None:
    """Post and check the answer.

    Raises:
        Unusable: It has another status, or lacks this text.
    """
    with _connected(server) as client:
        client.sendall(_request(posted))
        _check(client, status, says=[says])


def _leaves_before_the_answer(server: Server) -> None:
    with _connected(server) as client:
        client.sendall(_request(body(next(_tokens))))


def _resets(server: Server) -> None:
    with _connected(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(_request(body(next(_tokens))) * 5)


def _sends_half_a_body(server: Server) -> None:
    with _connected(server) as client:
        client.sendall(_request(body(next(_tokens)))[:-10])


def _sends_slowly(server: Server) -> None:
    token = next(_tokens)
    request = _request(body(token))
    with _connected(server) as client:
        for at in range(0, len(request), 20):
            client.sendall(request[at : at + 20])
            time.sleep(0.005)
        _check(client, 200, says=[str(token)])


def _sends_all_at_once(server: Server) -> None:
    tokens = [next(_tokens) for _ in range(5)]
    with _connected(server) as client:
        client.sendall(b"".join(_request(body(token)) for token in tokens))
        _check(client, *[200] * len(tokens), says=[str(token) for token in tokens])


def _sends_chunks(server: Server) -> None:
    token = next(_tokens)
    posted = body(token)
    with _connected(server) as client:
        client.sendall(b"POST /score HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(posted), posted))
        _check(client, 200, says=[str(token)])


def _sends_much(server: Server) -> None:
    token = next(_tokens)
    expect(server, body(token, padding="." * PADDING), 200, says=str(token))


def _sends_too_much(server: Server) -> None:
    with _connected(server) as client:
        client.sendall(b"POST /score HTTP/1.1\r\nHost: soak\r\nContent-Length: 1000000000\r\n\r\n")
        _check(client, 413)


def _sends_nonsense(server: Server) -> None:
    with _connected(server) as client:
        client.sendall(b"\x00\x01 nothing of the kind\r\n\r\n")
        _check(client, 400)


def _asks_for_what_takes_too_long(server: Server) -> None:
    expect(server, body(0, do="sleep", seconds=LATE_S), 500, says="Scoring timeout")


def _leaves_what_takes_too_long(server: Server) -> None:
    with _connected(server) as client:
        client.sendall(_request(body(0, do="sleep", seconds=LATE_S)))


def _has_the_script_exit(server: Server) -> None:
    expect(server, body(0, do="exit"), 500)


def _has_it_return_an_object(server: Server) -> None:
    expect(server, body(0, do="return an object"), 500)


_ALL: tuple[Callable[[Server], None], ...] = (
    *(_leaves_before_the_answer, _resets, _sends_half_a_body, _sends_slowly, _sends_all_at_once, _sends_chunks),
    *(_sends_much, _sends_too_much, _sends_nonsense, _asks_for_what_takes_too_long, _leaves_what_takes_too_long),
    *(_has_the_script_exit, _has_it_return_an_object),
)


def _connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def _request(posted: bytes) -> bytes:
    head = b"POST /score HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(posted) + posted


def _check(client: socket.socket, *statuses: int, says: Sequence[str] = ()) -> None:
    """Read so many answers, which may come together."""
    with client.makefile("rb") as stream:
        for status, text in itertools.zip_longest(statuses, says, fillvalue=""):
            seen = stream.readline().decode()
            headers = http.client.parse_headers(stream)
            answer = stream.read(int(headers["Content-Length"] or 0)).decode()
            if f" {status} " not in seen or text not in answer:
                raise Unusable(f"{seen!r} {answer[:200]!r} instead of {status} with {text!r}")
