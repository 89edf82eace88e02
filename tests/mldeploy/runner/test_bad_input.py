"""What a user can get wrong: each a clear error with its exit code, nothing left running and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

pytestmark = pytest.mark.usefixtures("serving_python")

RUN = "def run(data):\n    return data\n"
HANGS = f"import time\n\ndef init():\n    time.sleep(600)\n\n{RUN}"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("def init(:\n", "is not Python", id="syntax error"),
        pytest.param(RUN, "no init()", id="no init"),
        pytest.param("def init():\n    pass\n", "no run()", id="no run"),
    ],
)
def test_a_script_that_cannot_be_one_is_refused_before_anything_starts(
    project: Project, script: str, said: str
) -> None:
    project.write("score.py", script)
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py")
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert "score.py" in outcome.err
    nothing_is_left(project)


def test_a_script_that_is_not_there(project: Project) -> None:
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "nowhere.py")
    assert outcome.code == 2
    assert "nowhere.py" in outcome.err
    nothing_is_left(project)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(
            f"import nothing_of_that_name\n\ndef init():\n    pass\n\n{RUN}", "nothing_of_that_name", id="import error"
        ),
        pytest.param("def init():\n    pass\n\ndef run():\n    return 1\n", "run()", id="wrong signature"),
        pytest.param(
            f"def init():\n    raise ValueError('no such column')\n\n{RUN}", "no such column", id="init raises"
        ),
        pytest.param(f"import sys\n\ndef init():\n    sys.exit(7)\n\n{RUN}", "7", id="init exits"),
        pytest.param(f"import os\n\ndef init():\n    os.abort()\n\n{RUN}", "SIGABRT", id="init crashes"),
    ],
)
def test_a_script_that_fails_when_it_starts(project: Project, script: str, said: str) -> None:
    project.write("score.py", script)
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py")
    assert (outcome.code, outcome.out) == (1, "")
    assert said in outcome.err
    assert "mldeploy service get-logs -n svc" in outcome.err
    failed_without_a_process(project)


def test_init_that_hangs_ends_at_the_timeout_and_shows_where(project: Project) -> None:
    project.write("score.py", HANGS)
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--timeout", "0.5")
    assert outcome.code == 1
    assert "in init" in outcome.err
    failed_without_a_process(project)


def test_run_that_raises(deployed: Project) -> None:
    deployed.write("score.py", "def init():\n    pass\n\ndef run(data):\n    raise KeyError('age')\n")
    deployed.ok("service", "reload", "echo")
    outcome = deployed.run("service", "run", "echo", "-d", "{}")
    assert (outcome.code, outcome.out) == (1, "")
    assert "Response Code: 500" in outcome.err
    assert "age" in deployed.run("service", "get-logs", "echo").out
    assert deployed.ok("service", "show", "echo")["state"] == "Healthy"


def test_a_model_that_is_not_there(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "m", "-p", "nowhere.pkl")
    assert outcome.code == 2
    assert "nowhere.pkl" in outcome.err
    assert project.ok("model", "list") == []


def test_a_model_of_no_bytes(project: Project) -> None:
    project.write("empty.bin", "")
    outcome = project.run("model", "register", "-n", "empty", "-p", "empty.bin")
    assert outcome.code == 2
    assert "0 bytes" in outcome.err
    assert project.ok("model", "list") == []


@pytest.mark.parametrize("what", ["model", "source"])
def test_a_link_that_leaves_its_folder(project: Project, tmp_path: Path, what: str) -> None:
    (tmp_path / "secret").write_text("x")
    project.write("folder/score.py", RUN + "def init():\n    pass\n")
    Path("folder/link").symlink_to(tmp_path / "secret")
    if what == "model":
        outcome = project.run("model", "register", "-n", "m", "-p", "folder")
    else:
        outcome = project.run("model", "deploy", "-n", "svc", "--sd", "folder", "--es", "score.py")
    assert outcome.code == 2
    assert "link" in outcome.err
    assert project.ok("model", "list") == []
    nothing_is_left(project)


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        pytest.param("--dc", "{computeType", "dc.json:1", id="not JSON"),
        pytest.param("--dc", '{\n "computeType": "local",\n "prot": 1}', "'port'", id="unknown key"),
        pytest.param("--dc", '{"computeType": "local", "port": "eighty"}', "'port'", id="wrong type"),
        pytest.param("--dc", '{"computeType": "local", "port": 70000}', "65535", id="out of range"),
        pytest.param("--dc", '{"computeType": "local", "authEnabled": true}', "authEnabled", id="another target's key"),
        pytest.param("--ic", "[]", "dc.json", id="not an object"),
        pytest.param("--ic", '{"entryScrpt": "score.py"}', "entryScript", id="unknown key of --ic"),
    ],
)
def test_a_config_file_that_is_wrong(project: Project, flag: str, text: str, said: str) -> None:
    project.write("dc.json", text)
    script = () if flag == "--ic" else ("--es", "score.py")
    outcome = project.run("model", "deploy", "-n", "svc", *script, flag, "dc.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert "dc.json" in outcome.err
    nothing_is_left(project)


def test_a_target_that_is_not_built(project: Project) -> None:
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--cp", "ACI", "--cc", "1", "--gb", "1")
    assert outcome.code == 7
    assert "cannot deploy to ACI" in outcome.err
    nothing_is_left(project)


def test_an_environment_that_does_not_resolve(project: Project) -> None:
    project.write("env.yml", "dependencies:\n- pip:\n  - nothing-of-that-name-at-all==1.0\n")
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--cf", "env.yml", "--offline")
    assert (outcome.code, outcome.out) == (5, "")
    assert "nothing-of-that-name-at-all" in outcome.err
    nothing_is_left(project)


def test_a_package_that_fails_to_build(project: Project) -> None:
    project.write("broken/pyproject.toml", '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n')
    project.write("broken/b.py", "def build_wheel(*args, **more):\n    raise RuntimeError('no compiler here')\n")
    metadata = "Metadata-Version: 2.2\nName: broken\nVersion: 1.0\n"
    project.write("broken/PKG-INFO", metadata)
    archive = project.folder / "broken-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(project.folder / "broken", "broken-1.0")
    project.write("env.yml", f"dependencies:\n- pip:\n  - broken @ {archive.as_uri()}\n")
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--cf", "env.yml", "--offline")
    assert outcome.code == 5
    assert "no compiler here" in outcome.err
    nothing_is_left(project)


def test_an_environment_that_needs_an_image(project: Project) -> None:
    outcome = project.run(
        "model", "deploy", "-n", "svc", "--es", "score.py", "--bi", "registry.example/cuda:11", "--engine", "process"
    )
    assert outcome.code == 5
    assert "registry.example/cuda:11" in outcome.err
    nothing_is_left(project)


def test_a_model_that_is_not_registered(project: Project) -> None:
    project.ok("model", "register", "-n", "answer", "-p", "model.txt")
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "-m", "answer:2")
    assert outcome.code == 3
    assert "version 1" in outcome.err
    nothing_is_left(project)


def test_a_port_that_is_taken(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--port", port)
    assert outcome.code == 2
    assert port in outcome.err
    assert "leave out" in outcome.err
    nothing_is_left(project)


def test_a_name_that_breaks_the_rule(project: Project) -> None:
    outcome = project.run("model", "deploy", "-n", "My_Service", "--es", "score.py")
    assert outcome.code == 2
    assert "3 to 32 characters" in outcome.err
    assert "my-service" in outcome.err


def test_two_deployments_of_one_name_at_once(project: Project) -> None:
    processes = [project.start("model", "deploy", "-n", "svc", "--es", "score.py") for _ in range(2)]
    outcomes = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert sorted(code for _, code in outcomes) == [0, 4]
    (loser,) = (err for (_, err), code in outcomes if code)
    assert "already a service with name svc" in loser or "another operation is in progress" in loser
    assert project.ok("service", "show", "svc")["state"] == "Healthy"
    assert len(project.instances()) == 1


def test_a_workspace_that_is_damaged(project: Project) -> None:
    project.ok("model", "list")
    (database,) = project.store.glob("workspaces/*/workspace.db")
    database.write_bytes(b"this is no database" * 1000)
    for path in database.parent.glob("workspace.db-*"):
        path.unlink()
    outcome = project.run("model", "list")
    assert outcome.code == 6
    assert str(database) in outcome.err
    assert "Traceback" not in outcome.err
    database.unlink()
    (database.parent / "config.json").unlink()


def test_a_disk_that_fills_while_registering(
    project: Project, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("large.bin").open("wb") as stream:
        stream.truncate(8_000_000)
    monkeypatch.setenv("MLDEPLOY_STORE", str(small_disk / "store"))
    project.ok("model", "register", "-n", "small", "-p", "model.txt")
    outcome = project.run("model", "register", "-n", "large", "-p", "large.bin")
    assert outcome.code == 6
    assert "full" in outcome.err
    assert [each["id"] for each in project.ok("model", "list")] == ["small:1"]
    assert project.ok("model", "register", "-n", "small", "-p", "model.txt")["version"] == 2


def test_a_disk_that_fills_while_deploying(project: Project, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_STORE", str(small_disk / "store"))
    project.write("source/score.py", Path("score.py").read_text())
    with Path("source/large.bin").open("wb") as stream:
        stream.write(os.urandom(8_000_000))
    outcome = project.run("model", "deploy", "-n", "svc", "--es", "score.py", "--sd", "source")
    assert outcome.code not in {0, 70}
    assert "full" in outcome.err or "No space left" in outcome.err
    assert project.ok("service", "list") == []
    assert not list((small_disk / "store").glob("services/*/*/*"))
    assert project.ok("model", "deploy", "-n", "svc", "--es", "score.py")["state"] == "Healthy"
    assert project.run("service", "delete", "svc").code == 0


def test_a_service_that_is_killed_from_outside(deployed: Project) -> None:
    for pid in deployed.servers():
        os.kill(pid, signal.SIGKILL)
    assert deployed.eventually(lambda: deployed.ok("service", "show", "echo")["state"] == "Failed")
    shown = deployed.ok("service", "show", "echo")
    assert "killed from outside" in json.dumps(shown["error"])
    outcome = deployed.run("service", "run", "echo", "-d", "1")
    assert outcome.code == 1
    assert "it is Failed" in outcome.err
    deployed.ok("service", "reload", "echo")
    assert deployed.ok("service", "run", "echo", "-d", "1") == {"got": "1"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_init_runs_takes_the_service_away(project: Project, number: int) -> None:
    project.write("score.py", HANGS)
    process = project.start("model", "deploy", "-n", "svc", "--es", "score.py")
    project.read_until(process, "Transitioning")
    port = listening_port(project)
    outcome = project.interrupt(process, number)
    assert outcome.code == 128 + number
    assert "svc is removed" in outcome.err
    assert "Traceback" not in outcome.err
    nothing_is_left(project)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_ctrl_c_while_the_environment_is_made(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    process = project.start("model", "deploy", "-n", "svc", "--es", "score.py")
    project.read_until(process, "installing")
    outcome = project.interrupt(process)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    nothing_is_left(project)
    assert not list((tmp_path / "cache" / "environments").glob("*/bin"))


def test_ctrl_c_while_a_model_is_registered(project: Project) -> None:
    with Path("large.bin").open("wb") as stream:
        stream.truncate(3 * 1024**3)
    process = project.start("model", "register", "-n", "large", "-p", "large.bin")
    project.read_until(process, "Registering")
    outcome = project.interrupt(process)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert project.ok("model", "list") == []
    project.ok("workspace", "gc")
    assert sum(path.stat().st_size for path in project.store.rglob("*") if path.is_file()) < 10_000_000


def test_ctrl_c_while_an_update_waits_keeps_the_service(deployed: Project) -> None:
    deployed.write("score.py", HANGS)
    process = deployed.start("service", "reload", "echo")
    deployed.read_until(process, "Transitioning")
    outcome = deployed.interrupt(process)
    assert outcome.code == 130
    assert "echo goes on starting" in outcome.err
    assert deployed.ok("service", "show", "echo")["state"] == "Transitioning"


def nothing_is_left(project: Project) -> None:
    """No record, no process, no folder of a deployment."""
    assert project.ok("service", "list") == []
    assert project.servers() == []
    assert project.instances() == []


def failed_without_a_process(project: Project) -> None:
    """The record and its log stay to be read; nothing runs."""
    assert project.ok("service", "show", "svc")["state"] == "Failed"
    assert project.run("service", "get-logs", "svc").out
    assert project.eventually(lambda: project.servers() == [])
    assert project.run("service", "delete", "svc").code == 0
    nothing_is_left(project)


def listening_port(project: Project) -> int:
    """The port of the service."""
    uri: str = project.ok("service", "show", "svc")["scoringUri"]
    port = urlsplit(uri).port
    assert port is not None
    return port
