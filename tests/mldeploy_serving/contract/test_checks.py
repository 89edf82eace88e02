"""What is found about values that do not fit, whichever contract then refuses them."""

from __future__ import annotations

import datetime
import functools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wrapt  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

from mldeploy_serving.contract.arranging import arranged
from mldeploy_serving.contract.checks import findings
from mldeploy_serving.contract.parameters import Array, Parameter, Scalar, Unknown, declared, describe
from mldeploy_serving.contract.reading import Twice, once, read_once, reader

NAN = float("nan")
FRAME = pd.DataFrame({"age": [41, 7], "name": ["a", "b"], "rate": [0.5, 1.5], "ok": [True, False]})
ROW = {"age": 1, "name": "x", "rate": 2, "ok": True}
RECORD = np.array([(1, 2.0)], dtype=[("a", "i1"), ("b", "f8")])


def found(parameter_type: Any, value: Any) -> list[tuple[str, str]]:
    return [(each.rule, each.place) for each in findings(describe(parameter_type), value, "data")]


def array(sample: Any, dtype: str = "f8") -> NumpyParameterType:
    return NumpyParameterType(np.array(sample, dtype=dtype))


@pytest.mark.parametrize(
    ("sample", "dtype", "value", "expected"),
    [
        ([[1, 2]], "f8", [[1, 2.5], [3e0, -0.0]], []),
        ([[1, 2]], "f8", [], [("value.dimensions", "data")]),
        ([[1, 2]], "f8", [1, 2], [("value.dimensions", "data")]),
        ([[1, 2]], "f8", [[[1, 2]]], [("value.dimensions", "data")]),
        ([[1, 2]], "f8", [[1, 2], [3]], [("value.shape", "data[1]")]),
        ([[1, 2]], "f8", [[1, 2], 3], [("value.type", "data[1]")]),
        ([[1, 2]], "f8", "[[1, 2]]", [("value.type", "data")]),
        ([[1, 2]], "f8", {"a": 1}, [("value.type", "data")]),
        ([[1, 2]], "f8", [[1, [2]]], [("value.type", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, "2"]], [("value.coercion", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, "two"]], [("value.type", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, True]], [("value.coercion", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, None]], [("value.null", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, NAN]], [("value.not-finite", "data[0][1]")]),
        ([[1, 2]], "f8", [[1, float("inf")]], [("value.not-finite", "data[0][1]")]),
        ([[1, NAN]], "f8", [[None, NAN], [float("inf"), 1]], []),
        ([1.0], "f4", [1e300], [("value.range", "data[0]")]),
        ([1.0], "f2", [65505], [("value.range", "data[0]")]),
        ([1], "i1", [127, -128], []),
        ([1], "i1", [1.0, 1e0], []),
        ([1], "i1", [128], [("value.range", "data[0]")]),
        ([1], "u1", [-1, 255], [("value.range", "data[0]")]),
        ([1], "i8", [2**63], [("value.range", "data[0]")]),
        ([1], "i8", [1.5], [("value.fraction", "data[0]")]),
        ([1], "i8", [None], [("value.type", "data[0]")]),
        ([1], "i8", [NAN], [("value.type", "data[0]")]),
        ([1], "i8", ["7"], [("value.coercion", "data[0]")]),
        ([1], "i8", ["7.5"], [("value.type", "data[0]")]),
        ([True], "?", [False], []),
        ([True], "?", [0, "no"], [("value.coercion", "data[0]"), ("value.coercion", "data[1]")]),
        ([True], "?", [None], [("value.null", "data[0]")]),
        (["ab"], "U2", ["abc", "x", 1], [("value.coercion", "data[0]"), ("value.coercion", "data[2]")]),
        ([1.0], "f8", [10**400, 1.5], [("value.range", "data[0]")]),
        (["ab"], "S2", ["abc"], [("value.coercion", "data[0]")]),
        (["2020-01-01"], "M8[D]", ["2020-01-02", 5], [("value.coercion", "data[1]")]),
        ([{}], "O", [{}, None, "any"], []),
    ],
)  # fmt: skip
def test_arrays(sample: Any, dtype: str, value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(array(sample, dtype), value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"b": 1, "a": 2}, [1, 2.5]], []),
        ([{"a": 300, "b": 1}], [("value.range", "data[0].a")]),
        ([[1, "x"]], [("value.type", "data[0][1]")]),
        ([{"a": 1}], [("columns.missing", "data[0]")]),
        ([[1]], [("value.shape", "data[0]")]),
        ([1], [("value.type", "data[0]")]),
    ],
)
def test_arrays_of_records(value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(NumpyParameterType(RECORD), value) == expected


def test_a_shape_or_a_type_that_is_not_enforced_is_not_looked_at() -> None:
    assert found(NumpyParameterType(np.array([[1.0]]), enforce_shape=False), [1, [2, 3]]) == [("value.type", "data[1]")]
    assert describe(NumpyParameterType(np.array([1.0]), enforce_column_type=False)) == Unknown()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], []),
        ([], []),
        ([[[1]], [[2.5]]], []),
        ([[1, 2], [3]], [("value.shape", "data[1]")]),
        ([1, "2"], [("value.coercion", "data[1]")]),
    ],
)
def test_a_shape_that_is_not_enforced_is_the_first_elements(value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(NumpyParameterType(np.array([[1.0]]), enforce_shape=False), value) == expected


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([ROW, dict(reversed(ROW.items()))], []),
        ([], [("columns.missing", "data")] * 4),
        ([without("age")], [("columns.missing", "data")]),
        ([ROW, without("rate")], [("value.null", "data[1].rate")]),
        ([{**ROW, "more": 1}], [("columns.extra", "data")]),
        ([{**without("name"), "nom": "x"}], [("columns.renamed", "data")]),
        ([{**ROW, "age": 1.5}], [("value.fraction", "data[0].age")]),
        ([{**ROW, "age": "1"}], [("value.coercion", "data[0].age")]),
        ([{**ROW, "age": 2**70}], [("value.range", "data[0].age")]),
        ([{**ROW, "name": 1}], [("value.coercion", "data[0].name")]),
        ([{**ROW, "ok": "yes"}], [("value.coercion", "data[0].ok")]),
        ([{**ROW, "rate": None}], [("value.null", "data[0].rate")]),
        ([[1, "x", 2, True]], [("value.coercion", "data[0]")]),
        ([[1, "x"]], [("value.type", "data[0]")]),
        ({"age": [1]}, [("value.type", "data")]),
        ("x", [("value.type", "data")]),
    ],
)
def test_frames(value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(PandasParameterType(FRAME), value) == expected


@pytest.mark.parametrize("orient", ["records", "split", "index", "columns", "values", "table"])
def test_a_frame_fits_as_pandas_writes_it(orient: str) -> None:
    kind = PandasParameterType(FRAME, orient=orient)
    assert found(kind, json.loads(FRAME.to_json(orient=orient))) == []


@pytest.mark.parametrize(
    ("orient", "value", "expected"),
    [
        ("split", {"columns": list(ROW), "data": [[1, "x", 2, "y"]]}, [("value.coercion", "data.data[0][3]")]),
        ("split", {"columns": list(ROW)[::-1], "data": [[True, 2, "x", 1]]}, []),
        ("split", {"columns": list(ROW), "data": [[1]]}, [("value.shape", "data.data[0]")]),
        ("split", {"data": []}, [("value.type", "data.columns")]),
        ("index", {"r": {**ROW, "age": None}}, [("value.type", "data.r.age")]),
        ("columns", {name: {"0": ROW[name]} for name in ("age", "name", "rate")}, [("columns.missing", "data")]),
        ("columns", {name: {"0": None} for name in ROW}, [("value.type", "data.age.0")]),
        (
            "columns",
            {**{name: {"0": ROW[name]} for name in ROW}, "rate": {"1": 2}},
            [("value.type", "data.age.1"), ("value.null", "data.name.1"), ("value.null", "data.rate.0")],
        ),
        ("split", {"columns": list(ROW), "index": [0], "data": []}, [("value.shape", "data.index")]),
        ("values", [[1, "x", 2, True, 5]], [("value.shape", "data[0]")]),
        ("table", {"data": 5}, [("value.type", "data.data")]),
        ("table", {"data": []}, [("value.type", "data.schema")]),
        ("table", {"data": [], "schema": {"fields": [{"name": name} for name in ROW]}}, []),
        (
            "split",
            {"columns": [*ROW, "more"], "data": [["1", "x", 2, True, 1]]},
            [("columns.extra", "data.columns"), ("value.coercion", "data.data[0][0]")],
        ),
    ],
)
def test_frames_in_other_orients(orient: str, value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(PandasParameterType(FRAME, orient=orient), value)[: len(expected) or 1] == expected


def test_what_a_sample_column_lacks_may_be_lacking() -> None:
    sample = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "f": [1.0, None],
            "s": ["a", None],
            "t": pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "c": pd.Categorical(["x", "y"]),
        }
    )
    kind = PandasParameterType(sample)
    assert found(kind, [dict.fromkeys(sample.columns)]) == [("value.null", "data[0].c")]
    assert found(kind, [{"n": 1, "f": NAN, "s": "b", "t": "2021-01-01", "c": "z"}]) == [("value.coercion", "data[0].c")]


