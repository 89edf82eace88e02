"""`read(path)`: a config file as plain data, with the line of every key.

JSON, YAML and TOML give the same `Document`, so that no model knows which of them it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.config.syntax import Keys, ParseError, parse_json, parse_yaml
from mldeploy.config.toml_text import parse_toml
from mldeploy.config.words import kind_of
from mldeploy.errors import ConfigException

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARSERS = {".json": parse_json, ".yml": parse_yaml, ".yaml": parse_yaml, ".toml": parse_toml}


@dataclass(frozen=True)
class Document:
    """What a config file says, and where.

    Args:
        path: The file.
        data: Its top object.
        lines: The line (from 1) of every key and list item, by the way to it.
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def line(self, keys: Keys) -> int | None:
        """The line of a value; of the object around it when the value itself is not in the file."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return self.lines[keys[:end]]
        return self.lines.get(())

    def place(self, keys: Keys = ()) -> str:
        """The file and line of a value, as editors and terminals link them: `dc.json:3`."""
        line = self.line(keys)
        return str(self.path) if line is None else f"{self.path}:{line}"

    def below(self, *keys: str | int) -> Document:
        """The object under some keys, as a document of its own.

        Raises:
            KeyError: There is none.
        """
        data: Any = self.data
        for key in keys:
            data = data[key]
        size = len(keys)
        lines = {way[size:]: line for way, line in self.lines.items() if way[:size] == keys}
        around = self.line(keys)
        if around is not None:
            lines[()] = around
        return Document(self.path, data, lines)


def read(path: str | Path) -> Document:
    """Reads a JSON, YAML or TOML file.

    The ending decides; without a known one, a text that begins with `{` is JSON and any other is YAML.

    Args:
        path: The file, relative to the current folder or absolute.

    Raises:
        ConfigException: The file cannot be read, is empty, is not of its format (with line and column),
            repeats a key, or has something else than an object at its top.
    """
    path = Path(path)
    text = read_text(path)
    if not text.strip():
        raise ConfigException("The file is empty", where=str(path), hint="put a JSON or YAML object into it")
    guess = parse_json if text.lstrip().startswith("{") else parse_yaml
    try:
        data, lines = _PARSERS.get(path.suffix.lower(), guess)(text)
    except ParseError as problem:
        place = ":".join([str(path), *(str(number) for number in (problem.line, problem.column) if number)])
        raise ConfigException(str(problem), where=place) from None
    if not isinstance(data, dict):
        raise ConfigException(f"Expected an object with keys, found {kind_of(data)}", where=str(path))
    return Document(path, data, lines)


def read_text(path: Path) -> str:
    """The text of a file, in UTF-8 or with a mark that says otherwise.

    Raises:
        ConfigException: It cannot be read, or is not text.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # a null byte in the path is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigException(f"The file cannot be read: {reason}", where=str(path), hint="check the path") from None
    utf16 = raw[:2] in {b"\xff\xfe", b"\xfe\xff"}  # what a redirection in Windows PowerShell writes
    try:
        return raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigException("The file is not UTF-8 text", where=f"{path}:{line}") from None
