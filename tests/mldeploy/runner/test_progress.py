"""What is shown while something takes long: plain lines, and bars on a terminal."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.events import Notice, Output, Progress, StateChanged, Step
from mldeploy.runner._progress import shown

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

MB = 10**6


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(verbose=False, only_errors=False) as report:
        report(Step("register", "Registering m"))
        for done in range(0, 401, 10):
            report(Progress("register", done * MB, 400 * MB))
        report(Progress("small", 5, 10))
        report(Notice("a notice"))
        report(Output("Step 1/2 : FROM base"))
        report(StateChanged("svc", "Healthy"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Registering m",
        *(f"register: {percent} % of 400 MB" for percent in (25, 50, 75, 100)),
        "a notice",
        "  Step 1/2 : FROM base",
        "svc: Healthy",
    ]


def test_verbose_lines_have_the_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(verbose=True, only_errors=False) as report:
        report(Step("start", "Starting svc"))
    assert re.fullmatch(r" *\d+\.\d\d s  Starting svc\n", capsys.readouterr().err)


def test_only_errors_are_shown_when_asked(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "m", "-p", "model.txt", "--only-show-errors")
    assert (outcome.code, outcome.err) == (0, "")
    assert project.run("model", "show", "other", "--only-show-errors").err.startswith("Error: ")


def test_a_terminal_gets_a_bar_and_the_result_is_still_alone_on_stdout(project: Project) -> None:
    with Path("large.bin").open("wb") as stream:
        stream.truncate(300 * MB)
    outcome, seen = project.on_terminal("stderr", "model", "register", "-n", "large", "-p", "large.bin")
    assert outcome.code == 0
    assert outcome.json["id"] == "large:1"
    assert "Registering model large" in seen
    assert "━" in seen
    assert "of 300 MB" in seen
    assert "\x1b[?25h" in seen, "the cursor is shown again"


def test_a_bar_is_imported_for_a_terminal_only() -> None:
    with shown(verbose=False, only_errors=False) as report:
        report(Notice("text"))
    assert not sys.stderr.isatty()
    assert type(report).__name__ == "_Lines"