@pytest.mark.parametrize(
    ("sample", "value", "expected"),
    [
        (1, 2, []),
        (1, 2.0, ["value.whole-float"]),
        (1, 2.5, ["value.type"]),
        (1, True, ["value.coercion"]),
        (1, "2", ["value.type"]),
        (1, None, ["value.type"]),
        (1.5, 2, []),
        (1.5, True, ["value.type"]),
        (1.5, NAN, ["value.not-finite"]),
        ("a", 1, ["value.type"]),
        (True, 1, ["value.type"]),
        (b"a", "YQ==", []),
        (b"a", 1, ["value.type"]),
        (datetime.datetime(2020, 1, 1), "2020-01-01", []),
        ([1], [1, "2"], ["value.described"]),
        ([1], {}, ["value.type"]),
        ([], [1, "2"], []),
        ({"a": 1, "b": "x"}, {"a": "1", "c": 1}, ["value.described", "value.missing"]),
        ({"a": array([1.0])}, {"a": ["x"]}, ["value.type"]),
        ({"a": StandardPythonParameterType({"b": array([1.0])})}, {"a": {"b": [True]}}, ["value.coercion"]),
        ([array([1.0])], [[1], ["1"]], ["value.coercion"]),
        ([array([1.0]), array(["x"], "U1")], [["x"]], ["value.type"]),
        ([1, {"a": 2.5}], [1, {"a": 1}, 2.0], ["value.whole-float"]),
        ([1, {"a": 2.5}], ["x"], ["value.type"]),
        ([{"a": 1}, {"b": 2}], [{"a": 1}, {"b": 1}, {}], ["value.missing"]),
        (NAN, NAN, []),
    ],
)
def test_standard_types(sample: Any, value: Any, expected: list[str]) -> None:
    assert [rule for rule, _ in found(StandardPythonParameterType(sample), value)] == expected


