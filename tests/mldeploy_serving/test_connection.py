"""HTTP on the wire: what arrives in pieces, in heaps, too large, or wrong."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

LIMIT = 100 * 1024 * 1024


PROXY = "its proxy tells neither end of a connection that the other end has reset it"


def score(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"POST /score HTTP/" + version, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


class Answers:
    """Reads one answer after another."""

    def __init__(self, client: socket.socket) -> None:
        self._stream = client.makefile("rb")

    def next(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._stream.readline().split()[1])
        headers = {}
        while line := self._stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        return status, headers, self._stream.read(int(headers.get("content-length", "0")))

    def rest(self) -> bytes:
        return self._stream.read()


@pytest.mark.holds("http.keep-alive")
def test_keep_alive(plain: Service) -> None:
    with plain.connect() as client:
        answers = Answers(client)
        for number in range(3):
            client.sendall(score(b"%d" % number))
            status, headers, body = answers.next()
            assert (status, body) == (200, b'{"got": "%d"}' % number)
            assert "connection" not in headers


@pytest.mark.holds("http.close")
def test_close_is_honoured(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(score(b"a", b"Connection: close"))
        answers = Answers(client)
        assert answers.next()[1]["connection"] == "close"
        assert answers.rest() == b""


@pytest.mark.holds("http.close")
def test_what_follows_a_close_is_not_answered(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(score(b"first") + score(b"last", b"Connection: close") + score(b"too late") * 3)
        answers = Answers(client)
        assert [answers.next()[2] for _ in range(2)] == [b'{"got": "first"}', b'{"got": "last"}']
        assert answers.rest() == b""


@pytest.mark.holds("http.version-1.0")
@pytest.mark.parametrize(("headers", "connection"), [((), "close"), ((b"Connection: keep-alive",), "keep-alive")])
def test_http_1_0(plain: Service, headers: tuple[bytes, ...], connection: str) -> None:
    with plain.connect() as client:
        client.sendall(score(b"a", *headers, version=b"1.0"))
        assert Answers(client).next()[1]["connection"] == connection


@pytest.mark.holds("http.pipelined")
def test_pipelined_requests_are_answered_in_order(plain: Service) -> None:
    requests = [score(b"%d" % number) if number % 3 else head(b"GET / HTTP/1.1", b"Host: x") for number in range(500)]
    with plain.connect() as client:
        sender = threading.Thread(target=client.sendall, args=(b"".join(requests),))
        sender.start()
        answers = Answers(client)
        for number in range(500):
            assert answers.next()[2] == (b'{"got": "%d"}' % number if number % 3 else b"Healthy")
        sender.join()


def test_a_request_in_single_bytes(plain: Service) -> None:
    with plain.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in score(b"slow", b"x-request-id: one-by-one"):
            client.sendall(bytes([byte]))
        status, headers, body = Answers(client).next()
    assert (status, headers["x-request-id"], body) == (200, "one-by-one", b'{"got": "slow"}')


@pytest.mark.holds("http.chunked")
def test_chunks(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(head(b"POST /score HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked"))
        client.sendall(b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n" + score(b"next"))
        answers = Answers(client)
        assert answers.next()[2] == b'{"got": "abcde"}'
        assert answers.next()[2] == b'{"got": "next"}'


@pytest.mark.holds("http.expect")
def test_expect_100_continue(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(head(b"POST /score HTTP/1.1", b"Host: x", b"Content-Length: 2", b"Expect: 100-continue"))
        answers = Answers(client)
        assert answers.next()[0] == 100
        client.sendall(b"hi")
        assert answers.next()[2] == b'{"got": "hi"}'


@pytest.mark.holds("http.expect")
def test_100_continue_waits_for_its_turn(plain: Service) -> None:
    expecting = head(b"POST /score HTTP/1.1", b"Host: x", b"Content-Length: 2", b"Expect: 100-continue")
    with plain.connect() as client:
        client.sendall(score(b"!time.sleep(0.05)") + expecting)
        answers = Answers(client)
        assert answers.next()[2] == b"{}"
        assert answers.next()[0] == 100
        client.sendall(b"hi")
        assert answers.next()[2] == b'{"got": "hi"}'


@pytest.mark.holds("http.half-closed")
def test_a_client_that_only_stops_sending_gets_its_answer(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(score(b"!time.sleep(0.05)") + score(b"second"))
        client.shutdown(socket.SHUT_WR)
        answers = Answers(client)
        assert answers.next()[2] == b"{}"
        assert answers.next()[2] == b'{"got": "second"}'
        assert answers.rest() == b""


@pytest.mark.holds("http.upgrade")
def test_upgrades_are_not_spoken(plain: Service) -> None:
    with plain.connect() as client:
        upgrade = head(b"GET / HTTP/1.1", b"Host: x", b"Connection: Upgrade", b"Upgrade: h2c")
        client.sendall(upgrade + score(b"after"))
        answers = Answers(client)
        assert answers.next()[2] == b"Healthy"
        assert answers.next()[2] == b'{"got": "after"}'


@pytest.mark.holds("routes.absolute-target")
def test_an_absolute_target(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(head(b"GET http://x:80/score?a=1 HTTP/1.1", b"Host: x"))
        assert Answers(client).next()[2] == rb'{"got": "{\"a\": 1}"}'


POST = b"POST /score HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HELLO = b"\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.holds("http.broken")
@pytest.mark.parametrize(
    "broken",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"HTTP/1.1 200 OK\r\n\r\n",
        # the request line
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/1.10\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET score HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET /\xe4 HTTP/1.1\r\n\r\n",
        # lines
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\rHost: x\r\r",
        GET + b"A: b\nC: d\r\n\r\n",
        GET + b"A: b\rC: d\r\n\r\n",
        GET + b"\n",
        GET + b"\r",
        GET + b"A: b\r\r\n\r\n",
        GET + b"A: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\n A: b\r\n\r\n",
        # headers
        GET + b"No colon\r\n\r\n",
        GET + b": b\r\n\r\n",
        GET + b"A : b\r\n\r\n",
        GET + b"A\t: b\r\n\r\n",
        GET + b"A\x00: b\r\n\r\n",
        GET + b"A(: b\r\n\r\n",
        GET + b"\xe4: b\r\n\r\n",
        GET + b"A: b\x00c\r\n\r\n",
        GET + b"A: b\x01c\r\n\r\n",
        GET + b"A: b\x7fc\r\n\r\n",
        GET + b"Host: y\r\n\r\n",
        # lengths
        *(
            POST + b"Content-Length: %s\r\n\r\nhello" % length
            for length in (b"many", b"-1", b"+5", b"5,5", b"5, 5", b"5 5", b"0x5", b"", b"9" * 30)
        ),
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        # a length and chunks
        POST + b"Content-Length: 6\r\n" + CHUNKED + HELLO,
        POST + CHUNKED + b"Content-Length: 6\r\n" + HELLO,
        POST + b"Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello",
        # codings
        *(
            POST + b"Transfer-Encoding:%s\r\n" % coding + HELLO
            for coding in (
                *(b" identity", b" gzip", b" gzip, chunked", b" chunked, gzip", b" chunked, chunked", b" xchunked"),
                *(b" \x0bchunked", b' "chunked"', b" chunked;q=1", b"", b"\r\n chunked", b" chunked\r\n x"),
            )
        ),
        POST + CHUNKED + CHUNKED + HELLO,
        POST + CHUNKED + b"Transfer-Encoding: x\r\n" + HELLO,
        POST + b"Transfer-Encoding: x\r\n" + CHUNKED + HELLO,
        POST + b"Transfer-Encoding : chunked\r\n" + HELLO,
        POST + b"X: x\n" + CHUNKED + HELLO,
        POST + b"X: x\r" + CHUNKED + HELLO,
        POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n" + CHUNKED + HELLO,
        # chunks
        *(
            POST + CHUNKED + b"\r\n%s\r\nhello\r\n0\r\n\r\n" % size
            for size in (b"zz", b"0x5", b" 5", b"5 ", b"+5", b"-5", b"", b"F" * 17, b'5;a="\n"', b"5;a\nb")
        ),
        POST + CHUNKED + b"\r\n5\nhello\n0\n\n",
        POST + CHUNKED + b"\r\n5\r\nhello0\r\n\r\n",
        POST + CHUNKED + b"\r\n5\r\nhello!!0\r\n\r\n",
        POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nA b\r\n\r\n",
    ],
)
def test_broken_requests_are_refused_after_what_came_before(plain: Service, broken: bytes) -> None:
    with plain.connect() as client:
        client.sendall(score(b"before") + broken + score(b"smuggled"))
        answers = Answers(client)
        assert answers.next()[2] == b'{"got": "before"}'
        status, headers, body = answers.next()
        assert (status, headers["connection"]) == (400, "close")
        assert body.startswith(b'{"message": "The request is not valid HTTP: ')
        assert answers.rest() == b""
    assert "smuggled" not in plain.log()


@pytest.mark.parametrize(
    ("request_", "status", "got"),
    [
        (POST + b"Content-Length: 005\r\n\r\nhello", 200, b"hello"),
        (POST + b"Transfer-Encoding:\tChunked \r\n" + HELLO, 200, b"hello"),
        (POST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (POST + CHUNKED + b'\r\n0005;a;b=c;d="e"\r\nhello\r\n000\r\nA: b\r\n\r\n', 200, b"hello"),
        (POST + b"Expect: nothing\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED + HELLO, 200, b"hello"),
        (b"POST http://y:80/score?a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (POST + b"\r\n", 200, b""),
        (b"\r\n\r\n" + GET + b"\r\n", 200, None),
        (b"GET / HTTP/1.1\r\n\r\n", 200, None),
        (GET + b"A: b\xffc\r\n\r\n", 200, None),
        (GET + b"".join(b"A-%d: b\r\n" % number for number in range(1000)) + b"\r\n", 200, None),
        (GET + b"A:\r\n" * 10_000 + b"\r\n", 200, None),
        (b"GET http://y HTTP/1.1\r\nHost: x\r\n\r\n", 200, None),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, None),
        (b"CONNECT y:80 HTTP/1.1\r\nHost: x\r\n\r\n", 404, None),
        (b"CONNECT y:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 404, None),
        (b"DELETE /score HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405, None),
        (b"PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n", 405, None),
    ],
)
@pytest.mark.parametrize("piece", [0, 1])
def test_odd_requests_have_one_reading(
    plain: Service, request_: bytes, status: int, got: bytes | None, piece: int
) -> None:
    """Wherever the stream is cut, the next request begins where this one ends."""
    with plain.connect() as client:
        if piece and len(request_) < 1000:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(request_)):
                client.sendall(request_[at : at + 1])
        else:
            client.sendall(request_)
        client.sendall(score(b"next"))
        answers = Answers(client)
        answered, _, body = answers.next()
        assert answered == status
        if got is not None:
            assert body == b'{"got": "%s"}' % got
        assert answers.next()[2] == b'{"got": "next"}'


@pytest.mark.parametrize(
    "begun",
    [
        score(b"hello")[:-1],
        POST + b"Content-Length: 6\r\n\r\nhello",
        POST + CHUNKED + b"\r\n5\r\nhello\r\n",
        POST + CHUNKED + b"\r\nFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n" + score(b"smuggled"),
        b"GET /\r\n",
        GET,
    ],
)
def test_what_is_not_whole_is_never_begun(plain: Service, begun: bytes) -> None:
    with plain.connect() as client:
        client.sendall(score(b"before") + begun)
        client.shutdown(socket.SHUT_WR)
        answers = Answers(client)
        assert answers.next()[2] == b'{"got": "before"}'
        assert answers.rest() == b""


def test_no_100_for_http_1_0(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(score(b"hello", b"Expect: 100-continue", version=b"1.0"))
        assert Answers(client).next()[0] == 200


def test_a_refusal_is_read_though_the_client_still_sends(plain: Service) -> None:
    """Its bytes are read on for a while: unread ones would reset the connection, with the answer in it."""
    with plain.connect() as client:
        client.sendall(score(b"!time.sleep(0.1)") + b"nonsense\r\n\r\n" + b"x" * 4_000_000)
        answers = Answers(client)
        assert answers.next()[0] == 200
        assert answers.next()[0] == 400
        assert answers.rest() == b""


@pytest.mark.parametrize(
    "endless",
    [
        (GET, b"A: bcdefgh\r\n"),
        (GET + b"A: ", b"b"),
        (b"GET /", b"a"),
        (POST + CHUNKED + b"\r\n5;", b"a"),
        (POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n", b"A: b\r\n"),
        (POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nA: ", b"b"),
    ],
)
def test_what_never_ends_is_refused(plain: Service, endless: tuple[bytes, bytes]) -> None:
    start, more = endless
    with plain.connect() as client:
        client.sendall(start)
        for _ in range(10):
            client.sendall(more * (100_000 // len(more)))
        answers = Answers(client)
        assert answers.next()[0] == 431
        assert answers.rest() == b""


@pytest.mark.holds("http.head-too-large")
@pytest.mark.parametrize("ending", [b"\r\n\r\n", b""])
def test_too_much_of_a_head(plain: Service, ending: bytes) -> None:
    lines = b"".join(b"\r\nX-%d: %s" % (number, b"a" * 1000) for number in range(400))
    with plain.connect() as client:
        client.sendall(b"GET / HTTP/1.1" + lines + ending)
        answers = Answers(client)
        assert answers.next()[0] == 431
        assert answers.rest() == b""


def test_a_header_of_60_kb_is_fine(plain: Service) -> None:
    assert plain.ask("GET", "/", X_Long="a" * 60_000).status_code == 200


@pytest.mark.holds("http.body-too-large")
def test_a_body_that_says_it_is_too_large(plain: Service) -> None:
    with plain.connect() as client:
        too_large = b"Content-Length: %d" % (LIMIT + 1)
        client.sendall(head(b"POST /score HTTP/1.1", b"Host: x", too_large, b"Expect: 100-continue"))
        answers = Answers(client)
        status, headers, body = answers.next()
        assert (status, headers["connection"]) == (413, "close")
        assert body == b'{"message": "The body is larger than 104857600 bytes."}'
        assert answers.rest() == b""


@pytest.mark.holds("http.body-too-large")
def test_a_chunked_body_that_turns_out_too_large(plain: Service) -> None:
    piece = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    with plain.connect() as client:
        client.sendall(head(b"POST /score HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked"))
        for _ in range(101):
            client.sendall(piece)
        assert Answers(client).next()[0] == 413


def test_a_body_of_the_largest_size(plain: Service) -> None:
    answer = plain.post(b"!len(data)" + b" " * (LIMIT - 10))
    assert answer.json() == LIMIT


@pytest.mark.holds("http.client-gone")
def test_a_client_that_leaves_half_way_harms_nobody(plain: Service) -> None:
    for sent in (b"POST", score(b"whole body")[:-4], score(b"!time.sleep(0.05)"), score(b"a") * 50):
        with plain.connect() as client:
            client.sendall(sent)
    assert plain.post("after").json() == {"got": "after"}


@pytest.mark.not_on("docker", PROXY)
@pytest.mark.holds("http.client-gone")
def test_what_a_client_left_behind_is_not_begun(serve: Serve) -> None:
    service = serve("import time\ndef init(): pass\ndef run(data):\n    print(data)\n    time.sleep(0.2)")
    with service.connect() as first, service.connect() as second:
        first.sendall(score(b"begun"))
        service.wait_for_log("begun")
        second.sendall(score(b"queued and left"))
        # an end without a word; one that only stops sending still gets its answer
        second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        second.close()
        assert Answers(first).next()[0] == 200
    service.post("last")
    assert "queued and left" not in service.log()


def test_many_connections_at_once(plain: Service) -> None:
    clients = [plain.connect() for _ in range(300)]
    try:
        for number, client in enumerate(clients):
            client.sendall(score(b"%d" % number))
        for number, client in enumerate(clients):
            assert Answers(client).next()[2] == b'{"got": "%d"}' % number
    finally:
        for client in clients:
            client.close()


@pytest.fixture(scope="module")
def impatient(start_service: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that gives clients half a second, and not a minute."""
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "sitecustomize.py").write_text(
        "from mldeploy_serving.http import connection\nconnection.watch.__defaults__ = (0.5,)\n"
    )
    script = """
        import time
        from azureml.contrib.services.aml_request import rawhttp
        from azureml.contrib.services.aml_response import AMLResponse
        from werkzeug.wrappers import Response
        def init():
            pass
        @rawhttp
        def run(request):
            asked = request.get_data()
            if asked == b"stream":
                return Response(b"x" * 100_000 for _ in range(120))
            time.sleep(float(asked or 0))
            return AMLResponse("x" * 20_000_000, 200)
    """
    service = start_service(folder, script, PYTHONPATH=str(folder))
    yield service
    service.stop()


