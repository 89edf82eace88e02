"""What there is about a value that does not fit what was declared for it.

Each finding goes by a rule of the contract's table, which says what becomes of a request under each contract: some
are refused by all, some are converted silently as the official server does, and refused by `strict`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mldeploy_serving.contract.parameters import Array, Declared, Frame, Items, Object, Record, Scalar

_SHOWN = 40


@dataclass(frozen=True)
class Finding:
    """Something that does not fit.

    Args:
        rule: The rule's id in the table.
        place: Where, as `data[0][2]` or `frame[3].age`.
        said: What the rule's message has places for.
    """

    rule: str
    place: str
    said: tuple[tuple[str, str], ...]


def findings(declared: Declared, value: Any, place: str) -> Iterator[Finding]:
    """What does not fit about a value, the first thing first.

    Args:
        declared: What was declared.
        value: What JSON had for it.
        place: Its name.

    Examples:
        >>> [each.rule for each in findings(Scalar("integer", 0, 255), 256, "data")]
        ['value.range']
        >>> [each.place for each in findings(Array((1, 2), Scalar("number")), [[1, 2], [3, "4"]], "data")]
        ['data[1][1]']
    """
    if isinstance(declared, Scalar):
        return _scalar(declared, value, place)
    if isinstance(declared, Array):
        return _array(declared, value, place)
    if isinstance(declared, Frame):
        return _frame(declared, value, place)
    if isinstance(declared, Object):
        return _object(declared, value, place)
    if isinstance(declared, Items):
        return _items(declared, value, place)
    return iter(())


def _finding(rule: str, place: str, **said: object) -> Finding:
    return Finding(rule, place, tuple((name, str(text)) for name, text in said.items()))


def shown(value: Any) -> str:
    """A value in a message: short, in JSON's words.

    Examples:
        >>> shown(None), shown(True), shown([1, 2]), shown("x"), shown(float("-inf"))
        ('null', 'true', 'an array', "'x'", '-Infinity')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 1000:
        return "an integer of more than 300 digits"
    text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


# one value


