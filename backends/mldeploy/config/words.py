"""How values and expectations are called in messages."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 60


def kind_of(value: Any) -> str:
    """The JSON type of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, name in (
        (int | float, "a number"),
        (str, "text"),
        (dict, "an object"),
        (list | tuple, "a list"),
    ):
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


def found(value: Any) -> str:
    """A value as a message shows it: in full when it is short, else by its kind.

    Examples:
        >>> found("8890"), found(8890), found({"cpu": 1}), found(None)
        ('text "8890"', 'the number 8890', 'an object', 'null')
    """
    if isinstance(value, str):
        return f"text {json.dumps(value, ensure_ascii=False)}" if len(value) <= _LONGEST else "a long text"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {value}"
    return kind_of(value)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelled one most resembles, case aside; None if none does.

    Examples:
        >>> nearest("memoryInGb", ["memoryInGB", "cpu"])
        'memoryInGB'
        >>> nearest("colour", ["cpu"])
    """
    by_fold = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_fold, n=1)
    return by_fold[close[0]] if close else None


def listing(words: Iterable[str], last: str = "or") -> str:
    """Several words in a sentence: `'a', 'b' or 'c'`."""
    *others, final = [repr(word) for word in words]
    return f"{', '.join(others)} {last} {final}" if others else final
