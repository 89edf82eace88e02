"""From the bytes of a body to the JSON value that they hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mldeploy_serving.contract.parameters import Array, Declared


class Twice(Exception):
    """A key is given twice in one object.

    Args:
        key: The key.
        place: The object that has it, as `data[0]`; empty for the body itself.
    """

    def __init__(self, key: str, place: str) -> None:
        super().__init__(key, place)
        self.key = key
        self.place = place


def reader(types: Sequence[Declared | None]) -> Callable[[bytes], Any]:
    """What reads bodies for parameters of these types as `json.loads` does, but as fast as it can.

    orjson takes a third of the time. It reads integers of more than 64 bit as floating-point numbers, so it is for
    bodies in which every number becomes one anyway; what it refuses, and `json.loads` may not, is read once more.

    Args:
        types: The types of all parameters of `run()`; None for one that was not declared.

    Raises:
        ValueError: What it reads is not JSON; raised by the returned function, as is RecursionError.
    """
    if not types or not all(isinstance(each, Array) and each.floats for each in types):
        return json.loads
    try:
        import orjson
    except ImportError:  # no wheel for this machine
        return json.loads

    def read(body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return json.loads(body)

    return read


def read_once(body: bytes) -> Any:
    """The same as `json.loads`, where no key may be given twice.

    Raises:
        Twice: One is.
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.

    Examples:
        >>> read_once(b'{"a": [{"b": 1, "b": 2}]}')
        Traceback (most recent call last):
        mldeploy_serving.contract.reading.Twice: ('b', 'a[0]')
    """
    found: list[_Object] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            times = Counter(name for name, _ in pairs)
            built = _Object(built)
            built.twice = next(name for name in built if times[name] > 1)
            found.append(built)
        return built

    value = json.loads(body, object_pairs_hook=build)
    if found:
        # one inside another that was given twice is no longer there
        raise next(_places(value, ""), Twice(found[0].twice, ""))
    return value


def once(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """What reads as `read` does, where no key may be given twice: as `read_once`, but faster for flat bodies."""
    if read is json.loads:
        return read_once

    def read_checked(body: bytes) -> Any:
        value = read(body)
        # Each name in a body has a colon: where there are as many as different names at the top, none is there twice.
        if isinstance(value, dict) and body.count(b":") == len(value):
            return value
        return read_once(body)

    return read_checked


class _Object(dict[str, Any]):
    """An object that was given a key twice, and that key."""

    twice = ""


def _places(value: Any, place: str) -> Iterator[Twice]:
    if isinstance(value, dict):
        if isinstance(value, _Object):
            yield Twice(value.twice, place)
        for name, each in value.items():
            yield from _places(each, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, f"{place}[{index}]")
