"""JSON and YAML as data with the line of every key; a key that is there twice is an error in both.

The formats' own parsers parse. Lines come from a second look at a text that is known to be well formed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from typing import NoReturn

Keys = tuple[str | int, ...]
"""The way from the top of a file to a value: `("environment", "docker", "arguments", 0)`."""

Parsed = tuple[Any, dict[Keys, int]]
"""The data of a file, and the line (from 1) of every key and list item."""

MAX_DEPTH = 64
"""Deeper than any config is; refused before it can exhaust the stack."""

MAX_NODES = 100_000
"""More keys and items than any config has; YAML's aliases can multiply a short text without end."""


class ParseError(Exception):
    """A text that is not of its format.

    Args:
        message: What is wrong, in words for a person.
        line: Where, from 1; 0 when that is not known.
        column: Where on the line, from 1; 0 when that is not known.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def note(lines: dict[Keys, int], keys: Keys, line: int) -> None:
    """Records where a value is.

    Raises:
        ParseError: It is there already, or too deep, or one too many.
    """
    if keys in lines:
        raise ParseError(f"The key {keys[-1]!r} is there twice, first on line {lines[keys]}", line)
    if len(keys) > MAX_DEPTH:
        raise ParseError(f"Nested deeper than {MAX_DEPTH} levels", line)
    if len(lines) >= MAX_NODES:
        raise ParseError(f"More than {MAX_NODES} keys and items", line)
    lines[keys] = line


_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|\n')


def parse_json(text: str) -> Parsed:
    """Parses JSON (RFC 8259: no comments, no trailing commas, no NaN).

    Raises:
        ParseError: With line and column where they are known.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ParseError(f"Not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise ParseError(f"Nested deeper than {MAX_DEPTH} levels") from None
    return data, _json_lines(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ParseError(f"Not JSON: {name} is not a JSON number")


def _json_lines(text: str) -> dict[Keys, int]:
    lines: dict[Keys, int] = {}
    path: list[str | int] = []  # one entry for each open bracket: the key or index that comes next
    objects: list[bool] = []
    at_key = False
    line = 1
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece == "\n":
            line += 1
        elif piece in "{[":
            if not at_key and objects and not objects[-1]:
                note(lines, tuple(path), line)
            objects.append(piece == "{")
            path.append("" if piece == "{" else 0)
            at_key = piece == "{"
        elif piece in "}]":
            objects.pop()
            path.pop()
            at_key = False
        elif piece == ",":
            at_key = objects[-1]
            if not at_key:
                path[-1] = int(path[-1]) + 1
        elif at_key:
            path[-1] = json.loads(piece)
            note(lines, tuple(path), line)
            at_key = False
        elif objects and not objects[-1]:
            note(lines, tuple(path), line)
    return lines


def parse_yaml(text: str) -> Parsed:
    """Parses YAML, plain data only.

    Raises:
        ParseError: With line and column where they are known.
    """
    try:
        return _read_yaml(yaml.SafeLoader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else ()
        raise ParseError(f"Not YAML: {error.problem or error.context}", *place) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ParseError(f"Not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ParseError(f"Nested deeper than {MAX_DEPTH} levels") from None


def _read_yaml(loader: yaml.SafeLoader) -> Parsed:
    lines: dict[Keys, int] = {}
    try:
        root = loader.get_single_node()
        if root is None:  # nothing but comments
            return None, lines
        _yaml_lines(root, (), lines)
        return loader.construct_document(root), lines
    finally:
        loader.dispose()


def _yaml_lines(node: yaml.Node, keys: Keys, lines: dict[Keys, int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            note(lines, (*keys, index), item.start_mark.line + 1)
            _yaml_lines(item, (*keys, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":  # its keys may be repeated: they give way to the others
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise ParseError("Not a key: expected text", line, key.start_mark.column + 1)
            note(lines, (*keys, key.value), line)
            _yaml_lines(value, (*keys, key.value), lines)
