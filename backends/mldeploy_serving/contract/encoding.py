"""From what `run()` returns to the bytes of the answer.

What JSON can hold is written as `json.dumps` writes it, byte for byte, as the official server does. What it
cannot hold, and the official server answers with 500, is turned into the nearest that JSON can hold.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

_SIMPLE = (str, int, float, bool, type(None))


class Unsendable(Exception):
    """A response of the script's own that cannot be sent."""


class NotFinite(Exception):
    """A result holds NaN or an infinity.

    Args:
        place: Where, as `predictions[3]`.
        found: What it is.
    """

    def __init__(self, place: str, found: float) -> None:
        super().__init__(f"NaN or an infinity at {place}")
        self.place = place
        self.found = found


class Encoder:
    """Writes results as JSON.

    Args:
        contract: `v1` converts nothing; `strict` writes no NaN and no infinity.
        nan_as_null: NaN and infinities are written as `null`; else as `json.dumps` does, which is not JSON.
    """

    def __init__(self, contract: str = "compatible", *, nan_as_null: bool = False) -> None:
        self._nan_as_null = nan_as_null
        self._refuses_nan = contract == "strict" and not nan_as_null
        self._converts = contract != "v1"
        default = _plain_again if self._converts else None
        allow_nan = not (nan_as_null or self._refuses_nan)
        self._write = json.JSONEncoder(default=default, allow_nan=allow_nan).encode

    def encode(self, value: Any) -> bytes:
        """JSON for `value`.

        Raises:
            TypeError: It holds an object that JSON has nothing for.
            ValueError: It holds itself.
            NotFinite: It holds NaN or an infinity, and neither may be written.

        Examples:
            >>> Encoder().encode({"of": (1, float("nan"))})
            b'{"of": [1, NaN]}'
            >>> Encoder(nan_as_null=True).encode({"at": datetime.date(2021, 1, 31), "of": [float("inf")]})
            b'{"at": "2021-01-31", "of": [null]}'
        """
        if value is None:
            return b"{}"
        try:
            return self._write(value).encode()
        except (TypeError, ValueError):
            if not self._converts:
                raise
            # keys that are no text, NaN, or generators: rare enough to be looked for only now
            rebuilt = _rebuilt(value, self._nan_as_null)
            if self._refuses_nan:
                for place, found in _not_finite(rebuilt, ""):
                    raise NotFinite(place or "its top", found) from None
            return self._write(rebuilt).encode()


def _not_finite(value: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _not_finite(each, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _not_finite(each, f"{place}[{index}]")


def plain(value: Any) -> Any:
    """The nearest to `value` that is nearer to JSON.

    Raises:
        TypeError: There is none.
    """
    for types, convert in _CONVERSIONS:
        if isinstance(value, types):
            return convert(value)
    return _by_ability(value)


def _plain_again(value: Any) -> Any:
    """The same for what can be asked a second time; a generator would have nothing left to say."""
    if isinstance(value, Iterator):
        raise TypeError
    return plain(value)


def _by_ability(value: Any) -> Any:
    """For numpy, pandas, torch, pydantic and the like, none of which is imported here."""
    kind = type(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if kind.__name__ == "NAType":
        return None
    if kind.__module__.startswith("numpy") and getattr(value, "dtype", None) is not None:
        return _numpy(value)
    for name, options in _ABILITIES:
        if hasattr(kind, name):
            return getattr(value, name)(**options.get(kind.__name__, {}))
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"run() returned a {kind.__name__}, which JSON has nothing for")


def _numpy(value: Any) -> Any:
    """Times come out of `tolist()` as integers unless they are in microseconds."""
    nearest = {"M": "datetime64[us]", "m": "timedelta64[us]"}.get(value.dtype.kind)
    if value.dtype.char == "g":  # long double, of which `tolist()` makes itself
        nearest = "float64"
    return (value if nearest is None else value.astype(nearest)).tolist()


def _instant(value: datetime.date | datetime.time) -> str | None:
    text = value.isoformat()
    return None if text == "NaT" else text


def _seconds(value: datetime.timedelta) -> float | None:
    seconds = value.total_seconds()
    return None if math.isnan(seconds) else seconds


_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((datetime.date, datetime.time), _instant),
    (datetime.timedelta, _seconds),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode()),
    ((set, frozenset), list),
    (decimal.Decimal, float),
    (enum.Enum, lambda value: value.value),
    ((uuid.UUID, PurePath), str),
    (Mapping, dict),
)
_ABILITIES: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("tolist", {}),
    ("model_dump", {}),
    ("to_dicts", {}),
    ("to_dict", {"DataFrame": {"orient": "records"}}),
)


def _rebuilt(value: Any, nan_as_null: bool) -> Any:
    """`value` with keys that are text; other objects are left to `plain`, and looked into as well."""
    if isinstance(value, float):
        return None if nan_as_null and not math.isfinite(value) else value
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, dict):
        return {_key(key): _rebuilt(each, nan_as_null) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rebuilt(each, nan_as_null) for each in value]
    return _rebuilt(plain(value), nan_as_null)


def _key(key: Any) -> Any:
    if isinstance(key, float) and not math.isfinite(key):
        return json.dumps(key)  # as a key it is text, and so JSON
    if isinstance(key, _SIMPLE):
        return key
    near = plain(key) if not isinstance(key, tuple) else str(key)
    return near if isinstance(near, _SIMPLE) else str(near)
