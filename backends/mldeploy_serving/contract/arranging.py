"""What `strict` takes in another form than the declared one, brought into that form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mldeploy_serving.contract.checks import fitting
from mldeploy_serving.contract.parameters import Declared, Frame, Items, Object, Scalar


def arranged(declared: Declared, value: Any) -> Any:
    """A value that fits, with the columns of frames in their declared order and whole numbers as integers.

    Args:
        declared: What was declared.
        value: What JSON had for it; nothing about it is refused.

    Examples:
        >>> arranged(Frame((("a", Scalar("any")), ("b", Scalar("any"))), "records"), [{"b": 2, "a": 1}])
        [{'a': 1, 'b': 2}]
        >>> arranged(Scalar("integer", exact=True), 1.0)
        1
    """
    if isinstance(declared, Frame) and declared.enforced:
        return _frame([name for name, _ in declared.columns], declared.orient, value)
    if isinstance(declared, Object):
        types = dict(declared.fields)
        return {name: arranged(types[name], each) if name in types else each for name, each in value.items()}
    if isinstance(declared, Items) and declared.items:
        return [arranged(fitting(declared.items, each), each) for each in value]
    if isinstance(declared, Scalar) and declared.kind == "integer" and declared.exact and isinstance(value, float):
        return int(value)
    return value


def _frame(names: list[str], orient: str, value: Any) -> Any:
    if orient == "records":
        return [_sorted(names, row) for row in value]
    if orient == "index":
        return {label: _sorted(names, row) for label, row in value.items()}
    if orient == "columns":
        return _sorted(names, value)
    if orient == "split":
        found = {str(name): at for at, name in enumerate(value["columns"])}
        places = [found[name] for name in names]
        columns = [value["columns"][at] for at in places]
        return {**value, "columns": columns, "data": [[row[at] for at in places] for row in value["data"]]}
    return value


def _sorted(names: Iterable[str], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}