@pytest.mark.holds("http.stalled")
@pytest.mark.parametrize(
    "begun", [b"G", b"GET / HTTP/1.1\r\nHost: ", score(b"0")[:-1], POST + CHUNKED + b"\r\n5\r\nhe", POST + b"A: b\r\n"]
)
def test_a_client_that_stalls_in_a_request_is_told_so(impatient: Service, begun: bytes) -> None:
    with impatient.connect() as client:
        client.sendall(head(b"GET / HTTP/1.1", b"Host: x") + begun)
        answers = Answers(client)
        assert answers.next()[0] == 200
        status, headers, body = answers.next()
        assert (status, headers["connection"]) == (408, "close")
        assert body == b'{"message": "The rest of the request did not come in time."}'
        assert answers.rest() == b""


@pytest.mark.holds("http.stalled")
def test_one_that_is_only_slow_or_silent_or_waits_has_not_stalled(impatient: Service) -> None:
    with impatient.connect() as slow, impatient.connect() as silent, impatient.connect() as waiting:
        silent.sendall(head(b"GET / HTTP/1.1", b"Host: x"))
        assert Answers(silent).next()[0] == 200
        waiting.sendall(score(b"2"))
        for byte in score(b"0", b"X-Long: " + b"a" * 100):
            slow.sendall(bytes([byte]))
            time.sleep(0.01)  # two seconds in all
        assert Answers(waiting).next()[0] == 200
        assert Answers(slow).next()[0] == 200
        silent.sendall(head(b"GET / HTTP/1.1", b"Host: x"))
        assert Answers(silent).next()[0] == 200


