"""`mldeploy doctor`, with an engine and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.engines import connection
from mldeploy.images.foundations import debian
from mldeploy.runner import doctor

if TYPE_CHECKING:
    from docker import DockerClient

    from tests.mldeploy.runner.conftest import Outcome, Project

HERE = ["mldeploy", "python", "uv", "cache"]
ENGINE = [
    "engine",
    "storage driver",
    "cgroup version",
    "resources",
    "gpu",
    "images",
    "base image",
    "registry",
]


def found(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in outcome.json}


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's image is looked for where nobody listens, so that no test asks a registry in the internet."""
    monkeypatch.setattr(debian, "OFFICIAL", "127.0.0.1:1/debian:bookworm-slim")


@pytest.mark.usefixtures("no_registry")
def test_all_is_well(project: Project, docker_client: DockerClient) -> None:
    outcome = project.run("doctor")
    assert outcome.code == 0, outcome.out
    seen = found(outcome)
    assert list(seen) == HERE + ENGINE
    assert {each["check"] for each in seen.values() if each["status"] == "failed"} == set()
    assert docker_client.version()["Version"] in seen["engine"]["value"]
    assert seen["cgroup version"]["value"] in {"1", "2"}
    assert "GB free in" in seen["images"]["value"]
    assert "GB free in" in seen["cache"]["value"]
    assert seen["registry"]["status"] == "warning"
    assert "cannot be pulled: " in seen["registry"]["value"]
    assert seen["registry"]["hint"]


@pytest.mark.usefixtures("no_registry", "docker_client")
def test_it_is_a_table_too(project: Project) -> None:
    header, rule, *rows = project.run("doctor", "-o", "table").out.splitlines()
    assert header.split() == ["Check", "Status", "Value", "Hint"]
    assert set(rule) == {"-", " "}
    assert len(rows) == len(HERE + ENGINE)


def test_without_an_engine(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    outcome = project.run("doctor")
    assert (outcome.code, outcome.err) == (8, "")
    seen = found(outcome)
    assert list(seen) == [*HERE, "engine"]
    assert seen["engine"]["status"] == "failed"
    assert "no Docker engine answers" in seen["engine"]["value"]
    assert "DOCKER_HOST" in seen["engine"]["hint"]


def test_with_nothing_installed(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("_DEFAULT", "_PODMAN"):
        monkeypatch.setattr(connection, name, str(tmp_path / "none.sock"))
    outcome = project.run("doctor")
    assert outcome.code == 8
    assert "no Docker engine is installed" in found(outcome)["engine"]["value"]


@pytest.mark.usefixtures("no_registry", "docker_client")
def test_little_room_is_a_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ROOM", 1e18)
    outcome = project.run("doctor")
    assert outcome.code == 0
    seen = found(outcome)
    assert seen["cache"]["status"] == seen["images"]["status"] == "warning"
    assert "mldeploy images prune" in seen["images"]["hint"]


def test_a_cache_that_is_not_there_yet(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "a" / "b"))
    assert str(tmp_path) in found(project.run("doctor"))["cache"]["value"]
    assert not (tmp_path / "a").exists()