# one of each kind of column; values are written by pandas itself
COLUMNS: dict[str, Any] = {
    "integer": np.array([1, -7], dtype="int8"),
    "unsigned": np.array([1, 2**64 - 1], dtype="uint64"),
    "number": [0.5, 1e300],
    "single": np.array([3.4028235e38, 1], dtype="float32"),
    "missing": [1.5, NAN],
    "infinite": [1.5, float("inf")],
    "truth": [True, False],
    "text": ["a", "ü\n"],
    "object": [{"a": 1}, None],
    "lists": [[1], [2]],
    "category": pd.Categorical(["x", "y"]),
    "number category": pd.Categorical([1, 0]),
    "truth category": pd.Categorical([True, False]),
    "time category": pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02"])),
    "range": pd.cut([1, 3], 2),
    "nullable integer": pd.array([1, None], dtype="Int64"),
    "nullable number": pd.array([1.5, None], dtype="Float64"),
    "nullable truth": pd.array([True, None], dtype="boolean"),
    "nullable text": pd.array(["a", None], dtype="string"),
    "time": pd.to_datetime(["2020-01-01", None]),
    "time with zone": pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("UTC"),
    "duration": pd.to_timedelta(["1s", "2s"]),
    "sparse": pd.arrays.SparseArray([0, 1]),
}
LABELS = st.sampled_from([["a", "b", "c"], [2, 0, 1], ["index", "a.b", ""], ["ü\n", "a", "1"], ["a", "a", "b"]])
INDEXES: list[Any] = [None, ["r", "s"], pd.Index([3, 4], name="id"), pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])]
ORIENTS = st.sampled_from(["records", "split", "index", "columns", "values", "table"])


@given(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3), LABELS, st.sampled_from(INDEXES), ORIENTS)
def test_a_sample_frame_fits_itself(columns: list[str], labels: list[Any], index: Any, orient: Any) -> None:
    sample = pd.DataFrame({at: COLUMNS[name] for at, name in enumerate(columns)})
    sample.columns = pd.Index(labels[: len(columns)])
    if index is not None:
        sample.index = pd.Index(index)
    kind = PandasParameterType(sample, orient=orient)
    try:
        value = json.loads(sample.to_json(orient=orient, date_format="iso"))
    except (AttributeError, ValueError, NotImplementedError):  # names or rows that it cannot tell apart
        return
    assert found(kind, value) == []
    arranged(describe(kind), value)


