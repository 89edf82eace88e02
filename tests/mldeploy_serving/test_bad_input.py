"""Bodies that no parser likes, and scripts that take too much: the service lives."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

DEEP = 100_000
PARSING = "import json\ndef init(): pass\ndef run(data): return json.loads(data)"


@pytest.fixture(scope="module")
def typed(start_service: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start_service(
        tmp_path_factory.mktemp("typed"),
        """
        import numpy as np
        from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
        from inference_schema.schema_decorators import input_schema
        def init(): pass
        @input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
        def run(data):
            return data.sum(axis=1)
        """,
    )
    yield service
    service.stop()


@pytest.mark.parametrize(
    "body",
    [
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        "[" * DEEP,
        '{"data": ' + "9" * 10_000 + "}",
        '{"data": 1e' + "9" * 10_000 + "}",
        '{"data": "\\ud800"}',
        "\ufeff{}",
        "{",
        "",
        "\x00",
    ],
)
def test_json_that_no_parser_likes(typed: Service, body: str) -> None:
    pid = typed.worker_pid()
    answer = typed.post(body.encode())
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert typed.post('{"data": [[1.0, 2.0]]}').json() == [3.0]
    assert typed.worker_pid() == pid


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_json(typed: Service, encoding: str) -> None:
    assert typed.post('{"data": [[1.0, 2.0]]}'.encode(encoding)).json() == [3.0]


def test_an_untyped_script_that_parses_them_itself(serve: Serve) -> None:
    service = serve(PARSING)
    pid = service.worker_pid()
    for body in ("[" * DEEP + "]" * DEEP, "9" * 10_000, "{"):
        answer = service.post(body)
        assert (answer.status_code, answer.headers["x-ms-run-function-failed"]) == (500, "True")
    assert service.post('{"a": 1, "a": 2}').json() == {"a": 2}
    assert service.worker_pid() == pid


def test_a_result_that_is_too_deep(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data):\n    a = []\n    for _ in range(100_000): a = [a]\n    return a")
    for _ in range(2):
        assert service.post("").status_code == 500
    assert service.log().count("ready for serving traffic") == 1


def test_a_script_that_leaks_threads(serve: Serve) -> None:
    service = serve(
        """
        import threading
        def init(): pass
        def run(data):
            for _ in range(20):
                threading.Thread(target=threading.Event().wait, daemon=data != "not").start()
            return threading.active_count()
        """
    )
    counts = [service.post("daemon").json() for _ in range(5)]
    assert counts == [21, 41, 61, 81, 101]
    assert service.post("not").json() == 121
    service.signal(signal.SIGTERM)  # threads that never end do not keep it
    assert service.wait()["returned"] == 0


def test_the_limit_of_memory(serve: Serve) -> None:
    service = serve(
        """
        import resource
        def init():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        def run(data):
            return len(bytearray(int(data)))
        """
    )
    pid = service.worker_pid()
    assert service.post(str(2 << 30)).status_code == 500
    service.wait_for_log("MemoryError")
    assert service.post("1000000").json() == 1_000_000
    assert service.worker_pid() == pid
    assert service.post(b"9" * 99_000_000).status_code == 500  # a number of too many digits, beside its text
    assert service.post("7").json() == 7


def test_a_worker_that_the_kernel_kills_is_replaced(serve: Serve) -> None:
    service = serve("import os, signal\ndef init(): pass\ndef run(data): os.kill(os.getpid(), int(data)) or 'ok'")
    answer = service.post("9")  # as it does where memory is out
    assert answer.status_code == 500
    assert "SIGKILL" in json.loads(answer.content)["message"]
    service.until(service.is_healthy, "a healthy service")
