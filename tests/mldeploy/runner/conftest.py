"""The command in this process, where speed matters, and as a process of its own, where that matters."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mldeploy.runner import main

ECHO = "def init():\n    print('loaded')\n\n\ndef run(data):\n    return {'got': data}\n"
SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result."""
        return json.loads(self.out)


class Project:
    """A user's folder, a store of its own, and the command.

    Args:
        folder: The user's folder, which is the current one.
        store: Where workspaces are.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.store = store
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *args: str) -> Outcome:
        """Run a command in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(args)
        return Outcome(code, _text(out), _text(err))

    def ok(self, *args: str) -> Any:
        """The result of a command that has to succeed."""
        outcome = self.run(*args)
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out) if outcome.out else None

    def start(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        """Start a command as a process."""
        command = [str(Path(sys.executable).with_name("mldeploy")), *args]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)
        self._started.append(process)
        return process

    def command(self, *args: str, typed: str = "") -> Outcome:
        """Run a command as a process."""
        process = self.start(*args, stdin=subprocess.PIPE)
        out, err = process.communicate(typed, timeout=SECONDS)
        return Outcome(process.returncode, out, err)

    def on_terminal(self, stream: str, *args: str) -> tuple[Outcome, str]:
        """Run a command with `stdout` or `stderr` on a terminal; what came there is told apart."""
        main, end = pty.openpty()
        process = self.start(*args, **{stream: end})
        os.close(end)
        seen = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the other end has gone
            while block := os.read(main, 4096):
                seen += block
        os.close(main)
        out, err = process.communicate(timeout=SECONDS)
        return Outcome(process.returncode, out or "", err or ""), seen.decode()

    def end(self) -> None:
        """End commands that a failed test has left."""
        for process in self._started:
            with process:
                process.kill()

    def write(self, name: str, text: str) -> str:
        """Write a file of the user's; returns its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return name

    @staticmethod
    def eventually(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """The condition's value as soon as it is true, or its last one when time is up."""
        deadline = time.monotonic() + seconds
        while not (value := condition()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return value

    @staticmethod
    def read_until(process: subprocess.Popen[str], word: str) -> str:
        """What a command writes to stderr up to the line that has a word in it."""
        assert process.stderr is not None
        seen = ""
        for line in process.stderr:
            seen += line
            if word in line:
                return seen
        raise AssertionError(f"{word!r} was not written, but:\n{seen}")

    @staticmethod
    def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Outcome:
        """Press Ctrl-C, which a terminal sends to a command and to what it has started, and wait for the end."""
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=SECONDS)
        return Outcome(process.returncode, out, err)

    def servers(self) -> list[int]:
        """The scoring servers of this store that run."""
        return [one.pid for one in psutil.process_iter() if str(self.store) in _line(one)]

    def instances(self) -> list[Path]:
        """The folders that deployments keep."""
        return [path for path in self.store.glob("services/*/*/*") if path.is_dir()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty folder with an entry script, and a store of its own; nothing of it runs on."""
    folder, store = tmp_path / "project", tmp_path / "store"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLDEPLOY_STORE", str(store))
    monkeypatch.setenv("COLUMNS", "110")
    project = Project(folder, store)
    project.write("score.py", ECHO)
    project.write("model.txt", "0.5\n")
    yield project
    project.end()
    for name in (project.run("service", "list", "--query", "[].name", "-o", "tsv").out).split():
        project.run("service", "delete", name)
    assert project.eventually(lambda: project.servers() == [])


@pytest.fixture
def deployed(project: Project, serving_python: Path) -> Project:
    """A project with the service `echo` deployed."""
    project.ok("model", "deploy", "-n", "echo", "--es", "score.py")
    return project


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _line(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""
