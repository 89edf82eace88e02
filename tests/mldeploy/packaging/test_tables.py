"""The tables in `docs/environments.md` are those in the code.

`WRITE_TABLES=1 pytest tests/mldeploy/packaging/test_tables.py` writes them anew.
"""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

from mldeploy.packaging import conda_specs, curated

PAGE = Path(__file__).parents[3] / "docs" / "environments.md"


def conda_table() -> str:
    rows = [
        f"| `{name}` | {f'`{pip}`' if pip else 'nothing'} |"
        for name, pip in sorted(conda_specs.table().items())
        if name != pip
    ]
    return "\n".join(["| conda | pip |", "| --- | --- |", *rows])


def equal_list() -> str:
    names = ", ".join(f"`{name}`" for name, pip in sorted(conda_specs.table().items()) if name == pip)
    return textwrap.fill(names, 130, break_long_words=False, break_on_hyphens=False)


def curated_table() -> str:
    rows = []
    for entry in curated.table():
        packages = ", ".join(f"`{package}`" for package in entry["pip"])
        rows.append(f"| `{entry['name']}` | {packages} | {entry['was']} | {entry['note']} |")
    return "\n".join(["| name | packages | in v1 | |", "| --- | --- | --- | --- |", *rows])


@pytest.mark.parametrize(
    ("mark", "expected"),
    [("table: conda", conda_table()), ("list: equal", equal_list()), ("table: curated", curated_table())],
    ids=["conda", "equal", "curated"],
)
def test_the_page_has_the_table(mark: str, expected: str) -> None:
    between = re.compile(rf"(<!-- {mark} -->\n)(.*?)(\n?<!-- end -->)", re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("WRITE_TABLES"):
        text = between.sub(lambda match: f"{match[1]}\n{expected}\n{match[3]}", text)
        PAGE.write_text(text, encoding="utf-8")
    match = between.search(text)
    assert match is not None
    assert match[2].strip() == expected