@pytest.mark.not_on("docker", PROXY)
def test_a_client_that_does_not_read_its_answer_is_cut_off(impatient: Service) -> None:
    with impatient.connect() as client:
        client.sendall(score(b"0") * 2)
        impatient.until(lambda: client.recv(1, socket.MSG_PEEK), "the beginning of an answer")
        time.sleep(1.5)  # what it does not do is read
        with pytest.raises(ConnectionResetError):
            Answers(client).rest()


@pytest.mark.holds("http.stream-unread")
def test_one_that_reads_a_streamed_answer_slowly_has_not_stalled(impatient: Service) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", impatient.port))
        client.sendall(score(b"stream", b"Connection: close"))
        begun = time.monotonic()
        received = 0
        while piece := client.recv(30_000):
            received += len(piece)
            # four seconds in all, in which there are always bytes that wait for the client
            time.sleep(max(0.0, begun + received / 3_000_000 - time.monotonic()))
    assert received > 12_000_000


@pytest.mark.not_on("docker", PROXY)
@pytest.mark.holds("http.stream-unread")
def test_one_that_reads_no_streamed_answer_is_cut_off_and_costs_no_worker(impatient: Service) -> None:
    worker = impatient.worker_pid()
    with impatient.connect() as client:
        client.sendall(score(b"stream"))
        impatient.until(lambda: client.recv(1, socket.MSG_PEEK), "the beginning of an answer")
        assert impatient.post("0").status_code == 200  # its worker is free again
        with pytest.raises(ConnectionResetError):
            Answers(client).rest()
    assert impatient.worker_pid() == worker
    assert "has failed" not in impatient.log()


