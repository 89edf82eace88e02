"""A command's result as text: `-o json|jsonc|none|table|tsv|yaml`, after `--query`.

The formats are the Azure CLI's: two spaces of indentation in JSON, no header in tsv, only plain values in a
table's columns.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

FORMATS = ("json", "jsonc", "none", "table", "tsv", "yaml")


def render(result: Any, output: str, columns: Sequence[str] = ()) -> str:
    r"""A result in one of the formats, without a newline at the end.

    Args:
        result: JSON values.
        output: One of `FORMATS`.
        columns: The keys that a table shows; none means every key with a plain value.

    Examples:
        >>> render([{"name": "a", "version": 1, "tags": {}}], "tsv")
        'a\t1\t'
        >>> print(render([{"name": "a", "version": 1, "tags": {}}], "table"))
        Name    Version
        ------  -------
        a       1
    """
    if output == "none":
        return ""
    if output == "table":
        return _table(result, columns)
    if output == "tsv":
        return "\n".join("\t".join(map(_cell, row)) for row in _rows(result))
    if output == "yaml":
        import yaml

        return yaml.safe_dump(result, sort_keys=False, allow_unicode=True).rstrip().removesuffix("\n...")
    text = json.dumps(result, indent=2, ensure_ascii=False)
    return _coloured(text) if output == "jsonc" and sys.stdout.isatty() else text


def _table(result: Any, columns: Sequence[str]) -> str:
    records = result if isinstance(result, list) else [result]
    if not records:
        return ""
    if not all(isinstance(record, Mapping) for record in records):
        return _aligned([["Result"], *([_cell(value)] for value in records)])
    there = list(dict.fromkeys(name for record in records for name in record))
    # a result of another kind than the command's usual one (a plan, say) is shown by its own names
    names = (
        [name for name in columns if name in there]
        if set(columns[:1]) & set(there)
        else [name for name in there if _is_plain(name, records)]
    )
    titles = [name[:1].upper() + name[1:] for name in names]
    return _aligned([titles, *([_cell(record.get(name)) for name in names] for record in records)])


def _is_plain(name: str, records: Sequence[Mapping[str, Any]]) -> bool:
    return not any(isinstance(record.get(name), (Mapping, list)) for record in records)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(4, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    widths = [max(width, 6) if column == 0 else width for column, width in enumerate(widths)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled
    )


def _rows(result: Any) -> list[list[Any]]:
    if isinstance(result, Mapping):
        return [list(result.values())]
    if not isinstance(result, list):
        return [[result]]
    return [
        list(item.values()) if isinstance(item, Mapping) else item if isinstance(item, list) else [item]
        for item in result
    ]


def _cell(value: Any) -> str:
    """A plain value as a shell wants it; what is nested has no place in a cell."""
    if value is None or isinstance(value, (Mapping, list)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("\t", " ").replace("\n", " ")


def _coloured(text: str) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.json import JSON

    console = Console(file=StringIO(), force_terminal=True, soft_wrap=True)
    with console.capture() as capture:
        console.print(JSON(text, indent=2, ensure_ascii=False))
    return capture.get().rstrip("\n")
