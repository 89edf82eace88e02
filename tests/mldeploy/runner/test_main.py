"""The command as a whole: help, version, completion, exit codes, errors, what it imports, what others bring."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from mldeploy import errors
from mldeploy.runner import _exits, main
from mldeploy.runner._program import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syrupy.assertion import SnapshotAssertion

    from tests.mldeploy.runner.conftest import Project

DOCS = Path(__file__).parents[3] / "docs" / "runner.md"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of ours that help shows."""
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(program)), ids=lambda path: " ".join(path) or "mldeploy")
def test_help(project: Project, path: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    outcome = project.run(*path, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    assert "..." not in outcome.out.partition("Commands:")[2], "a summary is cut off"


def test_version(project: Project) -> None:
    assert re.fullmatch(r"mldeploy, version \d+\.\d+\.\S+\n", project.run("--version").out)


def test_nothing_typed_is_help(project: Project) -> None:
    outcome = project.run()
    assert outcome.code == 2
    assert "Commands:" in outcome.err


def test_the_documented_exit_codes_are_those_there_are() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == _exits.MEANINGS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AzureMLException("x"), 1),
        (errors.WebserviceException("x", 500), 1),
        (errors.WebserviceException("x"), 2),
        (errors.ConfigException("x"), 2),
        (errors.ModelPathNotFoundException("x"), 2),
        (errors.ModelNotFoundException("x"), 3),
        (errors.WebserviceException("x", 404), 3),
        (errors.WebserviceException("x", 409), 4),
        (errors.EnvironmentException("x"), 5),
        (errors.NeedsImage("x"), 5),
        (errors.WorkspaceException("x"), 6),
        (errors.ComputeTargetException("x"), 7),
        (errors.EngineException("x"), 8),
    ],
)
def test_exit_codes(error: errors.AzureMLException, code: int) -> None:
    assert _exits.code_for(error) == code


def test_debug_shows_the_traceback(project: Project) -> None:
    assert "Traceback" not in project.run("model", "show", "nothing").err
    outcome = project.run("model", "show", "nothing", "--debug")
    assert outcome.code == 3
    assert "Traceback" in outcome.err
    assert outcome.err.rstrip().splitlines()[-1].strip().startswith("next:")


def test_a_fault_of_our_own_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr("mldeploy.model.Model.list", broken)
    outcome = project.run("model", "list")
    assert outcome.code == 70
    (line,) = outcome.err.strip().splitlines()[-1:]
    assert "ZeroDivisionError: no" in line
    assert "--debug" in line
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("args", [("--help",), ("model", "deploy", "--help"), ("images", "--help"), ("run",)])
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    code = (
        "import sys; from mldeploy.runner import main; main(sys.argv[1:]); "
        "heavy = {'sqlalchemy', 'pydantic', 'rich', 'yaml', 'requests', 'numpy', 'psutil', 'jmespath'}; "
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_showing_a_service_imports_no_more_than_it_needs(project: Project) -> None:
    project.ok("workspace", "show")
    code = (
        "import sys; from mldeploy.runner import main; main(['service', 'list']); "
        "heavy = {'pydantic', 'rich', 'yaml', 'requests', 'alembic', 'packaging', 'fsspec'}; "
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(project: Project, shell: str) -> None:
    outcome = project.run("completion", shell)
    assert outcome.code == 0
    assert "_MLDEPLOY_COMPLETE" in outcome.out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mldeploy mod", "model"),
        ("mldeploy model dep", "deploy"),
        ("mldeploy model deploy --over", "--overwrite"),
        ("mldeploy model list -o y", "yaml"),
        ("mldeploy config schema inf", "inference"),
    ],
)
def test_completion_offers(project: Project, typed: str, offered: str) -> None:
    shell = {"_MLDEPLOY_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    process = project.start(env={**os.environ, **shell})
    out, _ = process.communicate(timeout=30)
    assert f"plain,{offered}" in out.splitlines()


def test_commands_that_other_distributions_bring(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "more-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mldeploy.commands]\nperf = more_commands:perf\n")
    (tmp_path / "more_commands.py").write_text(
        "import click\n\n\n@click.command()\ndef perf():\n    '''Measure.'''\n    click.echo('measured')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert project.run("perf").out == "measured\n"
    assert re.search(r"^  perf +Measure\.$", project.run("--help").out, re.MULTILINE)


def test_the_program_is_a_click_command_like_any_other() -> None:
    assert CliRunner().invoke(program, ["--version"]).exit_code == 0


def test_main_leaves_the_handler_of_sigterm_as_it_was() -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_installed_command(project: Project) -> None:
    outcome = project.command("model", "show", "nothing")
    assert outcome.code == 3
    assert outcome.out == ""
