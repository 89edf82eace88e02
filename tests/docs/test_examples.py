"""Every page of the documentation is run from top to bottom, in a folder and a store of its own.

| block | is |
| --- | --- |
| any language with `title="FILE"` | written to that file |
| `console` | each `$ command` is run, and what it prints is compared; `exit="N"` is the exit code of the last one |
| `python` | run, in one namespace per page |
| `text` after a `python` block | what that block printed |
| `skip="REASON"` | not run; the reason is one of `REASONS` |
| `needs="docker"` | run where there is a Docker engine; elsewhere the rest is run, and the test then skipped |

Expected output may leave lines or parts of lines out with `...`, and blanks do not count (doctest's rules).
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REASONS = {
    "a layout",
    "changes this machine",
    "needs a PostgreSQL server",
    "of the checkout",
    "runs on GitHub's machines",
    "runs until it is stopped",
    "the retired commands",
}
_COMMAND = re.compile(r"^\$ (.*(?:(?<=\\)\n> .*)*)", re.MULTILINE)
_SECONDS = 300
_CHECKER = doctest.OutputChecker()
_RULES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, its language, the options after it, and its text."""

    page: Path
    line: int
    language: str
    options: dict[str, str]
    text: str

    @property
    def needs_docker(self) -> bool:
        """Whether it is run only where there is a Docker engine."""
        return self.options.get("needs") == "docker"

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        _block(page, token.map[0] + 1, token.info, token.content)
        for token in tokens
        if token.type == "fence" and token.map is not None
    ]


def _block(page: Path, line: int, info: str, text: str) -> Block:
    language, *options = shlex.split(info) or [""]
    pairs = (option.partition("=") for option in options)
    return Block(page, line, language, {name: value for name, _, value in pairs}, text)


@dataclass
class Session:
    """One run of a page: its folder (which is the current one) and what its Python blocks have in common."""

    folder: Path
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str | None = None

    def run(self, block: Block) -> None:
        """Do what a block says and compare what comes of it."""
        before, self.printed = self.printed, None
        if title := block.options.get("title"):
            (self.folder / title).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, expected, is_last in _commands(block.text):
                _run(block, command, expected, int(block.options.get("exit", 0)) if is_last else 0)
        elif block.language == "python":
            self.printed = self._execute(block)
        elif block.language == "text" and before is not None:
            _compare(block, "the block before it", block.text, before)
        else:
            raise AssertionError(f"{block}: a block of {block.language!r} is neither run nor skipped for a reason")

    def _execute(self, block: Block) -> str:
        out = io.StringIO()
        # empty lines in front: a traceback then shows the page's own line numbers
        code = compile("\n" * block.line + block.text, str(block.page), "exec")
        with contextlib.redirect_stdout(out):
            exec(code, self.namespace)
        return out.getvalue()


def _commands(text: str) -> Iterator[tuple[str, str, bool]]:
    """Each command with the output shown for it, and whether it is the last."""
    found = list(_COMMAND.finditer(text))
    assert found, f"a console block without a command: {text!r}"
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=True):
        yield match[1].replace("\n> ", "\n"), text[match.end() + 1 : end], match is found[-1]


def _run(block: Block, command: str, expected: str, code: int) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": path, "COLUMNS": "120", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == code, f"{block}: $ {command}\nexit code {done.returncode}, not {code}\n{done.stdout}"
    if expected.strip():
        _compare(block, f"$ {command}", expected, done.stdout)


def _compare(block: Block, what: str, expected: str, got: str) -> None:
    if not _CHECKER.check_output(expected, got, _RULES):
        raise AssertionError(f"{block}: {what}\n--- the page says\n{expected}\n--- it is\n{got}")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A folder to work in; services that a page leaves running are stopped."""
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield Session(work)
    from mldeploy import Workspace

    for same_name in Workspace.list().values():
        for workspace in same_name:
            for service in workspace.webservices.values():
                service.delete()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_of_the_page_runs(page: Path, session: Session, request: pytest.FixtureRequest) -> None:
    examples = [block for block in blocks(page) if "skip" not in block.options]
    missing = ""
    if any(block.needs_docker for block in examples):
        try:
            request.getfixturevalue("docker_client")
        except pytest.skip.Exception as reason:
            missing = str(reason)
    for block in examples:
        if not (missing and block.needs_docker):
            session.run(block)
    if missing:
        pytest.skip(f"all but the examples with Docker: {missing}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_example_is_skipped_only_for_a_known_reason(page: Path) -> None:
    options = [block.options for block in blocks(page)]
    assert {each["skip"] for each in options if "skip" in each} <= REASONS
    assert {each["needs"] for each in options if "needs" in each} <= {"docker"}
