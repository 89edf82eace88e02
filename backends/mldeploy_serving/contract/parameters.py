"""The parameters that an entry script declares by `inference-schema`, as plain values.

The package keeps only swagger documents of them. The parameter types themselves, with their samples, live in the
closures of the decorators' wrappers (inference-schema 1.1 to 1.8, observed), which is where they are read from.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Scalar:
    """One value.

    Args:
        kind: `integer`, `number`, `boolean`, `string`, `text form` (dates and the like, which JSON has as text) or
            `any`.
        minimum: The least value; None where there is none.
        maximum: The greatest one; of a string the greatest number of characters.
        takes_null: The sample has a missing value, or the type holds any object.
        takes_not_finite: The sample has a NaN or an infinity.
        exact: Values are not converted: only those of the very type are taken.
        categories: The only values there are; empty where any is taken.
    """

    kind: str
    minimum: float | None = None
    maximum: float | None = None
    takes_null: bool = False
    takes_not_finite: bool = False
    exact: bool = False
    categories: frozenset[Any] = frozenset()


@dataclass(frozen=True)
class Array:
    """A numpy array.

    Args:
        shape: The sample's; the first dimension is free.
        items: Its elements: one value, or a record of fields.
        enforced: The shape has to be the sample's.
        floats: Its elements are IEEE numbers of at most 64 bit, whatever was sent.
    """

    shape: tuple[int, ...]
    items: Scalar | Record
    enforced: bool = True
    floats: bool = False


@dataclass(frozen=True)
class Record:
    """An element of a numpy array with fields: an object by name, or an array in their order."""

    fields: tuple[tuple[str, Scalar | Record], ...]


@dataclass(frozen=True)
class Frame:
    """A pandas data frame.

    Args:
        columns: The sample's, by name.
        orient: How it is written in JSON: `records`, `split`, `index`, `columns`, `values` or `table`.
        enforced: There have to be as many columns as in the sample.
    """

    columns: tuple[tuple[str, Scalar], ...]
    orient: str
    enforced: bool = True


@dataclass(frozen=True)
class Object:
    """A dict: the sample's keys, of which those that have a parameter type are converted."""

    fields: tuple[tuple[str, Declared], ...]


@dataclass(frozen=True)
class Items:
    """A list, with what each of its elements may be; empty where nothing is known of them."""

    items: tuple[Declared, ...]


@dataclass(frozen=True)
class Unknown:
    """A type of which nothing is known here (Spark, users' own, columns that JSON cannot name): it is not checked."""


Declared: TypeAlias = Scalar | Array | Frame | Object | Items | Unknown


@dataclass(frozen=True)
class Parameter:
    """A declared parameter of `run()`.

    Args:
        name: Its name.
        type: What it is.
        converted: Its values are converted to that type.
        optional: A missing or falsy value is left alone.
    """

    name: str
    type: Declared
    converted: bool
    optional: bool


