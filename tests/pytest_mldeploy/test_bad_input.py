"""What can be wrong with what a test describes: each is a clear error in its report, and nothing is left running.

The cases run as the tests of one project in one pytest, as a user's would; each is then looked at by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import psutil
import pytest

from mldeploy import Workspace

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

RUN = "def run(data): return data\n"
GOOD = f"def init(): pass\n{RUN}"


@dataclass(frozen=True)
class Case:
    """One test of the project: its mark, its entry script, its other files, its body, and what must be said."""

    said: tuple[str, ...]
    script: str = GOOD
    mark: str = "CONFIG"
    files: dict[str, str] = field(default_factory=dict)
    body: str = "pass"

    def source(self, name: str) -> str:
        """The test, whose script is `<name>.py`."""
        mark = self.mark.replace("CONFIG", f'{{"entryScript": "{name}.py"}}')
        return f"@pytest.mark.mldeploy({mark})\ndef test_{name}(mldeploy_service):\n    {self.body}\n\n"


CASES = {
    "no_script": Case(("The entry script cannot be read", "nowhere.py"), mark='{"entryScript": "nowhere.py"}'),
    "syntax_error": Case(("is not Python", "syntax_error.py:1"), script="def init(:\n"),
    "import_error": Case(("no_such_module", "CrashLoopBackOff"), script=f"import no_such_module\n{GOOD}"),
    "no_init": Case(("has no init()",), script=RUN),
    "no_run": Case(("has no run()",), script="def init(): pass\n"),
    "wrong_signature": Case(("run", "Failed"), script="def init(): pass\ndef run(): return 1\n"),
    "init_raises": Case(
        ("no such column", "current service state: Failed"),
        script=f"def init(): raise ValueError('no such column')\n{RUN}",
    ),
    "init_hangs": Case(
        ("in init", "current service state: Failed"),
        script=f"import time\ndef init():\n    time.sleep(600)\n{RUN}",
        mark="CONFIG, timeout=0.5",
    ),
    "init_exits": Case(("exit", "7"), script=f"import sys\ndef init(): sys.exit(7)\n{RUN}"),
    "run_raises": Case(
        ("Response Code: 500", "get_logs"),
        script="def init(): pass\ndef run(data): raise KeyError('age')\n",
        body="mldeploy_service.run(1)",
    ),
    "no_model": Case(("there is no model file or folder", "nowhere.pkl"), mark='CONFIG, models=["nowhere.pkl"]'),
    "empty_model": Case(("0 bytes", "empty.bin"), mark='CONFIG, models=["empty.bin"]', files={"empty.bin": ""}),
    "leaving_link": Case(("link", "leaving"), mark='CONFIG, models=["leaving"]'),
    "unregistered_model": Case(("ModelNotFound", "nothing"), mark='CONFIG, models=["nothing:3"]'),
    "config_not_json": Case(("broken.json:1",), mark='"broken.json"', files={"broken.json": "{entryScript"}),
    "no_config": Case(("cannot be read", "nowhere.json"), mark='"nowhere.json"'),
    "unknown_key": Case(("'entryScrpt' is not a known key", "entryScript"), mark='{"entryScrpt": "score.py"}'),
    "wrong_type": Case(
        ("'port' expected a whole number", "text"),
        mark='CONFIG, deployment_config={"computeType": "local", "port": "eighty"}',
    ),
    "out_of_range": Case(
        ("65535", "dc.json:2"),
        mark='CONFIG, deployment_config="dc.json"',
        files={"dc.json": '{"computeType": "local",\n"port": 70000}'},
    ),
    "no_configuration": Case(
        ("neither a configuration nor a mapping", "computeType"), mark='CONFIG, deployment_config={"port": 8890}'
    ),
    "unresolved": Case(
        ("EnvironmentException", "nothing-of-that-name-at-all"),
        mark='{"entryScript": "unresolved.py", "condaFile": "env.yml"}',
        files={"env.yml": "dependencies:\n- pip:\n  - nothing-of-that-name-at-all==1.0\n"},
    ),
    "package_fails_to_build": Case(
        ("EnvironmentException", "this package cannot be built"),
        mark='{"entryScript": "package_fails_to_build.py", "condaFile": "build.yml"}',
        files={
            "build.yml": "dependencies:\n- pip:\n  - ./unbuildable-1.0.tar.gz\n",
            "unbuildable-1.0/backend.py": "raise RuntimeError('this package cannot be built')\n",
            "unbuildable-1.0/pyproject.toml": "[build-system]\nrequires = []\n"
            "build-backend = 'backend'\nbackend-path = ['.']\n",
        },
    ),
    "port_taken": Case(
        ("cannot be listened on", "leave out 'port'"),
        mark='CONFIG, deployment_config={"computeType": "local", "port": int(os.environ["TAKEN_PORT"])}',
    ),
    "killed": Case(
        ("cannot be reached: it is Failed", "where: http://localhost:"),
        mark='CONFIG, scope="function"',
        body="kill(mldeploy_service); mldeploy_service.run(1)",
    ),
}

HEAD = """
import os
import psutil
import pytest

