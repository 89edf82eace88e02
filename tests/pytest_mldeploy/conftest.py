"""A project with an echo service, as a user has it; and the check that nothing of a run is left."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ECHO = """
import json

def init():
    print("the echo is ready")

def run(data):
    return json.loads(data)
"""

SETTINGS = """
[pytest]
addopts = -p no:cacheprovider -p no:hypothesispytest -p no:syrupy -p no:cov
"""


class Project:
    """A folder with tests in it, and how they are run."""

    def __init__(self, pytester: pytest.Pytester, temporary: Path) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.temporary = temporary

    def write(self, **files: str) -> None:
        """Write files; `__` in a name is a dot (`ic__json`)."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(textwrap.dedent(text))

    def run(self, *options: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess(*options)

    def left(self) -> list[str]:
        """Processes and folders of services that are still there."""
        folders = [str(path) for path in self.temporary.glob("pytest-mldeploy-*")]
        return folders + [
            f"process {process.pid}"
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.temporary) in word for word in process.info["cmdline"] or ())
        ]


@pytest.fixture(scope="session")
def home() -> str:
    """The home folder: pytester sets another, which would make every test fill caches of its own."""
    return os.environ["HOME"]


@pytest.fixture(scope="session")
def everything_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Deploy once: a run of pytest inside this process forgets what it imports, which SQLAlchemy cannot bear."""
    import pytest_mldeploy._deployments  # noqa: F401
    from mldeploy import InferenceConfig, Model, Workspace

    folder = tmp_path_factory.mktemp("first")
    (folder / "score.py").write_text(ECHO)
    workspace = Workspace.create("first", store=str(folder))
    service = Model.deploy(workspace, "first", [], InferenceConfig("score.py", base=folder))
    service.wait_for_deployment()
    service.run([])
    service.delete()


@pytest.fixture
def project(
    everything_imported: None,
    home: str,
    pytester: pytest.Pytester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    """An echo service in `score.py` and `ic.json`; after the test nothing of what it deployed may be left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("MLDEPLOY_REQUIRE", raising=False)
    made = Project(pytester, temporary)
    made.write(pytest__ini=SETTINGS, score__py=ECHO, ic__json='{"entryScript": "score.py"}')
    yield made
    assert made.left() == []
