"""Results that JSON cannot hold."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy_serving.contract.encoding import Encoder


@dataclasses.dataclass
class Point:
    x: int
    at: datetime.date


class Colour(enum.Enum):
    RED = "red"


class Model:
    def model_dump(self) -> dict[str, int]:
        return {"a": 1}


FRAME = pd.DataFrame({"a": [1, 2], "at": pd.to_datetime(["2021-01-31", None])})


@pytest.mark.holds("result.encoded")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([[1, 2]]), "[[1, 2]]"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (np.array(["2021-01-31", "NaT"], "datetime64[D]"), '["2021-01-31T00:00:00", null]'),
        (np.array([1500], "timedelta64[ms]"), "[1.5]"),
        (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "[[1, 2.0]]"),
        (FRAME, '[{"a": 1, "at": "2021-01-31T00:00:00"}, {"a": 2, "at": null}]'),
        (FRAME["a"], "[1, 2]"),
        (pd.Series([1, None], dtype="Int64"), "[1, null]"),
        (pd.Timestamp("2021-01-31", tz="UTC"), '"2021-01-31T00:00:00+00:00"'),
        ({np.int64(1): 2}, '{"1": 2}'),
        ({datetime.date(2021, 1, 31): 2}, '{"2021-01-31": 2}'),
        (datetime.timedelta(minutes=1), "60.0"),
        (decimal.Decimal("1.5"), "1.5"),
        (Colour.RED, '"red"'),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (PurePosixPath("a/b"), '"a/b"'),
        (Point(1, datetime.date(2021, 1, 31)), '{"x": 1, "at": "2021-01-31"}'),
        (Model(), '{"a": 1}'),
        (range(3), "[0, 1, 2]"),
        (memoryview(b"a"), '"YQ=="'),
    ],
)
def test_the_nearest_that_json_can_hold(value: Any, text: str) -> None:
    assert Encoder().encode({"v": value}).decode() == f'{{"v": {text}}}'


@pytest.mark.holds("result.unencodable")
@pytest.mark.parametrize("value", [object(), 1j, int, {"a": [object()]}])
def test_what_json_has_nothing_for(value: Any) -> None:
    with pytest.raises(TypeError, match="which JSON has nothing for"):
        Encoder().encode(value)


@pytest.mark.holds("result.nan-as-null")
def test_null_for_nan_wherever_it_is() -> None:
    value = {"a": np.array([1.0, np.nan]), "b": (float("-inf"), {"c": float("nan")})}
    assert Encoder(nan_as_null=True).encode(value) == b'{"a": [1.0, null], "b": [null, {"c": null}]}'


@pytest.mark.parametrize("encoder", [Encoder(), Encoder("strict"), Encoder(nan_as_null=True)])
def test_a_key_that_is_not_finite_is_text_as_every_key(encoder: Encoder) -> None:
    """As in `series.value_counts(dropna=False).to_dict()`."""
    assert encoder.encode({float("nan"): 3, 1.5: 1}) == b'{"NaN": 3, "1.5": 1}'


@pytest.mark.parametrize("value", [np.longdouble(1.5), np.array([1.5], dtype="g")])
def test_long_doubles_are_numbers(value: Any) -> None:
    assert json.loads(Encoder().encode([value])) in ([1.5], [[1.5]])


def test_generators_are_asked_once() -> None:
    def numbers() -> Iterator[float]:
        yield from (1.0, float("nan"))

    assert Encoder().encode({"a": numbers(), "b": [numbers()]}) == b'{"a": [1.0, NaN], "b": [[1.0, NaN]]}'
    assert Encoder(nan_as_null=True).encode([numbers()]) == b"[[1.0, null]]"
    assert Encoder().encode({(1, 2): numbers()}) == b'{"(1, 2)": [1.0, NaN]}'


def test_a_generator_that_fails_fails() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        Encoder().encode(failing())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.floats() | st.booleans(), inner),
    max_leaves=20,
)


@pytest.mark.holds("result.json")
@given(VALUES.filter(lambda value: value is not None))
def test_what_json_can_hold_is_what_json_dumps_writes(value: Any) -> None:
    assert Encoder().encode(value) == json.dumps(value).encode()
