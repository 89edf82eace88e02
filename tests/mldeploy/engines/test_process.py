"""The process engine, with real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mldeploy.engines import process
from mldeploy.engines.process import Observation, Program, Running
from mldeploy.errors import WebserviceException

ECHO = "def init():\n    print('hello from init')\n\ndef run(data):\n    return data\n"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to be seen; a deadline is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.02)


def settled(running: Running) -> Observation:
    """The first observation that is not of a starting service."""
    seen: list[Observation] = []

    def looked() -> bool:
        seen.append(process.observe(running))
        return not seen[-1].alive or seen[-1].health == 200

    until(looked)
    return seen[-1]


@pytest.fixture
def program(tmp_path: Path, serving_python: Path) -> Program:
    app = tmp_path / "instance" / "app"
    app.mkdir(parents=True)
    (app / "score.py").write_text(ECHO)
    return Program(serving_python, app.parent, {"AZUREML_ENTRY_SCRIPT": "score.py", "AML_APP_ROOT": str(app)}, 30)


@pytest.fixture
def start(program: Program) -> Iterator[Callable[..., Running]]:
    """Starts a program; whatever the test does, nothing is left running."""
    begun: list[Running] = []

    def start(script: str | None = None, port: int | None = None, **changes: float) -> Running:
        if script is not None:
            (program.folder / "app" / "score.py").write_text(script)
        begun.append(process.start(replace(program, **changes), port))  # type: ignore[arg-type]
        return begun[-1]

    yield start
    for running in begun:
        process.stop(running)


def group(running: Running) -> list[psutil.Process]:
    """Every live process of the service's group."""
    found = []
    for one in psutil.process_iter():
        try:
            if os.getpgid(one.pid) == running.pid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_a_started_program_answers_and_a_stopped_one_is_gone(start: Callable[..., Running]) -> None:
    running = start()
    assert settled(running) == Observation(True, 200, None, "")
    assert group(running)
    process.stop(running)
    assert group(running) == []
    seen = process.observe(running)
    assert not seen.alive
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def test_it_listens_on_loopback_only(start: Callable[..., Running]) -> None:
    running = start()
    settled(running)
    addresses = {
        connection.laddr.ip
        for one in group(running)
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_stopping_twice_does_nothing(start: Callable[..., Running]) -> None:
    running = start()
    process.stop(running)
    process.stop(running)
    assert not process.observe(running).alive


def test_a_port_is_taken(start: Callable[..., Running]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WebserviceException, match=f"port {port} cannot be listened on"):
            start(port=port)


def test_a_port_is_honoured_and_free_again_at_once(start: Callable[..., Running]) -> None:
    first = start()
    settled(first)
    process.stop(first)
    second = start(port=first.port)
    assert second.port == first.port
    assert settled(second).health == 200


def test_init_that_raises_ends_with_v1s_exit_code_and_a_reason(start: Callable[..., Running]) -> None:
    running = start("def init():\n    raise ValueError('no such weights')\n\ndef run(data):\n    return data\n")
    seen = settled(running)
    assert (seen.alive, seen.exit_code) == (False, 3)
    assert "no such weights" in seen.reason
    assert "no such weights" in process.logs(Path(running.folder), 100)


def test_init_that_never_ends_is_ended(start: Callable[..., Running]) -> None:
    script = "import time\ndef init():\n    time.sleep(600)\n\ndef run(data):\n    return data\n"
    running = start(script, init_timeout=1.0)
    seen = settled(running)
    assert not seen.alive
    assert "init()" in seen.reason
    assert "time.sleep(600)" in process.logs(Path(running.folder), 100)
    assert group(running) == []


def test_the_script_prints_into_the_log(start: Callable[..., Running]) -> None:
    running = start()
    settled(running)
    until(lambda: "hello from init" in process.logs(Path(running.folder), 100))
    log = process.logs(Path(running.folder), 100)
    assert process.logs(Path(running.folder), 1) == log.splitlines(keepends=True)[-1]
    assert process.logs(Path(running.folder), 0) == ""


def test_the_log_reads_on_over_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("5\n6\n")
    (tmp_path / "log.1").write_text("3\n4\n")
    (tmp_path / "log.2").write_text("1\n2\n")
    assert process.logs(tmp_path, 5) == "2\n3\n4\n5\n6\n"


@pytest.mark.parametrize("victim", ["supervisor", "group"])
def test_killed_from_outside_nothing_stays_and_the_state_says_so(start: Callable[..., Running], victim: str) -> None:
    running = start()
    settled(running)
    (os.killpg if victim == "group" else os.kill)(running.pid, signal.SIGKILL)
    until(lambda: not process.observe(running).alive)
    until(lambda: group(running) == [])
    assert "killed" in process.observe(running).reason


def test_a_killed_worker_is_replaced(start: Callable[..., Running]) -> None:
    running = start()
    settled(running)
    (worker,) = (one.pid for one in group(running) if one.pid != running.pid)
    os.kill(worker, signal.SIGKILL)
    until(lambda: worker not in {one.pid for one in group(running)})
    until(lambda: len(group(running)) == 2)
    assert settled(running) == Observation(True, 200, None, "")


def test_a_reused_pid_is_not_ours(start: Callable[..., Running]) -> None:
    running = start()
    settled(running)
    stranger = replace(running, folder=f"{running.folder}-of-another")
    assert not process.observe(stranger).alive
    process.stop(stranger)
    assert process.observe(running).alive
    assert not process.observe(replace(running, pid=os.getpid())).alive


def test_what_nobody_recorded_is_found_and_removed(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start()
    settled(running)
    process.remove(tmp_path / "another")
    assert process.observe(running).alive
    process.remove(Path(running.folder))
    assert group(running) == []
    assert not Path(running.folder).exists()


def test_only_what_cannot_be_here_is_elsewhere(start: Callable[..., Running]) -> None:
    running = start()
    assert not process.elsewhere(running)
    assert not process.elsewhere(replace(running, host="the name this machine had yesterday"))
    assert not process.elsewhere(replace(running, folder="/gone"))
    assert process.elsewhere(replace(running, host="far", folder="/gone"))


# A fork has the parent's objects, but no children of its own.
STARTING = """
import dataclasses, json, os, sys
from pathlib import Path
from mldeploy.engines.process import Program, observe, start
python, folder, variables = json.loads(sys.argv[1])
running = start(Program(Path(python), Path(folder), variables, 30), None)
child = os.fork()
if child == 0:
    os._exit(observe(running).alive)
seen = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([dataclasses.asdict(running), seen]))
"""


def test_it_is_seen_by_a_fork_and_outlives_the_process_that_started_it(program: Program) -> None:
    asked = json.dumps([str(program.python), str(program.folder), dict(program.variables)])
    told = subprocess.run([sys.executable, "-c", STARTING, asked], capture_output=True, text=True, check=True)
    handle, seen_by_fork = json.loads(told.stdout)
    running = Running(**handle)
    try:
        assert seen_by_fork
        assert settled(running).health == 200
    finally:
        process.stop(running)
    assert group(running) == []


def test_the_shells_environment_does_not_leak_in(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    running = start("import os\ndef init():\n    print(sorted(os.environ))\n\ndef run(data):\n    return data\n")
    settled(running)
    until(lambda: "OMP_NUM_THREADS" in process.logs(Path(running.folder), 100))
    log = process.logs(Path(running.folder), 100)
    assert "AWS_SECRET_ACCESS_KEY" not in log
    assert "PYTHONPATH" not in log
