"""The three contracts side by side: what becomes of requests and results that do not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy_serving.contract.table import CONTRACTS, Table

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

SCRIPT = """
import datetime, sys
import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema

def init(): pass

@input_schema("x", NumpyParameterType(np.array([[1.0, 2.0]])))
@input_schema("n", NumpyParameterType(np.array([1], dtype="int8")))
@input_schema("frame", PandasParameterType(pd.DataFrame({"a": [1], "b": ["s"]})))
@input_schema("k", StandardPythonParameterType(1))
@input_schema("inner", StandardPythonParameterType({"deep": NumpyParameterType(np.array([1.0])), "word": "w"}))
@input_schema("at", StandardPythonParameterType(datetime.datetime(2021, 1, 1)))
def run(x, n, frame, k, inner, at, result=None):
    if result is not None:
        return eval(result)
    return [x.tolist(), n.tolist(), frame.to_dict("records"), list(frame), repr(k), at.year]

def fail(error): raise error
async def later(value): return value
def mixed(x): raise ValueError("of the script's own")
"""
GOOD: dict[str, Any] = {
    "x": [[1.5, 2]],
    "n": [3],
    "frame": [{"a": 1, "b": "s"}],
    "k": 7,
    "inner": {"deep": [1], "word": "w"},
    "at": "2021-05-01",
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, start_service: Any) -> Iterator[dict[str, Service]]:
    started = {name: start_service(tmp_path_factory.mktemp(name), SCRIPT, MLDEPLOY_CONTRACT=name) for name in CONTRACTS}
    yield started
    for service in started.values():
        service.stop()


def ask(service: Service, **changed: Any) -> Any:
    return service.post(json.dumps({**GOOD, **changed}))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_fits_is_taken_by_all(services: dict[str, Service], contract: str) -> None:
    answer = ask(services[contract])
    assert answer.json() == [[[1.5, 2.0]], [3], [{"a": 1, "b": "s"}], ["a", "b"], "7", 2021]
    assert "x-mldeploy-warning" not in answer.headers


MISFITS = [
    ({"x": [[1, "2"]]}, "value.coercion", "x[0][1]"),
    ({"x": [[1, True]]}, "value.coercion", "x[0][1]"),
    ({"x": [[1, None]]}, "value.null", "x[0][1]"),
    ({"x": [[1, float("nan")]]}, "value.not-finite", "x[0][1]"),
    ({"x": [[1, float("-inf")]]}, "value.not-finite", "x[0][1]"),
    ({"x": [[1, 2, 3]]}, "value.shape", "x[0]"),
    ({"x": [1, 2]}, "value.dimensions", "x"),
    ({"x": []}, "value.dimensions", "x"),
    ({"x": [[1, "two"]]}, "value.type", "x[0][1]"),
    ({"x": None}, "value.type", "x"),
    ({"n": [300]}, "value.range", "n[0]"),
    ({"n": [1.5]}, "value.fraction", "n[0]"),
    ({"n": ["3"]}, "value.coercion", "n[0]"),
    ({"n": [None]}, "value.type", "n[0]"),
    ({"frame": [{"a": 1}]}, "columns.missing", "frame"),
    ({"frame": [{"a": 1, "b": "s", "c": 2}]}, "columns.extra", "frame"),
    ({"frame": [{"a": 1, "B": "s"}]}, "columns.renamed", "frame"),
    ({"frame": [{"a": 1.5, "b": "s"}]}, "value.fraction", "frame[0].a"),
    ({"frame": [{"a": "1", "b": "s"}]}, "value.coercion", "frame[0].a"),
    ({"frame": [{"a": None, "b": "s"}]}, "value.type", "frame[0].a"),
    ({"frame": [{"a": 1, "b": None}]}, "value.null", "frame[0].b"),
    ({"frame": [[1, "s"]]}, "value.coercion", "frame[0]"),
    ({"k": 7.5}, "value.type", "k"),
    ({"k": 7.0}, "value.whole-float", "k"),
    ({"k": True}, "value.coercion", "k"),
    ({"k": "7"}, "value.type", "k"),
    ({"inner": {"deep": ["x"], "word": "w"}}, "value.type", "inner.deep[0]"),
    ({"inner": {"deep": [1], "word": 5}}, "value.described", "inner.word"),
    ({"inner": {"deep": [1]}}, "value.missing", "inner.word"),
    ({"inner": [1]}, "value.type", "inner"),
    ({"at": "no date"}, "value.conversion", "at"),
]


@pytest.mark.holds(*{rule for _, rule, _ in MISFITS})
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(("changed", "rule", "place"), MISFITS, ids=[str(changed) for changed, _, _ in MISFITS])
def test_what_does_not_fit(
    services: dict[str, Service], contract: str, changed: dict[str, Any], rule: str, place: str
) -> None:
    status = Table(contract)[rule].status
    answer = ask(services[contract], **changed)
    assert answer.status_code == status, answer.text
    if status == 400:
        said = answer.json()
        assert (said["rule"], said["place"]) == (rule, place)
        assert said["message"].startswith(place)
    elif status == 500:
        assert answer.json() == {"message": Table(contract)["run.raised"].message()}
        assert answer.headers["x-ms-run-function-failed"] == "True"


@pytest.mark.holds("columns.order", "body.unknown-parameter")
def test_what_strict_takes_in_another_form(services: dict[str, Service]) -> None:
    strict = services["strict"]
    assert ask(strict, frame=[{"b": "s", "a": 1}]).json()[3] == ["a", "b"]
    assert ask(services["compatible"], frame=[{"b": "s", "a": 1}]).json()[3] == ["b", "a"]
    for number in ("1", "1.0", "1e0"):
        body = json.dumps({**GOOD, "k": "K", "n": ["K"]}).replace('"K"', number)
        assert (answer := strict.post(body)).status_code == 200, answer.text
        assert (answer.json()[1], answer.json()[4]) == ([1], "1")
    answer = ask(strict, more=1, **{"über\n": 2})
    assert answer.status_code == 200
    assert answer.headers["x-mldeploy-warning"] == "not parameters of run(), and ignored: more, \\xfcber?"
    assert "x-mldeploy-warning" not in ask(services["compatible"], more=1).headers


@pytest.mark.holds("body.duplicate-key")
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(
    ("old", "new", "place", "key"),
    [('"k": 7', '"k": 6, "k": 7', "the body", "k"), ('"a": 1', '"a": 0, "a": 1', "frame[0]", "a")],
)
def test_a_key_given_twice(
    services: dict[str, Service], contract: str, old: str, new: str, place: str, key: str
) -> None:
    answer = services[contract].post(json.dumps(GOOD).replace(old, new))
    assert answer.status_code == Table(contract)["body.duplicate-key"].status
    if answer.status_code == 400:
        message = f"{place}: the key {key!r} is given twice"
        assert answer.json() == {"message": message, "rule": "body.duplicate-key", "place": place}


INTERNAL = "An unexpected internal error occurred. Check the logs for more info."
SCRIPT_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
TIMEOUT = "Scoring timeout after 3600000 ms"


def finite(found: str, place: str) -> str:
    return f"The answer holds {found} at {place}, which JSON has nothing for."


# result of run(); under each contract either the body of a 200, or the message and the header of a 500
RESULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("result.encoded", "np.array([1, 2])", {"compatible": "[1, 2]", "strict": "[1, 2]", "v1": (INTERNAL, "False")}),
    ("result.encoded", "{1}", {"compatible": "[1]", "strict": "[1]", "v1": (INTERNAL, "False")}),
    ("result.unencodable", "object()", dict.fromkeys(CONTRACTS, (INTERNAL, "False"))),
    (
        "result.not-finite",
        "{'p': [1.0, float('nan')]}",
        {"compatible": '{"p": [1.0, NaN]}', "strict": (finite("NaN", "p[1]"), "False"), "v1": '{"p": [1.0, NaN]}'},
    ),
    (
        "result.not-finite",
        "np.array([1, np.inf])",
        {
            "compatible": "[1.0, Infinity]",
            "strict": (finite("Infinity", "[1]"), "False"),
            "v1": (INTERNAL, "False"),
        },
    ),
    (
        "result.not-finite",
        "float('nan')",
        {"compatible": "NaN", "strict": (finite("NaN", "its top"), "False"), "v1": "NaN"},
    ),
    ("run.awaitable", "later(5)", {"compatible": "5", "strict": "5", "v1": (INTERNAL, "False")}),
    ("run.raised", "fail(ValueError('secret'))", dict.fromkeys(CONTRACTS, (SCRIPT_FAILED, "True"))),
    ("run.raised", "mixed(x)", dict.fromkeys(CONTRACTS, (SCRIPT_FAILED, "True"))),
    (
        "run.own-timeout-error",
        "fail(TimeoutError('mine'))",
        {"compatible": (SCRIPT_FAILED, "True"), "strict": (SCRIPT_FAILED, "True"), "v1": (TIMEOUT, "True")},
    ),
]


@pytest.mark.holds(*{rule for rule, _, _ in RESULTS})
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(("rule", "result", "expected"), RESULTS, ids=[result for _, result, _ in RESULTS])
def test_results(services: dict[str, Service], contract: str, rule: str, result: str, expected: dict[str, Any]) -> None:
    answer = ask(services[contract], result=result)
    if isinstance(expected[contract], str):
        assert (answer.status_code, answer.text) == (200, expected[contract])
    else:
        message, failed = expected[contract]
        assert (answer.status_code, answer.json()) == (500, {"message": message})
        assert answer.headers["x-ms-run-function-failed"] == failed
    if rule != "result.not-finite":  # numpy's cannot be encoded either, under v1
        assert answer.status_code == Table(contract)[rule].status


@pytest.mark.holds("run.exits")
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("exit_", ["sys.exit(1)", "fail(KeyboardInterrupt())"])
def test_a_run_that_exits(services: dict[str, Service], contract: str, exit_: str) -> None:
    answer = ask(services[contract], result=exit_)
    assert answer.status_code == Table(contract)["run.exits"].status == 500
    if contract == "v1":
        assert answer.headers["Content-Type"] == "text/html"
        assert "<h1><p>Internal Server Error</p></h1>" in answer.text
        assert not [name for name in answer.headers if name.lower().startswith("x-ms-")]
    else:
        assert answer.json() == {"message": SCRIPT_FAILED}
    assert ask(services[contract]).status_code == 200


@pytest.mark.holds("body.json-utf8")
@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_body_that_is_not_utf8(services: dict[str, Service], contract: str) -> None:
    answer = services[contract].post(b'{"k": "\xff"}')
    assert answer.status_code == Table(contract)["body.json-utf8"].status
    if contract == "v1":
        assert answer.json() == {"message": INTERNAL}
    else:
        assert answer.json()["message"].startswith("POST body could not be decoded as JSON: 'utf-8' codec")


@pytest.mark.holds("body.default")
@pytest.mark.parametrize("contract", CONTRACTS)
def test_defaults_in_python_are_the_scripts_own(serve: Serve, contract: str) -> None:
    service = serve(
        """
        import numpy as np
        from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
        from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
        from inference_schema.schema_decorators import input_schema
        def init(): pass
        @input_schema("x", NumpyParameterType(np.array([[1.0, 2.0]])))
        @input_schema("options", StandardPythonParameterType({"word": "w"}))
        def run(x=np.zeros((3, 1)), options={}): return [x.tolist(), options]
        """,
        MLDEPLOY_CONTRACT=contract,
    )
    answer = service.post("{}")
    assert (answer.status_code, answer.json()) == (200, [[[0.0], [0.0], [0.0]], {}])


def test_strict_writes_null_where_it_is_asked_to(serve: Serve) -> None:
    service = serve(
        "def init(): pass\ndef run(data): return [float('nan')]", MLDEPLOY_CONTRACT="strict", MLDEPLOY_NAN="null"
    )
    assert service.post("").text == "[null]"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"MLDEPLOY_CONTRACT": "loose"}, "MLDEPLOY_CONTRACT=loose is unknown; it is one of compatible, strict, v1"),
        ({"MLDEPLOY_NAN": "none"}, "MLDEPLOY_NAN=none is unknown; it is one of bare, null"),
        (
            {"MLDEPLOY_CONTRACT": "v1", "MLDEPLOY_NAN": "null"},
            "MLDEPLOY_NAN=null does not go with MLDEPLOY_CONTRACT=v1, which writes NaN as it is",
        ),
    ],
)
def test_a_contract_that_there_is_not(serve: Serve, variables: dict[str, str], reason: str) -> None:
    ended = serve("def init(): pass\ndef run(data): pass", wait=False, **variables).wait()
    assert (ended["exit_code"], ended["reason"]) == (3, reason)


@pytest.mark.holds("body.not-converted", "body.optional")
@pytest.mark.parametrize("options", ["convert_to_provided_type=False", "optional=True"])
def test_what_is_not_converted_is_as_it_was_sent(serve: Serve, options: str) -> None:
    """Also where arrays of that type are read by a parser that has no integers of more than 64 bit."""
    service = serve(
        f"""
        import numpy as np
        from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
        from inference_schema.schema_decorators import input_schema
        def init(): pass
        @input_schema("x", NumpyParameterType(np.array([1.0])), {options})
        def run(x=None): return repr(x)
        """
    )
    assert service.post('{"x": []}').json() == "[]"
    assert service.post("{}").json() == "None"
    sent = "[123456789012345678901234567890]"
    given = sent if "False" in options else "array([1.23456789e+29])"
    assert service.post(f'{{"x": {sent}}}').json() == given


@pytest.mark.holds("body.json-limits")
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"k": ' + "9" * 10_000 + "}"]
)
def test_json_that_python_cannot_read(services: dict[str, Service], contract: str, body: str) -> None:
    answer = services[contract].post(body)
    assert answer.status_code == Table(contract)["body.json-limits"].status
    expected = INTERNAL if contract == "v1" else "POST body could not be decoded as JSON: "
    assert answer.json()["message"].startswith(expected)
    assert ask(services[contract]).status_code == 200


@pytest.mark.holds("body.query-brackets")
@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_query_that_python_cannot_read(serve: Serve, contract: str) -> None:
    service = serve("def init(): pass\ndef run(data): return len(data)", MLDEPLOY_CONTRACT=contract)
    answer = service.ask("GET", "/score?a=" + "[" * 3000)
    assert answer.status_code == Table(contract)["body.query-brackets"].status


ODD = """
import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema

