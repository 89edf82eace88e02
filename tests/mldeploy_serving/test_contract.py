"""Status, body and headers of an answer. The rows are what azureml-inference-server-http 1.5.1 was seen to answer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

SCRIPT_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
INTERNAL = "An unexpected internal error occurred. Check the logs for more info."
NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again."
)
NOT_ALLOWED = "The method is not allowed for the requested URL."
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.mark.holds(
    "routes.health",
    "routes.not-allowed",
    "routes.not-found",
    "routes.score",
    "routes.score-options",
    "routes.spelling",
    "body.query",
)
@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/", 200, "Healthy"),
        ("OPTIONS", "/", 200, ""),
        ("POST", "/", 405, {"message": NOT_ALLOWED}),
        ("GET", "/nope", 404, {"message": NOT_FOUND}),
        ("OPTIONS", "/nope", 404, {"message": NOT_FOUND}),
        ("POST", "/score/", 404, {"message": NOT_FOUND}),
        ("PUT", "/score", 405, {"message": NOT_ALLOWED}),
        ("DELETE", "/score", 405, {"message": NOT_ALLOWED}),
        ("PATCH", "/score", 405, {"message": NOT_ALLOWED}),
        ("OPTIONS", "/score", 200, ""),
        ("POST", "/%73core", 200, {"got": ""}),
        ("POST", "/swagger.json", 405, {"message": NOT_ALLOWED}),
        (
            "GET",
            "/score?a=1&b=[1,2]&c=x&c=null&d=%20y",
            200,
            {"got": '{"a": 1, "b": [1, 2], "c": ["x", null], "d": " y"}'},
        ),
        ("GET", "/score", 200, {"got": "{}"}),
    ],
)
def test_routes(plain: Service, method: str, path: str, status: int, body: Any) -> None:
    answer = plain.ask(method, path)
    assert answer.status_code == status
    assert answer.text == (body if isinstance(body, str) else json.dumps(body))


@pytest.mark.holds("routes.health-methods", "routes.score-head")
@pytest.mark.parametrize("path", ["/", "/swagger.json"])
def test_head_has_the_headers_and_no_body(plain: Service, path: str) -> None:
    answer = plain.ask("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == plain.ask("GET", path).headers["Content-Length"]
    assert plain.ask("HEAD", "/score").status_code == 405


@pytest.mark.holds("body.text", "body.form")
@pytest.mark.parametrize(
    ("body", "content_type", "got"),
    [
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"not json", "application/json", "not json"),
        (b"", "application/json", ""),
        ("\u00e9\u4e2d".encode(), "text/plain", "\u00e9\u4e2d"),
        (b'{"a": 1}', "application/x-www-form-urlencoded", ""),
        (b"--x--", "multipart/form-data; boundary=x", ""),
    ],
)
def test_an_undecorated_run_gets_the_body_as_text(plain: Service, body: bytes, content_type: str, got: str) -> None:
    answer = plain.post(body, content_type)
    assert (answer.status_code, answer.content) == (200, json.dumps({"got": got}).encode())


@pytest.mark.holds("body.text-utf8")
def test_a_body_that_is_not_utf8_is_refused(plain: Service) -> None:
    answer = plain.post(b"\xff")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Input cannot be decoded as UTF-8: ")


@pytest.mark.holds("result.json", "result.text", "result.none", "headers.exec-ms", "headers.failed")
@pytest.mark.parametrize(
    ("result", "body"),
    [
        ("{'b': 1, 'a': (1, 2.0, None, True)}", '{"b": 1, "a": [1, 2.0, null, true]}'),
        ("'text'", '"text"'),
        ("json.dumps({'a': 1})", r'"{\"a\": 1}"'),
        ("'\u00e9'", r'"\u00e9"'),
        ("None", "{}"),
        ("3", "3"),
        ("[float('nan'), float('inf')]", "[NaN, Infinity]"),
        ("{1: 2, None: 3, True: 4}", '{"1": 4, "null": 3}'),
        # the official server answers 500 to these
        ("later([1, 2])", "[1, 2]"),
        ("{'at': datetime.datetime(2021, 1, 31, 12)}", '{"at": "2021-01-31T12:00:00"}'),
        ("b'bytes'", '"Ynl0ZXM="'),
        ("{7}", "[7]"),
        ("(n for n in (1, 2))", "[1, 2]"),
        ("{(1, 2): 3}", '{"(1, 2)": 3}'),
    ],
)
def test_results(plain: Service, result: str, body: str) -> None:
    answer = plain.post("!" + result.replace("json.", "__import__('json').").encode().decode())
    assert (answer.status_code, answer.text) == (200, body)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-ms-run-function-failed"] == "False"
    assert re.fullmatch(r"\d+\.\d{3}", answer.headers["x-ms-run-fn-exec-ms"])


@pytest.mark.holds("run.raised", "run.exits", "run.own-timeout-error", "result.unencodable", "headers.failed")
@pytest.mark.parametrize(
    ("expression", "message", "failed"),
    [
        ("fail(ValueError('secret text'))", SCRIPT_FAILED, "True"),
        ("fail(TimeoutError())", SCRIPT_FAILED, "True"),
        ("sys.exit(3)", SCRIPT_FAILED, "True"),
        ("fail(KeyboardInterrupt())", SCRIPT_FAILED, "True"),
        ("object()", INTERNAL, "False"),
        ("(lambda each: each.append(each) or each)([])", INTERNAL, "False"),
    ],
)
def test_what_fails_in_run_is_a_500_without_its_text(
    plain: Service, expression: str, message: str, failed: str
) -> None:
    answer = plain.post(f"!{expression}")
    assert (answer.status_code, answer.json()) == (500, {"message": message})
    assert answer.headers["x-ms-run-function-failed"] == failed
    assert "x-ms-run-fn-exec-ms" not in answer.headers
    assert plain.post("after").status_code == 200


@pytest.mark.holds("log.traceback")
def test_the_log_shows_the_users_frames_only(plain: Service) -> None:
    plain.post("!fail(ValueError('told in the log'))", path="/score?at=here")
    plain.wait_for_log("ValueError: told in the log")
    trace = plain.log().split("run() failed")[-1]
    assert "score.py" in trace
    assert "mldeploy_serving" not in trace.split("ValueError")[0]


def test_threads_of_the_script_work(plain: Service) -> None:
    assert plain.post("!list(pool.map(abs, [-1, 2]))").json() == [1, 2]


@pytest.mark.holds(
    "body.content-type", "body.empty", "body.object", "body.parameter", "body.json", "body.content-types"
)
@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        ('{"data": [[1, 2]]}', "application/json", 200, None),
        ('{"data": [[1, 2]], "extra": 1}', "application/json; charset=utf-8", 200, None),
        ('{"data": [["1", "2"]]}', "application/x+json", 200, None),
        ('{"data": [[1, 2]]}', "text/plain", 415, "Expects Content-Type to be application/json"),
        ("", "application/json", 400, "POST body is empty. Expecting a JSON dictionary."),
        ("[1]", "application/json", 400, "POST body should be a JSON dictionary."),
        ("{}", "application/json", 400, "A value is not provided for the 'data' parameter."),
        (
            '{"data"',
            "application/json",
            400,
            "POST body could not be decoded as JSON: Expecting ':' delimiter: line 1 column 8 (char 7)",
        ),
    ],
)
def test_a_decorated_run(decorated: Service, body: str, content_type: str, status: int, message: str | None) -> None:
    body = body.replace("]]", ']], "inner": {"x": [1]}, "frame": [{"a": 1}]', 1)
    answer = decorated.post(body, content_type)
    expected = [3.0] if message is None else {"message": message}
    assert (answer.status_code, answer.json()) == (status, expected)


@pytest.mark.holds("body.json-limits", "body.json-utf8")
@pytest.mark.parametrize("body", ["[" * 100_000, '{"data": ' + "9" * 10_000 + "}", b"\xff\xff"])
def test_json_that_cannot_be_read_is_the_clients_error(decorated: Service, body: str | bytes) -> None:
    answer = decorated.post(body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("POST body could not be decoded as JSON: ")


@pytest.mark.holds("run.raised")
def test_an_error_of_a_decorated_runs_own_is_not_the_clients(decorated: Service) -> None:
    body = {"data": [[1, 2]], "frame": [{"a": 1}], "inner": {}, "fail": True}
    answer = decorated.post(json.dumps(body))
    assert (answer.status_code, answer.json()) == (500, {"message": SCRIPT_FAILED})


@pytest.mark.holds("body.query")
def test_a_decorated_run_takes_a_query(decorated: Service) -> None:
    answer = decorated.ask("GET", '/score?data=[[1,2],[3,4]]&frame=[{"a":1}]&inner={}')
    assert (answer.status_code, answer.json()) == (200, [3.0, 7.0])


@pytest.mark.holds("ids.made", "headers.server-version")
def test_ids_are_made_when_there_are_none(plain: Service) -> None:
    headers = plain.post("x").headers
    assert GUID.fullmatch(headers["x-request-id"])
    assert headers["x-ms-request-id"] == headers["x-request-id"]
    assert "x-ms-client-request-id" not in headers
    assert headers["x-ms-server-version"].startswith("mldeploy/")


@pytest.mark.holds("ids.echoed", "ids.ms-request-id", "ids.client-request-id", "ids.trace-id")
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"x-request-id": "a"}, {"x-request-id": "a", "x-ms-request-id": "a"}),
        ({"x-request-id": "a", "x-ms-request-id": "b"}, {"x-ms-request-id": "b", "x-ms-client-request-id": "b"}),
        ({"x-ms-client-request-id": "c"}, {"x-ms-request-id": "c", "x-ms-client-request-id": "c"}),
        (
            {"x-ms-request-id": "b", "x-ms-client-request-id": "c", "TraceId": "t"},
            {"x-ms-request-id": "b", "x-ms-client-request-id": "c", "TraceId": "t"},
        ),
        ({"x-request-id": "a" * 100}, {"x-request-id": "a" * 100}),
    ],
)
def test_ids_are_echoed(plain: Service, sent: dict[str, str], answered: dict[str, str]) -> None:
    for path in ("/", "/score", "/swagger.json"):
        headers = plain.ask("GET", path, **sent).headers
        assert answered.items() <= dict(headers).items()


@pytest.mark.holds("ids.too-long", "ids.client-too-long")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x-request-id", "x-request-id must not exceed 100 characters"),
        ("x-ms-request-id", "x-ms-request-id and x-ms-client-request-id must not exceed 100 characters"),
        ("x-ms-client-request-id", "x-ms-request-id and x-ms-client-request-id must not exceed 100 characters"),
    ],
)
def test_an_id_may_be_100_characters_long(plain: Service, name: str, message: str) -> None:
    answer = plain.ask("GET", "/", **{name: "a" * 101})
    assert (answer.status_code, answer.json()) == (431, {"message": message})
    assert name not in answer.headers


@pytest.mark.holds("ids.none", "headers.failed")
def test_unknown_paths_and_methods_have_no_ids(plain: Service) -> None:
    for answer in (plain.ask("GET", "/nope", x_request_id="a"), plain.ask("PUT", "/score", x_request_id="a")):
        assert "x-request-id" not in answer.headers
        assert answer.headers["x-ms-run-function-failed"] == "False"


@pytest.mark.holds("cors.origins", "cors.preflight")
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://b.example", "https://b.example"), ("https://c.example", None)],
)
def test_cross_origin_headers(plain: Service, origin: str, allowed: str | None) -> None:
    headers = plain.ask(
        "OPTIONS", Origin=origin, Access_Control_Request_Method="POST", Access_Control_Request_Headers="x-a"
    ).headers
    assert headers.get("Access-Control-Allow-Origin") == allowed
    assert headers.get("Access-Control-Allow-Methods") == (allowed and "GET, POST")
    assert headers.get("Access-Control-Allow-Headers") == (allowed and "x-a")
    assert headers.get("Vary") == (allowed and "Origin")


@pytest.mark.holds("cors.off")
def test_no_cross_origin_headers_unless_asked_for(decorated: Service) -> None:
    assert "Access-Control-Allow-Origin" not in decorated.ask("GET", "/", Origin="https://a.example").headers


@pytest.mark.holds("headers.request-headers")
def test_request_headers(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data, request_headers): return [data, request_headers]")
    with service.connect() as client:
        client.sendall(b"POST /score HTTP/1.0\r\nx-a: 1\r\nX-A: 2\r\nx_a: 3\r\ncontent-length: 1\r\n\r\nd")
        body = client.makefile("rb").read().split(b"\r\n\r\n")[1]
    assert json.loads(body) == ["d", {"X-A": "1,2", "Content-Length": "1"}]


@pytest.mark.holds("result.nan-as-null")
def test_nan_as_null(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data): return {'a': [float('nan'), 1]}", MLDEPLOY_NAN="null")
    assert service.post("").text == '{"a": [null, 1]}'


@pytest.mark.holds("headers.server-version")
def test_server_version_header(serve: Serve) -> None:
    service = serve(
        "def init(): pass\ndef run(data): pass",
        SERVER_VERSION_LOG_RESPONSE_ENABLED="false",
    )
    assert "x-ms-server-version" not in service.ask("GET", "/").headers
