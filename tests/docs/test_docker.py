"""What the page on Docker says that may be asked of a container is what is taken and refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mldeploy.engines._docker_options import _REFUSED, _SHORT, _TAKEN, options
from mldeploy.errors import UserErrorException

PAGE = (Path(__file__).parents[2] / "docs" / "docker.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("<!-- table: arguments -->")[2].partition("<!-- end -->")[0]
ROWS = re.findall(r"^\| `(--[a-z-]+)`(?:, `(-{1,2}[a-z]+)`)? \| `([^`]+)` \|", TABLE, re.MULTILINE)
REFUSED = re.findall(r"`(--[a-z-]+)`", PAGE.partition("| refused | reason |")[2].partition("\n\n")[0])


def test_the_table_has_what_is_taken() -> None:
    assert {name: example for name, _, example in ROWS} == {name: example for name, (_, example) in _TAKEN.items()}
    assert {short: name for name, short, _ in ROWS if short}.items() <= _SHORT.items()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_example_is_taken(row: tuple[str, str, str]) -> None:
    name, short, example = row
    assert options([f"{name}={example}"]) == options([name, example] if name != "--read-only" else [name])
    if short:
        assert options([short, example]) == options([f"{name}={example}"])


def test_what_is_said_to_be_refused_is() -> None:
    assert len(REFUSED) > 20
    assert set(REFUSED) <= set(_REFUSED)
    for name in REFUSED:
        with pytest.raises(UserErrorException, match=f"'{name}' is not taken"):
            options([f"{name}=x"])