def _scalar(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    kind = declared.kind
    if value is None:
        yield from _null(declared, place)
    elif declared.categories:
        if not _is_one_of(declared.categories, value):
            expected = f"one of {', '.join(sorted(map(repr, declared.categories))[:10])}"
            rule = "value.type" if isinstance(value, (list, dict)) else "value.coercion"
            yield _finding(rule, place, expected=expected, found=shown(value))
    elif kind != "any":
        yield from _KINDS[kind](declared, value, place)


def _is_one_of(categories: frozenset[Any], value: Any) -> bool:
    """Whether it is there; `true` is no 1, though it equals it in Python."""
    if isinstance(value, (list, dict)) or value not in categories:
        return False
    if value not in {0, 1}:
        return True
    return any(each == value and isinstance(each, bool) == isinstance(value, bool) for each in categories)


def _null(declared: Scalar, place: str) -> Iterator[Finding]:
    if declared.takes_null or (declared.kind == "any" and not declared.categories):
        return
    if declared.exact or declared.kind == "integer":
        yield _finding("value.type", place, expected=_an(declared.kind), found="null")
    else:
        yield _finding("value.null", place)


def _an(kind: str) -> str:
    return {"integer": "an integer", "text form": "text"}.get(kind, f"a {kind}")


def _other(declared: Scalar, value: Any, place: str, *, converted: bool) -> Finding:
    rule = "value.coercion" if converted and not declared.exact else "value.type"
    return _finding(rule, place, expected=_an(declared.kind), found=shown(value))


def _integer(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    if isinstance(value, bool):
        # an int to Python, also where the very type is asked for
        yield _finding("value.coercion", place, expected="an integer", found=shown(value))
    elif isinstance(value, float):
        yield from _whole(declared, value, place)
    elif not isinstance(value, int):
        yield _other(declared, value, place, converted=_parses(int, value))
    else:
        yield from _range(declared, value, place)


def _whole(declared: Scalar, value: float, place: str) -> Iterator[Finding]:
    if not math.isfinite(value):
        yield _finding("value.type", place, expected="an integer", found=shown(value))
    elif not value.is_integer():
        yield _finding("value.type" if declared.exact else "value.fraction", place, expected="an integer", found=value)
    elif declared.exact:
        yield _finding("value.whole-float", place, found=value)
    else:
        yield from _range(declared, value, place)


def _range(declared: Scalar, value: float, place: str) -> Iterator[Finding]:
    low, high = declared.minimum, declared.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        yield _finding("value.range", place, expected=f"{shown(low)} to {shown(high)}", found=shown(value))


def _number(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    if isinstance(value, bool):
        yield _other(declared, value, place, converted=True)
    elif isinstance(value, float) and not math.isfinite(value):
        if not declared.takes_not_finite:
            yield _finding("value.not-finite", place, found=shown(value))
    elif not isinstance(value, (int, float)):
        yield _other(declared, value, place, converted=_parses(float, value))
    else:
        yield from _range(declared, value, place)


def _boolean(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, bool):
        yield _other(declared, value, place, converted=not isinstance(value, (list, dict)))


def _string(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield _other(declared, value, place, converted=not isinstance(value, (list, dict)))
    elif declared.maximum is not None and len(value) > declared.maximum:
        yield _finding(
            "value.coercion", place, expected=f"at most {declared.maximum:g} characters", found=f"{len(value)} of them"
        )


def _text_form(declared: Scalar, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield _other(declared, value, place, converted=not isinstance(value, (list, dict)))


def _parses(kind: type[int] | type[float], value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        kind(value)
    except ValueError:
        return False
    return True


_KINDS = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "text form": _text_form,
}


# arrays


def _array(declared: Array, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield _finding("value.type", place, expected="an array", found=shown(value))
    elif declared.enforced and _depth(value, declared.items) != len(declared.shape):
        found = _depth(value, declared.items)
        yield _finding("value.dimensions", place, expected=len(declared.shape), found=found)
    else:
        yield from _dimension(_shape(declared, value), declared.items, value, place)


def _shape(declared: Array, value: Any) -> tuple[int, ...]:
    """The declared one, or where that is not enforced the one that the first elements have."""
    if declared.enforced:
        return declared.shape
    sizes = []
    for _ in range(_depth(value, declared.items)):
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)


def _depth(value: Any, items: Scalar | Record) -> int:
    """How many arrays are in each other, as far as the first elements tell."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        if not value:
            break
        value = value[0]
    # a record may be written as an array
    return depth - 1 if isinstance(items, Record) and not isinstance(value, dict) and depth > 1 else depth


def _dimension(
    shape: tuple[int, ...], items: Scalar | Record, value: list[Any], place: str, at: int = 0
) -> Iterator[Finding]:
    if at > 0 and len(value) != shape[at]:
        yield _finding("value.shape", place, expected=shape[at], found=len(value))
    elif at + 1 < len(shape):
        for index, each in enumerate(value):
            if isinstance(each, list):
                yield from _dimension(shape, items, each, f"{place}[{index}]", at + 1)
            else:
                expected = f"an array of {shape[at + 1]}"
                yield _finding("value.type", f"{place}[{index}]", expected=expected, found=shown(each))
    elif not (isinstance(items, Scalar) and _all_fit(items, value)):
        for index, each in enumerate(value):
            yield from _element(items, each, f"{place}[{index}]")


def _all_fit(declared: Scalar, row: list[Any]) -> bool:
    """The same as looking at each number, many times as fast; False where one has to look."""
    kinds = set(map(type, row))
    if declared.kind == "number":
        fits = kinds <= {int} or (kinds <= {int, float} and _all_finite(row))
    else:
        fits = declared.kind == "integer" and kinds <= {int}
    if not fits or not row:
        return fits
    low, high = declared.minimum, declared.maximum
    return (low is None or min(row) >= low) and (high is None or max(row) <= high)


def _all_finite(row: list[Any]) -> bool:
    try:
        return all(map(math.isfinite, row))
    except OverflowError:  # an integer that is no float
        return False


def _element(declared: Scalar | Record, value: Any, place: str) -> Iterator[Finding]:
    if isinstance(declared, Scalar):
        if isinstance(value, (list, dict)) and declared.kind != "any":
            yield _finding("value.type", place, expected=_an(declared.kind), found=shown(value))
        else:
            yield from _scalar(declared, value, place)
    elif isinstance(value, dict):
        yield from _names(dict(declared.fields), [value], place)
        for name, field in declared.fields:
            if name in value:
                yield from _element(field, value[name], f"{place}.{name}")
    elif not isinstance(value, list):
        yield _finding("value.type", place, expected="an object", found=shown(value))
    elif len(value) < len(declared.fields):
        yield _finding("value.shape", place, expected=len(declared.fields), found=len(value))
    else:
        for (_, field), each, index in zip(declared.fields, value, itertools.count(), strict=False):
            yield from _element(field, each, f"{place}[{index}]")


# frames


def _frame(declared: Frame, value: Any, place: str) -> Iterator[Finding]:
    of_rows = declared.orient in {"records", "values"}
    if not isinstance(value, list if of_rows else dict):
        expected = "an array of rows" if of_rows else f"an object (orient {declared.orient!r})"
        yield _finding("value.type", place, expected=expected, found=shown(value))
    else:
        found = _ORIENTS[declared.orient](dict(declared.columns), value, place)
        yield from found if declared.enforced else (each for each in found if each.rule not in _OF_SHAPE)


def _index(columns: dict[str, Scalar], value: dict[str, Any], place: str) -> Iterator[Finding]:
    return _records(columns, value.values(), place, [f"{place}.{label}" for label in value])


def _table(columns: dict[str, Scalar], value: dict[str, Any], place: str) -> Iterator[Finding]:
    """Rows whose columns, and which of them are the index, are said by a schema beside them."""
    schema = value.get("schema")
    fields = schema.get("fields") if isinstance(schema, dict) else None
    broken = _part(value, "data", place)
    if broken:
        yield from broken
    elif not isinstance(schema, dict) or not isinstance(fields, list):
        yield _finding("value.type", f"{place}.schema", expected="an object with fields", found=shown(schema))
    else:
        index = schema.get("primaryKey", [])
        index = index if isinstance(index, list) else [index]
        names = [str(each.get("name")) for each in fields if isinstance(each, dict) and each.get("name") not in index]
        yield from _names(columns, [dict.fromkeys(names)], f"{place}.schema")
        there = {name: column for name, column in columns.items() if name in names}
        yield from _cells(there, value["data"], [f"{place}.data[{at}]" for at in range(len(value["data"]))])


def _part(value: dict[str, Any], name: str, place: str) -> list[Finding]:
    if isinstance(value.get(name), list):
        return []
    return [_finding("value.type", f"{place}.{name}", expected="an array", found=shown(value.get(name)))]


def _records(
    columns: dict[str, Scalar], rows: Iterable[Any], place: str, places: list[str] | None = None
) -> Iterator[Finding]:
    rows = list(rows)
    places = places or [f"{place}[{index}]" for index in range(len(rows))]
    objects = [row for row in rows if isinstance(row, dict)]
    if objects or not rows:
        yield from _names(columns, objects, place)
        columns = {name: column for name, column in columns.items() if any(name in row for row in objects)}
    yield from _cells(columns, rows, places)


def _cells(columns: dict[str, Scalar], rows: list[Any], places: list[str]) -> Iterator[Finding]:
    for row, at in zip(rows, places, strict=True):
        if isinstance(row, dict):
            for name, column in columns.items():
                yield from (
                    _scalar(column, row.get(name), f"{at}.{name}") if name in row else _null(column, f"{at}.{name}")
                )
        else:
            rule = "value.coercion" if isinstance(row, list) and len(row) == len(columns) else "value.type"
            yield _finding(rule, at, expected="an object", found=shown(row))


def _names(columns: dict[str, Any], rows: list[dict[str, Any]], place: str) -> Iterator[Finding]:
    """Which names there are in all rows together: that is what the official server counts."""
    found = dict.fromkeys(str(name) for row in rows for name in row)
    missing = [name for name in columns if name not in found]
    extra = [name for name in found if name not in columns]
    for name in missing if len(missing) > len(extra) or not extra else ():
        yield _finding("columns.missing", place, column=name)
    for name in extra:
        rule = "columns.renamed" if len(missing) == len(extra) else "columns.extra"
        yield _finding(rule, place, column=name)


def _rows(columns: dict[str, Scalar], rows: list[Any], place: str) -> Iterator[Finding]:
    for index, row in enumerate(rows):
        at = f"{place}[{index}]"
        if not isinstance(row, list):
            yield _finding("value.type", at, expected=f"an array of {len(columns)}", found=shown(row))
        elif len(row) != len(columns):
            yield _finding("value.shape", at, expected=len(columns), found=len(row))
        else:
            for column, each, number in zip(columns.values(), row, itertools.count(), strict=False):
                yield from _scalar(column, each, f"{at}[{number}]")


def _by_column(columns: dict[str, Scalar], value: dict[str, Any], place: str) -> Iterator[Finding]:
    yield from _names(columns, [value], place)
    labels = dict.fromkeys(label for cells in value.values() if isinstance(cells, dict) for label in cells)
    for name, column in columns.items():
        if name not in value:
            continue
        cells = value[name]
        if isinstance(cells, dict):
            for label in labels:  # of all columns: a cell that is not there is as good as null
                yield from _scalar(column, cells.get(label), f"{place}.{name}.{label}")
        else:
            yield _finding("value.type", f"{place}.{name}", expected="an object by row", found=shown(cells))


def _split(columns: dict[str, Scalar], value: dict[str, Any], place: str) -> Iterator[Finding]:
    broken = [*_part(value, "columns", place), *_part(value, "data", place)]
    if broken:
        yield from broken
        return
    names = [str(name) for name in value["columns"]]
    yield from _names(columns, [dict.fromkeys(names)], f"{place}.columns")
    index, rows = value.get("index"), value["data"]
    if isinstance(index, list) and len(index) != len(rows):
        yield _finding("value.shape", f"{place}.index", expected=len(rows), found=len(index))
    if len(set(names)) == len(names):
        there = {name: columns.get(name, Scalar("any")) for name in names}
        yield from _rows(there, rows, f"{place}.data")


_OF_SHAPE = {"columns.missing", "columns.extra", "columns.renamed"}
_ORIENTS: dict[str, Callable[[dict[str, Scalar], Any, str], Iterator[Finding]]] = {
    "records": _records,
    "split": _split,
    "index": _index,
    "columns": _by_column,
    "values": _rows,
    "table": _table,
}


# plain Python values


def _object(declared: Object, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _finding("value.type", place, expected="an object", found=shown(value))
        return
    for name, field in declared.fields:
        if name in value:
            yield from _inside(field, value[name], f"{place}.{name}")
        else:
            yield _finding("value.missing", f"{place}.{name}")


def _items(declared: Items, value: Any, place: str) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield _finding("value.type", place, expected="an array", found=shown(value))
    elif declared.items:
        for index, each in enumerate(value):
            yield from _inside(fitting(declared.items, each), each, f"{place}[{index}]")


def fitting(several: tuple[Declared, ...], value: Any) -> Declared:
    """The first of several types that a value fits, else the last, which is what the swagger documents describe."""
    if len(several) > 1:
        for passable in ("", "value.whole-float"):
            for each in several:
                if all(found.rule == passable for found in _inside(each, value, "")):
                    return each
    return several[-1]


def _inside(declared: Declared, value: Any, place: str) -> Iterator[Finding]:
    """What has no parameter type of its own is described, but not converted and so not refused, by the official one."""
    if isinstance(declared, Scalar) and declared.exact:
        for each in _scalar(declared, value, place):
            yield _finding("value.described", place, **dict(each.said)) if each.rule == "value.type" else each
    else:
        yield from findings(declared, value, place)
