"""Answers whose body comes in pieces, as the script makes them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

SCRIPT = """
    import os, time
    from azureml.contrib.services.aml_request import rawhttp
    from werkzeug.wrappers import Response
    def init():
        pass
    def pieces(what):
        if what == "whole":
            return "whole"
        def make():
            yield b"one"
            if what == "fails":
                raise ValueError("midway")
            if what == "dies":
                os._exit(7)
            if what == "late":
                time.sleep(30)
            if what == "large":
                for _ in range(400):
                    yield b"x" * 1_000_000
            yield b""
            yield "tw\\u00f6"
        return make()
    @rawhttp
    def run(request):
        return Response(pieces(request.args.get("is", "")))
"""
HOST = b"Host: x\r\n"
PROXY = "its proxy ends a connection in an orderly way that the server has reset"
WORDS = "onetwö".encode()


@pytest.fixture(scope="module")
def streaming(start_service: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start_service(tmp_path_factory.mktemp("streaming"), SCRIPT)
    yield service
    service.stop()


def ask(what: str = "", *headers: bytes, method: bytes = b"POST", version: bytes = b"1.1") -> bytes:
    start = b"%s /score?is=%s HTTP/%s\r\n" % (method, what.encode(), version)
    return start + HOST + b"".join(each + b"\r\n" for each in headers) + b"\r\n"


def is_cut_off(stream: BinaryIO, version: bytes) -> bool:
    """Whether a reader can tell that more was to come; in HTTP/1.0, an orderly end is that of the answer."""
    try:
        rest = stream.read()
    except ConnectionResetError:
        return True
    return version == b"1.1" and not rest.endswith(b"0\r\n\r\n")


def read_head(stream: BinaryIO) -> tuple[int, dict[bytes, bytes]]:
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.partition(b": ")
        headers[name.lower()] = value
    return status, headers


def read_chunks(stream: BinaryIO) -> list[bytes]:
    chunks = []
    while size := int(stream.readline(), 16):
        chunks.append(stream.read(size))
        assert stream.readline() == b"\r\n"
    assert stream.readline() == b"\r\n"
    return chunks


def is_well(service: Service) -> bool:
    return service.ask("POST").content == WORDS


@pytest.mark.holds("rawhttp.stream")
def test_chunks_in_http_1_1_and_what_follows_them(streaming: Service) -> None:
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask() * 3)
        for _ in range(3):
            status, headers = read_head(stream)
            assert (status, headers[b"transfer-encoding"]) == (200, b"chunked")
            assert b"content-length" not in headers
            assert b"connection" not in headers
            assert read_chunks(stream) == [b"one", "twö".encode()]


@pytest.mark.holds("rawhttp.stream")
def test_until_the_end_of_the_connection_in_http_1_0(streaming: Service) -> None:
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask("", b"Connection: keep-alive", version=b"1.0") * 2)
        status, headers = read_head(stream)
        assert (status, headers[b"connection"]) == (200, b"close")
        assert b"content-length" not in headers
        assert b"transfer-encoding" not in headers
        assert stream.read() == WORDS


def test_close_is_honoured(streaming: Service) -> None:
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask("", b"Connection: close"))
        assert read_head(stream)[1][b"connection"] == b"close"
        assert b"".join(read_chunks(stream)) == WORDS
        assert stream.read() == b""


def test_head_has_no_body(streaming: Service) -> None:
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask(method=b"HEAD") + ask("whole"))
        assert read_head(stream)[0] == 200
        status, headers = read_head(stream)
        assert (status, stream.read(int(headers[b"content-length"]))) == (200, b"whole")


@pytest.mark.holds("http.stream-broken")
@pytest.mark.parametrize("how", ["fails", "dies"])
@pytest.mark.parametrize("version", [b"1.1", pytest.param(b"1.0", marks=pytest.mark.not_on("docker", PROXY))])
def test_what_fails_midway_is_not_a_whole_answer(streaming: Service, how: str, version: bytes) -> None:
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask(how, version=version) + ask())
        assert read_head(stream)[0] == 200
        assert is_cut_off(stream, version)
    streaming.until(lambda: is_well(streaming), "an answer")
    streaming.wait_for_log("midway" if how == "fails" else "exit code 7")


def test_a_timeout_midway_is_not_a_second_answer(serve: Serve) -> None:
    service = serve(SCRIPT, SCORING_TIMEOUT_MS="200", MLDEPLOY_SCORING_GRACE_MS="0")
    with service.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask("late"))
        assert read_head(stream)[0] == 200
        assert is_cut_off(stream, b"1.1")
    service.until(lambda: is_well(service), "an answer")


def test_a_client_that_goes_away_midway_harms_nobody(streaming: Service) -> None:
    with streaming.connect() as client:
        client.sendall(ask("large"))
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert is_well(streaming)


def memory_kb(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


@pytest.mark.holds("http.stream-unread")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_client_that_reads_slowly_gets_all_and_costs_no_memory(streaming: Service) -> None:
    before = memory_kb(streaming.pid, "VmRSS")
    Path(f"/proc/{streaming.pid}/clear_refs").write_text("5")  # the peak is counted anew
    with streaming.connect() as client, client.makefile("rb") as stream:
        client.sendall(ask("large") + ask("whole"))
        assert streaming.ask("GET", "/").text == "Healthy"
        read_head(stream)
        assert sum(len(chunk) for chunk in read_chunks(stream)) == 400_000_000 + len(WORDS)
        read_head(stream)
    assert memory_kb(streaming.pid, "VmHWM") - before < 50_000


@pytest.mark.holds("http.stream-unread")
def test_one_that_does_not_read_at_all_holds_its_worker_only_until_it_is_gone(streaming: Service) -> None:
    with streaming.connect() as client:
        client.sendall(ask("large"))
        streaming.until(lambda: client.recv(1, socket.MSG_PEEK), "the beginning of an answer")
        assert streaming.ask("GET", "/").text == "Healthy"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    streaming.until(lambda: is_well(streaming), "an answer")


def test_a_client_that_does_not_read_keeps_no_worker_beyond_its_time(serve: Serve) -> None:
    service = serve(SCRIPT, WORKER_TIMEOUT="1")
    with service.connect() as client:
        client.sendall(ask("large"))
        client.recv(1)
        assert service.post("", path="/score?is=whole").text == "whole"
        service.wait_for_log("(WORKER_TIMEOUT)")


def test_what_is_sent_after_the_last_request_does_not_cost_the_answer(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data): return 'x' * 3_000_000")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that most of it waits at the server's end
        client.settimeout(20)
        client.connect(("127.0.0.1", service.port))
        client.sendall(b"POST /score HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        service.wait_for_log("POST /score 200")
        client.sendall(b"POST /score HTTP/1.1\r\n")
        received = 0
        while chunk := client.recv(1 << 16):
            received += len(chunk)
    assert received > 3_000_000