def test_a_thousand_connections_held_open(plain: Service) -> None:
    clients = [plain.connect() for _ in range(1000)]
    try:
        for client in clients:
            client.sendall(score(b"held")[:-1])
        assert plain.post("another").json() == {"got": "another"}
        for client in clients:
            client.sendall(b"d")
        for client in clients:
            assert Answers(client).next()[2] == b'{"got": "held"}'
    finally:
        for client in clients:
            client.close()


def test_a_head_of_64_kb(plain: Service) -> None:
    for size, status in ((64 * 1024 - 200, 200), (64 * 1024, 431)):
        with plain.connect() as client:
            client.sendall(head(b"GET / HTTP/1.1", b"X-Long: " + b"a" * size))
            assert Answers(client).next()[0] == status


def test_a_body_in_tiny_chunks(plain: Service) -> None:
    with plain.connect() as client:
        client.sendall(head(b"POST /score HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked"))
        client.sendall(b"2\r\nab\r\n" * 500_000 + b"0\r\n\r\n")
        assert Answers(client).next()[2] == b'{"got": "%s"}' % (b"ab" * 500_000)


def test_what_is_wrong_twice_is_refused_once(plain: Service) -> None:
    too_large = head(b"POST /score HTTP/1.1", b"Content-Length: %d" % (LIMIT + 1))
    for more in (b"nonsense\r\n\r\n", GET + b"A: " + b"a" * 1_000_000, too_large * 2):
        with plain.connect() as client:
            client.sendall(POST + b"A: " + b"a" * 66_000 + b"\r\n\r\n" + more)
            answers = Answers(client)
            assert answers.next()[0] == 431
            assert answers.rest() == b""
    assert "has failed" not in plain.log()
