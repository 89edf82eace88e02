"""How an answer differs from the one a sample gives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

MOST_SHOWN = 10


def differences(expected: Any, actual: Any, rtol: float, atol: float, at: str = "answer") -> Iterator[str]:
    """Every place where two JSON values differ, one line each.

    Args:
        expected: What the sample gives.
        actual: What the service gave.
        rtol: How far numbers may be apart, as a part of the expected one.
        atol: How far they may be apart besides.
        at: What the values are called.

    Examples:
        >>> list(differences({"a": [1, 2.0]}, {"a": [1, 2.5]}, rtol=0.1, atol=0))
        ['answer.a[1]: expected 2.0, got 2.5 (0.5 apart, 0.2 allowed)']
        >>> list(differences([1.0], [1.05], rtol=0.1, atol=0))
        []
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in dict.fromkeys([*expected, *actual]):
            if key in expected and key in actual:
                yield from differences(expected[key], actual[key], rtol, atol, f"{at}.{key}")
            else:
                word, one = ("is missing", expected) if key in expected else ("was not expected", actual)
                yield f"{at}.{key} {word}: {_shown(one[key])}"
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{at}: expected {len(expected)} items, got {len(actual)}"
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(one, other, rtol, atol, f"{at}[{index}]")
    elif _is_number(expected) and _is_number(actual):
        allowed = atol + rtol * abs(expected)
        apart = abs(actual - expected)
        if not (apart <= allowed or expected == actual or (math.isnan(expected) and math.isnan(actual))):
            yield f"{at}: expected {expected}, got {actual} ({apart:.6g} apart, {allowed:.6g} allowed)"
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{at}: expected {_shown(expected)}, got {_shown(actual)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"