def kill(service):
    found = [one for one in psutil.process_iter(["cmdline"]) if service.name in str(one.info["cmdline"])]
    assert found
    for process in found:
        process.kill()
    psutil.wait_procs(found, timeout=10)

"""


@dataclass(frozen=True)
class Outcome:
    """What came of all cases: the text of each report by case, the whole output, and what is left."""

    reports: dict[str, str]
    output: str
    left: tuple[str, ...]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Run all cases."""
    folder = tmp_path_factory.mktemp("bad")
    temporary = tmp_path_factory.mktemp("temporary")
    for name, case in CASES.items():
        for path, text in {f"{name}.py": case.script, **case.files}.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
    with tarfile.open(folder / "unbuildable-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder / "unbuildable-1.0", "unbuildable-1.0")
    (folder / "leaving").mkdir()
    (folder / "leaving" / "link").symlink_to(folder / "no_init.py")
    (folder / "test_bad.py").write_text(HEAD + "".join(case.source(name) for name, case in CASES.items()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**os.environ, "TMPDIR": str(temporary), "TAKEN_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=report.xml"]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    reports = {
        case.attrib["name"].removeprefix("test_").removesuffix("[local]"): "".join(
            f"{outcome.attrib.get('message', '')}\n{outcome.text}" for outcome in case if outcome.tag != "properties"
        )
        for case in ET.parse(folder / "report.xml").iter("testcase")
    }
    running = [str(one.pid) for one in psutil.process_iter(["cmdline"]) if str(temporary) in str(one.info["cmdline"])]
    yield Outcome(reports, run.stdout + run.stderr, (*running, *map(str, temporary.iterdir())))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_clearly(outcome: Outcome, name: str) -> None:
    report = outcome.reports[name]
    assert [text for text in CASES[name].said if text not in report] == [], report
    assert "All traceback entries are hidden" not in report
    assert "pytest_mldeploy/" not in report
    assert "backends/mldeploy/" not in report


@pytest.mark.parametrize("name", CASES)
def test_the_command_that_runs_it_again_is_there(outcome: Outcome, name: str) -> None:
    assert f"pytest 'test_bad.py::test_{name}[local]' --mldeploy-target=local\n" in outcome.output


def test_nothing_is_left_and_nothing_else_went_wrong(outcome: Outcome) -> None:
    assert outcome.left == ()
    assert "INTERNALERROR" not in outcome.output
    assert set(outcome.reports) == set(CASES)
    assert "killed from outside" in outcome.output


ECHO = """
import pytest

@pytest.mark.mldeploy("ic.json", models=["model.bin"])
def test_x(mldeploy_service):
    pass
"""


NAMED = "def test_x(mldeploy_service, mldeploy_workspace): ..."


def test_a_corrupt_workspace(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    Workspace.create("damaged-one")
    (database,) = tmp_path.glob("store/workspaces/*/workspace.db")
    database.write_bytes(b"this is no database" * 1000)
    for path in database.parent.glob("workspace.db-*"):
        path.unlink()
    project.write(test_x__py=NAMED)
    result = project.run("--mldeploy-workspace=damaged-one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{database}*"])
    assert database.read_bytes() == b"this is no database" * 1000


def test_a_read_only_workspace(project: Project, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_STORE", str(small_disk))
    Workspace.create("read-only")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    project.write(test_x__py='import pytest\n\n@pytest.mark.mldeploy("ic.json")\n' + NAMED)
    result = project.run("--mldeploy-workspace=read-only")
    assert result.ret in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.TESTS_FAILED}
    assert re.search("read-?only", (result.stdout.str() + result.stderr.str()).replace("=read-only", ""))
    assert "Traceback" not in result.stdout.str()


def test_a_full_disk(project: Project, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    (project.path / "model.bin").write_bytes(os.urandom(3_000_000))
    project.write(
        test_x__py=ECHO
        + textwrap.dedent(
            """
            @pytest.mark.mldeploy({"entryScript": "score.py", "sourceDirectory": "source"})
            def test_deploying(mldeploy_service): ...
            """
        )
    )
    source = project.path / "source"
    source.mkdir()
    (source / "score.py").write_text(GOOD)
    (source / "large.bin").write_bytes(os.urandom(3_000_000))
    result = project.run()
    result.assert_outcomes(errors=2)
    assert result.stdout.str().lower().count("full") >= 2
    assert list(small_disk.iterdir()) == []
