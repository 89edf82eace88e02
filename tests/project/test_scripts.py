"""The scripts that bring a Docker engine up, as far as that can be seen without taking one down."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

SCRIPTS = Path(__file__).parents[2] / "scripts"
INFINITY = 2**64 - 1


def up(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "docker-up"], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


def program(folder: Path, name: str, script: str) -> str:
    """Put a program before all others; returns the search path."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_an_engine_that_answers_is_left_alone(docker_client: DockerClient) -> None:
    done = up()
    assert (done.returncode, done.stderr) == (0, "")
    assert docker_client.version()["Version"] in done.stdout


def test_an_engine_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    path = program(tmp_path, "docker", "exit 1")
    done = up(PATH=path, DOCKER_HOST="tcp://ada:secret@127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "unset DOCKER_HOST" in done.stderr
    assert "secret" not in done.stderr


def test_a_docker_context_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    path = program(tmp_path, "docker", 'case $1 in context) printf "\\nfar\\n" ;; *) exit 1 ;; esac')
    done = up(PATH=path)
    assert done.returncode == 1
    assert "the Docker context 'far'" in done.stderr


def test_who_is_not_root_is_told_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    program(tmp_path, "docker", "exit 1")
    done = up(PATH=program(tmp_path, "id", "echo 1000"))
    assert done.returncode == 1
    assert "sudo " in done.stderr


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for what Debian's packages bring: an engine that answers as soon as it has been started."""
    if os.geteuid() != 0:
        pytest.skip("only root starts one")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "docker", f"[ -e {tmp_path}/up ] && echo 'docker-up: Docker 1.0'")
    for starts in ("dockerd", "systemctl"):
        program(folder, starts, f'echo "$0 $@" >>{tmp_path}/started; touch {tmp_path}/up')
    monkeypatch.setenv("PATH", program(folder, "debootstrap", "exit 1"))
    return tmp_path


def test_one_that_is_installed_is_started_once(installed: Path) -> None:
    environ = {**os.environ, "MLDEPLOY_DOCKER_STATE": str(installed / "state")}
    both = [subprocess.Popen([SCRIPTS / "docker-up"], env=environ, stdout=subprocess.PIPE) for _ in range(2)]
    assert [each.communicate(timeout=60)[0].decode() for each in both] == ["docker-up: Docker 1.0\n"] * 2
    assert [each.returncode for each in both] == [0, 0]
    (started,) = (installed / "started").read_text().splitlines()
    if "within-limits" in started:
        assert os.access(installed / "state" / "runc-within-limits", os.X_OK)


def test_one_that_does_not_come_up_shows_its_log(installed: Path) -> None:
    program(installed / "bin", "dockerd", "echo no cgroups; exit 1")
    program(installed / "bin", "systemctl", "exit 1")
    program(installed / "bin", "sleep", "exit 0")
    done = up(MLDEPLOY_DOCKER_STATE=str(installed / "state"))
    assert done.returncode == 1
    assert "did not answer" in done.stderr
    if (installed / "state" / "dockerd.log").exists():
        assert "no cgroups" in done.stderr


@pytest.fixture(scope="module")
def shim() -> ModuleType:
    """The runtime that stands before runc."""
    loader = SourceFileLoader("runc_within_limits", str(SCRIPTS / "runc-within-limits"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def asked() -> dict[str, Any]:
    """What Docker asks for."""
    return {
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
        "oomScoreAdj": -500,
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": INFINITY, "soft": INFINITY}],
    }


def test_what_cannot_be_given_is_taken_out(shim: ModuleType) -> None:
    process = asked()
    shim.within_limits(process)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert process == {
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []},
        "oomScoreAdj": 0,
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": most, "soft": most}],
    }


def test_what_can_be_given_stays(shim: ModuleType) -> None:
    process = {
        "capabilities": {"bounding": ["CAP_CHOWN"]},
        "oomScoreAdj": 100,
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 5}],
        "args": ["sh"],
    }
    before = json.loads(json.dumps(process))
    shim.within_limits(process)
    assert process == before
    empty: dict[str, Any] = {}
    shim.within_limits(empty)
    assert empty == {}


def _shimmed(tmp_path: Path, *arguments: str) -> None:
    """Run it; what it does to the files is done before it looks for runc, which fails on these."""
    subprocess.run([SCRIPTS / "runc-within-limits", *arguments], cwd=tmp_path, capture_output=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("create", "--bundle", "b", "x"), ("--root", "r", "create", "--bundle=b", "x"), ("run", "-b", "b", "x")],
)
def test_a_bundle_is_rewritten(arguments: tuple[str, ...], tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps({"process": asked(), "hostname": "x"}))
    _shimmed(tmp_path, *arguments)
    written = json.loads((bundle / "config.json").read_text())
    assert written["hostname"] == "x"
    assert written["process"]["oomScoreAdj"] == 0


@pytest.mark.parametrize("arguments", [("exec", "--process", "p.json", "x"), ("exec", "-p", "p.json", "x")])
def test_a_process_of_exec_is_rewritten(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(asked()))
    _shimmed(tmp_path, *arguments)
    assert "CAP_SYS_RESOURCE" not in (tmp_path / "p.json").read_text()
