"""The built wheel on every supported Python that is here, with the oldest pytest it takes and the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mldeploy.packaging import uv

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PYTESTS = ("pytest==8.0.*", "pytest==9.*")
SETTINGS = """
[pytest]
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings = error
"""
TEST = """
import sys
import pytest

@pytest.mark.mldeploy({"entryScript": "score.py"})
def test_echo(mldeploy_service, mldeploy_target):
    assert mldeploy_service.run([1, 2]) == [1, 2]

@pytest.mark.mldeploy_requires("traffic")
def test_skipped(mldeploy_target): ...
"""
TOML = """
[[service]]
name = "echo"
inference_config = { entryScript = "score.py" }
sample = [{ request = [3], answer = [3] }]
"""
SCORE = """
import json

def init(): pass

def run(data):
    return json.loads(data)
"""


def interpreter(minor: str) -> str | None:
    """A Python of that version on this machine: the running one, one of pyenv's, or one that uv finds."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == minor:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(pyenv.glob(f"versions/{minor}.*/bin/python"))
    if found:
        return str(found[-1])
    try:
        return uv.run("python", "find", "--no-project", "--system", "--no-python-downloads", minor).strip()
    except uv.UvFailure:
        return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The one that `make test` built, else one built now."""
    if built := os.environ.get("MLDEPLOY_WHEEL"):
        return built
    folder = tmp_path_factory.mktemp("dist")
    uv.run("build", "-q", "--wheel", "--out-dir", str(folder), str(ROOT))
    return str(next(folder.glob("pytest_mldeploy-*.whl")))


@pytest.mark.parametrize("minor", PYTHONS)
def test_a_project_on_each_python_and_pytest(minor: str, wheel: str, tmp_path: Path) -> None:
    base = interpreter(minor)
    if base is None:
        pytest.skip(f"there is no Python {minor} on this machine")
    project = tmp_path / "project"
    project.mkdir()
    files = {"pytest.ini": SETTINGS, "test_x.py": TEST, "mldeploy.toml": TOML, "score.py": SCORE}
    for name, text in files.items():
        (project / name).write_text(text)
    uv.run("venv", "-q", "--python", base, str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    for version in PYTESTS:
        uv.run("pip", "install", "-q", "--python", python, wheel, version)
        run = subprocess.run([python, "-m", "pytest", "-rs"], cwd=project, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        assert version.partition("==")[2].rstrip(".*") in run.stdout.partition("pytest-")[2][:5]
        assert "3 passed, 1 skipped" in run.stdout
        assert "1 deployed, none left" in run.stdout
