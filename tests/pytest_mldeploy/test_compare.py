"""How answers are compared with those of samples."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mldeploy._compare import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert list(differences(value, value, rtol=0, atol=0)) == []


@given(JSON, JSON)
def test_what_differs_one_way_differs_the_other_way(one: Any, other: Any) -> None:
    found = list(differences(one, other, rtol=0, atol=0))
    assert len(found) == len(list(differences(other, one, rtol=0, atol=0)))


@given(st.floats(-1e9, 1e9), st.floats(0, 1), st.floats(0, 1))
def test_numbers_may_be_apart_by_the_tolerance(number: float, rtol: float, atol: float) -> None:
    allowed = atol + rtol * abs(number)
    assert list(differences(number, number + allowed * 0.99, rtol, atol + 1e-6)) == []
    assert list(differences(number, number + allowed * 1.01 + 1e-3, rtol, atol)) != []


@pytest.mark.parametrize(
    ("expected", "actual", "line"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "answer.a[1].b: expected 2, got 3 (1 apart, 0.02 allowed)"),
        ([1, 2], [1], "answer: expected 2 items, got 1"),
        ({"a": 1}, {}, "answer.a is missing: 1"),
        ({}, {"a": "x"}, 'answer.a was not expected: "x"'),
        (True, 1, "answer: expected true, got 1"),
        (1, "1", 'answer: expected 1, got "1"'),
        (None, [], "answer: expected null, got []"),
        ("a", b"a", 'answer: expected "a", got "b\'a\'"'),
        (1.0, math.nan, "answer: expected 1.0, got nan (nan apart, 0.01 allowed)"),
    ],
)
def test_each_difference_is_one_line(expected: Any, actual: Any, line: str) -> None:
    assert list(differences(expected, actual, rtol=0.01, atol=0)) == [line]
