"""What is imported costs time: importing the library, and using a small part of it, loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "alembic",
    "docker",
    "fsspec",
    "locust",
    "numpy",
    "pandas",
    "pydantic",
    "requests",
    "rich",
    "sqlalchemy",
    "typer",
    "yaml",
)
_SHOW = "import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}} & {names!r}))"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import mldeploy", id="the package"),
        pytest.param("import mldeploy; dir(mldeploy)", id="its names"),
        pytest.param("import mldeploy.exceptions", id="exceptions"),
        pytest.param("import mldeploy.config.settings", id="settings"),
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    code = _SHOW.format(statement=statement, names=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