def init(): pass

@input_schema("twice", PandasParameterType(pd.DataFrame([[1, 2]], columns=["a", "a"]), orient="values"), optional=True)
@input_schema("plain", PandasParameterType(pd.DataFrame([[1, 2.5]]), orient="split"), optional=True)
@input_schema("flag", NumpyParameterType(np.array([True])), optional=True)
@input_schema("x", NumpyParameterType(np.array([1.0])), optional=True)
def run(twice=None, plain=None, flag=None, x=None):
    return [each if each is None else each.tolist() if hasattr(each, "tolist") else each.values.tolist()
            for each in (twice, plain, flag, x)]
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, start_service: Any) -> Iterator[dict[str, Service]]:
    started = {name: start_service(tmp_path_factory.mktemp(name), ODD, MLDEPLOY_CONTRACT=name) for name in CONTRACTS}
    yield started
    for service in started.values():
        service.stop()


@pytest.mark.parametrize("contract", CONTRACTS)
def test_frames_whose_columns_have_one_name_or_numbers_for_names(odd: dict[str, Service], contract: str) -> None:
    answer = odd[contract].post('{"twice": [[3, 4]], "plain": {"columns": [0, 1], "index": [0], "data": [[1, 2.5]]}}')
    assert (answer.status_code, answer.json()) == (200, [[[3, 4]], [[1.0, 2.5]], None, None])


def test_the_cause_is_looked_for_where_the_conversion_failed(odd: dict[str, Service]) -> None:
    """An object for a truth value is none to `strict` only: numpy takes it."""
    answer = odd["compatible"].post('{"flag": [{}], "x": ["one"]}')
    assert (answer.status_code, answer.json()["rule"], answer.json()["place"]) == (400, "value.type", "x[0]")
    assert odd["compatible"].post('{"flag": [{}], "x": [1]}').json() == [None, None, [False], [1.0]]


@pytest.mark.parametrize(
    "body",
    [
        '{"x": [1], "KEY": 1, "KEY": 2}',
        '{"x": [{"KEY": 1}]}',
        '{"plain": {"columns": [0, "KEY"], "data": []}}',
        '{"x": ["KEY"]}',
        '{"x": [1%s, 1.5]}' % ("0" * 400),
    ],
)
def test_what_a_refusal_shows_is_cut_to_a_line(odd: dict[str, Service], body: str) -> None:
    answer = odd["strict"].post(body.replace("KEY", "\\n key" * 100_000))
    assert answer.status_code == 400
    assert len(answer.json()["message"]) < 1000
    assert "\n" not in answer.json()["message"]