def declared(run: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The declared parameters of an entry script's `run`, those of `@output_schema` not among them."""
    return tuple(_parameters(run))


def _parameters(run: Any) -> Iterator[Parameter]:
    while hasattr(run, "__wrapped__"):
        free = _closure(getattr(run, "_self_wrapper", None))
        if {"param_name", "param_type"} <= free.keys():
            converts, optional = free.get("convert_to_provided_type", True), free.get("optional", False)
            yield Parameter(free["param_name"], describe(free["param_type"]), converts, optional)
        run = run.__wrapped__


def _closure(wrapper: Any) -> dict[str, Any]:
    """What a function finds around it by name; of a wrapper of the user's own that need not be a function, nothing."""
    names, cells = getattr(getattr(wrapper, "__code__", None), "co_freevars", ()), getattr(wrapper, "__closure__", ())
    return {name: cell.cell_contents for name, cell in zip(names, cells or (), strict=False) if cell != CellType()}


def describe(parameter_type: Any) -> Declared:
    """A parameter type of inference-schema as a plain value."""
    name = type(parameter_type).__name__
    sample: Any = getattr(parameter_type, "sample_input", None)
    if name == "NumpyParameterType":
        return _array(parameter_type, sample)
    if name == "PandasParameterType":
        return _frame(parameter_type, sample)
    if name == "StandardPythonParameterType":
        return _standard(sample)
    return Unknown()


def _array(parameter_type: Any, sample: Any) -> Declared:
    if not parameter_type.enforce_column_type:
        return Unknown()
    floats = sample.dtype.kind == "f" and sample.dtype.itemsize <= 8
    return Array(sample.shape, _element(sample.dtype, sample), parameter_type.enforce_shape, floats)


def _frame(parameter_type: Any, sample: Any) -> Declared:
    names = [str(label) for label in sample.columns]
    by_name = all(isinstance(label, (str, int, float)) for label in sample.columns) and len(set(names)) == len(names)
    if not by_name or parameter_type.apply_column_names:
        return Unknown()
    typed = parameter_type.enforce_column_type
    columns = tuple(
        (name, _column(sample[label]) if typed else _ANY) for name, label in zip(names, sample, strict=True)
    )
    return Frame(columns, getattr(parameter_type, "orient", "records"), parameter_type.enforce_shape)


def _element(dtype: Any, sample: Any) -> Scalar | Record:
    if dtype.names:
        return Record(tuple((name, _element(dtype[name], sample[name])) for name in dtype.names))
    kind = dtype.kind
    if kind in "iu":
        bits = 8 * dtype.itemsize
        least, greatest = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return Scalar("integer", least, greatest)
    if kind == "f":
        return _number(sample, _GREATEST.get(dtype.itemsize))
    if kind in "US":
        return Scalar("string", maximum=dtype.itemsize // (4 if kind == "U" else 1))
    kinds = {"b": "boolean", "M": "text form", "m": "text form"}
    return Scalar(kinds.get(kind, "any"), takes_null=kind == "O")


def _number(sample: Any, greatest: float | None) -> Scalar:
    """A floating-point number; what the sample itself has in place of a number is taken."""
    missing = bool((sample != sample).any())  # noqa: PLR0124 - NaN is not itself
    infinite = bool((abs(sample) == float("inf")).any())
    return Scalar(
        "number",
        minimum=None if greatest is None else -greatest,
        maximum=greatest,
        takes_null=missing,
        takes_not_finite=missing or infinite,
    )


def _column(series: Any) -> Scalar:
    dtype = series.dtype
    missing = bool(series.isna().any())
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        known = frozenset(categories.tolist())
        in_json = all(isinstance(each, (str, int, float)) for each in known)  # bool is an int
        return Scalar("any", takes_null=missing, categories=known) if in_json else _ANY
    kind = getattr(dtype, "kind", "O")
    nullable = missing or not hasattr(dtype, "itemsize") or type(dtype).__module__.startswith("pandas")
    if kind in "iuf" and str(dtype).lower() in _BITS:
        low, high = _BITS[str(dtype).lower()]
        if kind == "f":
            not_finite = missing or bool((abs(series) == float("inf")).any())  # pandas writes an infinity as null
            return Scalar("number", low, high, takes_null=nullable or not_finite, takes_not_finite=not_finite)
        return Scalar("integer", low, high, takes_null=nullable)
    if kind == "b":
        return Scalar("boolean", takes_null=nullable)
    if kind in "mM":
        return Scalar("text form", takes_null=True)  # a missing time is as good as any: NaT
    texts = all(isinstance(value, str) for value in series.dropna())
    return Scalar("string" if texts and len(series) else "any", takes_null=missing or not texts)


_ANY = Scalar("any", takes_null=True)
_GREATEST = {2: 65504.0, 4: 3.4028234663852886e38, 8: sys.float_info.max}
_BITS: dict[str, tuple[float | None, float | None]] = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"float{8 * size}": (-greatest, greatest) for size, greatest in _GREATEST.items()},
}
_STANDARD = {bool: "boolean", int: "integer", float: "number", str: "string"}
_TEXT_FORMS = (bytes, bytearray, datetime.date, datetime.time)


def _standard(sample: Any) -> Declared:
    if hasattr(sample, "deserialize_input"):  # a parameter type inside another one
        return describe(sample)
    if isinstance(sample, dict):
        return Object(tuple((str(key), _standard(value)) for key, value in sample.items()))
    if isinstance(sample, list):
        # of several parameter types the first one is what all elements are converted to
        converted = [each for each in sample if hasattr(each, "deserialize_input")][:1]
        return Items(tuple(dict.fromkeys(map(_standard, converted or sample))))
    if type(sample) in _STANDARD:
        not_finite = isinstance(sample, float) and not math.isfinite(sample)
        return Scalar(_STANDARD[type(sample)], takes_not_finite=not_finite, exact=True)
    if isinstance(sample, _TEXT_FORMS):
        return Scalar("text form", exact=True)
    return Unknown()
