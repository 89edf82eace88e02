"""What the page on migration promises is there: every command, every import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mldeploy.runner import main

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`mldeploy ([a-z][a-z -]+)`", PAGE)))
IMPORTS = sorted(set(re.findall(r"`(from mldeploy[^`]*)`", PAGE)))


def test_the_page_is_read() -> None:
    assert len(COMMANDS) > 20
    assert len(IMPORTS) > 5


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert f"Usage: mldeploy {command}" in capsys.readouterr().out


@pytest.mark.parametrize("statement", IMPORTS)
def test_the_import_works(statement: str) -> None:
    exec(statement, {})
