"""TOML as data with the line of every key.

The parser tells no lines. They are found by reading the text again line by line, which is enough for a file
of tables: a key inside an inline table or a list of several lines has the line of what it is in.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from mldeploy.config.syntax import Keys, Parsed, ParseError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_WAY = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_WAY})\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"^\s*({_WAY})\s*=")
_LONG_TEXT = re.compile(r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'')
_PART = re.compile(_KEY)
_PLACE = re.compile(r"^(.*) \(at line (\d+), column (\d+)\)$", re.DOTALL)


def parse_toml(text: str) -> Parsed:
    """Parses TOML 1.0.

    Raises:
        ParseError: With line and column where they are known.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.match(str(error))
        if match is None:
            raise ParseError(f"Not TOML: {error}") from None
        raise ParseError(f"Not TOML: {match[1]}", int(match[2]), int(match[3])) from None
    except RecursionError:
        raise ParseError("Nested too deeply") from None
    return data, _lines(text, data)


def _lines(text: str, data: dict[str, Any]) -> dict[Keys, int]:
    lines: dict[Keys, int] = {}
    table: Keys = ()
    counts: dict[Keys, int] = {}
    text = _LONG_TEXT.sub(lambda match: "\n" * match[0].count("\n"), text)
    for number, line in enumerate(text.split("\n"), start=1):
        if match := _TABLE.match(line):
            table = _open_table(match[1] == "[[", _parts(match[2]), counts)
            _note(data, table, number, lines)
        elif match := _ASSIGNMENT.match(line):
            _note(data, (*table, *_parts(match[1])), number, lines)
    return lines


def _open_table(is_item: bool, parts: list[str], counts: dict[Keys, int]) -> Keys:
    """The way to a table that a header opens, with the index of the list item it is or is in."""
    way: Keys = ()
    for number, part in enumerate(parts, start=1):
        way = (*way, part)
        if is_item and number == len(parts):
            counts[way] = counts.get(way, -1) + 1
        if way in counts:
            way = (*way, counts[way])
    return way


def _note(data: Any, way: Keys, number: int, lines: dict[Keys, int]) -> None:
    """Records the line of each step of a way that exists; text that only looks like a key has none."""
    for end, key in enumerate(way, start=1):
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return
        lines.setdefault(way[:end], number)


def _parts(way: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(way)]
