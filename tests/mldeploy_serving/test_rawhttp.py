"""`@rawhttp`: the request as the script sees it, and the response it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Service


@pytest.mark.holds("rawhttp.request")
def test_the_request(raw: Service) -> None:
    answer = raw.ask("POST", "/score?a=1&a=2&b=%20", b'{"k": 1}', Content_Type="application/json", X_Some_Thing="here")
    assert answer.json() == {
        "method": "POST",
        "full_path": "/score?a=1&a=2&b=%20",
        "args": {"a": ["1", "2"], "b": [" "]},
        "data": '{"k": 1}',
        "type": "application/json",
        "json": {"k": 1},
        "header": "here",
        "remote": raw.sees,
    }


@pytest.mark.holds("rawhttp.methods")
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_every_method_of_the_route_reaches_run(raw: Service, method: str) -> None:
    assert raw.ask(method).json()["method"] == method


@pytest.mark.holds("rawhttp.request", "rawhttp.response")
def test_bytes_and_chunks_arrive_as_they_are(raw: Service) -> None:
    data = bytes(range(256))
    assert raw.ask("POST", data=data, X_Want="image").content == data
    assert raw.ask("POST", data=iter([data[:7], data[7:]]), X_Want="image").content == data


@pytest.mark.holds("rawhttp.request")
def test_forms_and_files(raw: Service) -> None:
    answer = raw.http.post(
        raw.url + "/score", data={"a": "1"}, files={"f": ("t.bin", b"\x00\x01")}, headers={"X-Want": "form"}
    )
    assert answer.json() == {"form": {"a": "1"}, "files": {"f": "0001"}}


@pytest.mark.holds("rawhttp.response", "rawhttp.none", "rawhttp.json-str", "rawhttp.failed")
@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_type", "failed"),
    [
        ("empty", 201, b"{}", "application/json", "False"),
        ("image", 200, b"", "image/png", "False"),
        ("failing", 503, b"no", "text/html; charset=utf-8", "True"),
        ("json", 200, b'{"a": 1}', "application/json", "False"),
        ("werkzeug", 202, b"ab", "text/plain; charset=utf-8", None),
    ],
)
def test_the_response(
    raw: Service, wanted: str, status: int, body: bytes, content_type: str, failed: str | None
) -> None:
    answer = raw.ask("POST", X_Want=wanted)
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers.get("x-ms-run-function-failed") == failed
    assert "x-ms-run-fn-exec-ms" in answer.headers


@pytest.mark.holds("rawhttp.commas")
def test_commas_in_a_header_make_several(raw: Service) -> None:
    answer = raw.ask("POST", X_Want="image")
    assert answer.raw.headers.getlist("X-Two") == ["1", "2"]