DTYPES = ["?", "i1", "u1", "i8", "u8", "f2", "f4", "f8", ">f8", ">i4", "U3", "S3", "O"]
ARRAYS = st.tuples(st.sampled_from(DTYPES), array_shapes(max_dims=3, max_side=3)).flatmap(
    lambda of: arrays(of[0], of[1], elements=st.text("ab", max_size=3) if of[0] == "O" else None)
)


@given(ARRAYS, st.booleans(), st.sampled_from(["C", "F", "strided", "frozen"]))
def test_a_sample_array_fits_itself(sample: Any, enforced: bool, layout: str) -> None:
    if layout == "F":
        sample = np.asfortranarray(sample)
    elif layout == "strided":
        sample = np.repeat(sample, 2, axis=0)[::2]
    elif layout == "frozen":
        sample.flags.writeable = False
    texts = sample.astype("U3") if sample.dtype.kind == "S" and _is_ascii(sample) else sample
    if texts.dtype.kind == "S":
        return
    kind = NumpyParameterType(sample, enforce_shape=enforced)
    assert found(kind, json.loads(json.dumps(texts.tolist()))) == []


def _is_ascii(sample: Any) -> bool:
    return all(each.isascii() for each in sample.ravel().tolist())


PLAIN = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN.filter(lambda sample: sample is not None))
def test_a_plain_sample_fits_itself(sample: Any) -> None:
    kind = StandardPythonParameterType(sample)
    value = json.loads(json.dumps(sample))
    assert found(kind, value) == []
    assert json.dumps(arranged(describe(kind), value)) == json.dumps(sample)


@pytest.mark.parametrize(
    "labels", [["a", "a"], pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), pd.to_datetime([0, 1])]
)
def test_columns_that_json_cannot_name_are_not_looked_at(labels: Any) -> None:
    sample = pd.DataFrame([[1, 2]], columns=labels)
    assert describe(PandasParameterType(sample, orient="split")) == Unknown()


def test_what_a_frame_does_not_enforce_is_not_looked_at() -> None:
    untyped = PandasParameterType(FRAME, enforce_column_type=False)
    assert found(untyped, [{**ROW, "age": "1", "ok": None}]) == []
    assert found(untyped, [without("age")]) == [("columns.missing", "data")]
    loose = PandasParameterType(FRAME, enforce_shape=False)
    assert found(loose, [{"more": 1, **without("age")}]) == []
    assert found(loose, [{"age": "1"}]) == [("value.coercion", "data[0].age")]


@pytest.mark.parametrize("value", [True, 1.5, "1", [1], {"a": 1}, 2**70])
def test_what_is_no_category(value: Any) -> None:
    kind = PandasParameterType(pd.DataFrame({"c": pd.Categorical([0, 1])}))
    rule = "value.type" if isinstance(value, (list, dict)) else "value.coercion"
    assert found(kind, [{"c": value}]) == [(rule, "data[0].c")]


