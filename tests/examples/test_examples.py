"""Each example's own tests pass with each engine, in a copy of its folder, where nothing was trained yet."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One engine after the other, or the one that was asked for."""
    asked = metafunc.config.getoption("mldeploy_engine")
    metafunc.parametrize("engine", ("process", "docker") if asked in {None, "auto"} else (asked,))


@pytest.mark.parametrize("name", sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()))
def test_an_example_is_whole_by_itself(name: str, engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if engine == "docker":
        request.getfixturevalue("docker_client")  # where there is none, it says so
    copy = tmp_path / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("outputs", "__pycache__", ".pytest_cache"))
    command = ["pytest", "-W", "error", "--strict-markers", "--mldeploy-target=local", f"--mldeploy-engine={engine}"]
    ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 deployed, none left" in ran.stdout