def test_declared_parameters_are_found_behind_decorators_of_the_users_own() -> None:
    class Timed:
        def __call__(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            return wrapped(*args, **kwargs)

    @functools.wraps(schema_run := input_schema("a", array([1.0]))(lambda a: a))
    def logged(**arguments: Any) -> Any:
        return schema_run(**arguments)

    assert [each.name for each in declared(logged)] == ["a"]
    assert [each.name for each in declared(wrapt.FunctionWrapper(logged, Timed()))] == ["a"]


def test_declared_parameters_are_found_behind_their_decorators() -> None:
    def plain(a: Any, b: Any, c: Any = None) -> None:
        """Only looked at."""

    run: Any = plain
    for decorate in (
        output_schema(StandardPythonParameterType(1)),
        input_schema("c", StandardPythonParameterType("x"), optional=True),
        input_schema("b", StandardPythonParameterType(1), convert_to_provided_type=False),
        input_schema("a", array([1.0])),
    ):
        run = decorate(run)
    assert declared(run) == (
        Parameter("a", describe(array([1.0])), converted=True, optional=False),
        Parameter("b", Scalar("integer", exact=True), converted=False, optional=False),
        Parameter("c", Scalar("string", exact=True), converted=True, optional=True),
    )
    assert declared(lambda data: data) == ()


@pytest.mark.parametrize(
    ("parameter_type", "value", "expected"),
    [
        (StandardPythonParameterType(1), 2.0, "2"),
        (StandardPythonParameterType({"a": 1, "b": [1]}), {"b": [3.0], "a": 2.0, "c": 1.0},
         '{"b": [3], "a": 2, "c": 1.0}'),
        (PandasParameterType(FRAME[["age", "name"]]), [{"name": "x", "age": 1}], '[{"age": 1, "name": "x"}]'),
        (
            PandasParameterType(FRAME[["age", "name"]], orient="split"),
            {"columns": ["name", "age"], "data": [["x", 1]]},
            '{"columns": ["age", "name"], "data": [[1, "x"]]}',
        ),
        (
            PandasParameterType(pd.DataFrame([[1, "x"]]), orient="split"),
            {"columns": [1, 0], "data": [["x", 1]]},
            '{"columns": [0, 1], "data": [[1, "x"]]}',
        ),
        (
            PandasParameterType(FRAME[["age", "name"]], enforce_shape=False),
            [{"more": 1, "name": "x", "age": 1}],
            '[{"more": 1, "name": "x", "age": 1}]',
        ),
        (StandardPythonParameterType([1, "x"]), [2.0, "y"], '[2, "y"]'),
        (PandasParameterType(FRAME[["age", "name"]], orient="values"), [[1, "x"]], '[[1, "x"]]'),
    ],
)  # fmt: skip
def test_what_strict_arranges(parameter_type: Any, value: Any, expected: str) -> None:
    assert json.dumps(arranged(describe(parameter_type), value)) == expected


@pytest.mark.parametrize(
    ("body", "key", "place"),
    [
        (b'{"a": 1, "a": 2}', "a", ""),
        (b'{"x": [0, {"b": 1, "c": 1, "b": 1}]}', "b", "x[1]"),
        (b'{"x": {"b": 1, "b": 1}, "x": 5}', "x", ""),
        (b'[{"a": {"b": 1, "b": 2}, "c": {"d": 1, "d": 2}}]', "b", "[0].a"),
    ],
)
def test_a_key_that_is_given_twice(body: bytes, key: str, place: str) -> None:
    with pytest.raises(Twice) as caught:
        read_once(body)
    assert (caught.value.key, caught.value.place) == (key, place)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_read_once_is_what_json_loads_reads(value: Any) -> None:
    assert json.dumps(read_once(json.dumps(value).encode())) == json.dumps(value)


DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?", fullmatch=True)


@given(st.lists(DIGITS | st.sampled_from(["-0", "-0.0", "1e400", "NaN", "true", "null", '"1"', "[1]"]), max_size=5))
def test_reading_fast_gives_the_same_array(numbers: list[str]) -> None:
    body = f'{{"data": [{", ".join(numbers)}]}}'.encode()
    kind = array([1.0])
    outcomes = []
    for read in (json.loads, reader([describe(kind)])):
        try:
            outcomes.append(kind.deserialize_input(read(body)["data"]).tobytes())
        except (ValueError, TypeError, OverflowError) as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "body", [b'{"data": [1', b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'"\\ud800"', b"[1e999]"]
)
def test_what_the_fast_one_refuses_is_read_as_ever(body: bytes) -> None:
    def outcome(read: Any) -> Any:
        try:
            return repr(read(body))
        except ValueError as error:
            return str(error)

    assert outcome(reader([Array((1,), Scalar("number"), floats=True)])) == outcome(json.loads)


FLOATS = reader([Array((1,), Scalar("number"), floats=True)])
# objects with names that come twice, colons in texts, and objects in objects
NESTED = st.recursive(
    st.sampled_from(["1.5", "null", '":"', '"a:b"', "[]"]),
    lambda inner: st.lists(st.tuples(st.sampled_from(["a", "b", ":"]), inner), max_size=3).map(
        lambda pairs: "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"
    ),
    max_leaves=6,
)


@given(NESTED, st.sampled_from(["utf-8", "utf-16"]))
def test_a_key_that_is_given_twice_is_seen_by_the_fast_one_too(text: str, encoding: str) -> None:
    def outcome(read: Any) -> Any:
        try:
            return repr(read(text.encode(encoding)))
        except Twice as twice:
            return (twice.key, twice.place)

    assert outcome(once(FLOATS)) == outcome(read_once)
