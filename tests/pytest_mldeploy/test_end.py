"""Whatever ends a run, nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

TESTS = """
import pytest

@pytest.fixture
def torn(mldeploy_service):
    yield
    raise RuntimeError("in a teardown")

@pytest.mark.mldeploy("ic.json")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_x(mldeploy_service, torn, mldeploy_deploy, number):
    mldeploy_deploy("ic.json")
    assert number == 0
"""
SLOW = """
import time

def init():
    print("going to hang", flush=True)
    time.sleep(60)

def run(data):
    return data
"""


@pytest.mark.parametrize("option", ["-x", "--maxfail=2"])
def test_an_early_end(project: Project, option: str) -> None:
    project.write(test_x__py=TESTS)
    result = project.run(option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["* deployed, none left"])


@pytest.mark.parametrize("where", ["in a test", "in init", "in the factory"])
def test_ctrl_c(project: Project, where: str) -> None:
    project.write(
        conftest__py="""
        import threading, time, psutil

        def pytest_configure(config):
            threading.Thread(target=interrupt, daemon=True).start()

        def interrupt():
            while not any("--log-file" in command for command in commands()):
                time.sleep(0.01)
            print("a service runs", flush=True)

        def commands():
            for child in psutil.Process().children():
                try:
                    yield child.cmdline()
                except psutil.Error:  # it has ended
                    pass
        """,
        slow__py=SLOW,
        test_x__py="""
        import time
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_in_a_test(mldeploy_service):
            mldeploy_service.run(1)
            time.sleep(60)

        @pytest.mark.mldeploy({"entryScript": "slow.py"})
        def test_in_init(mldeploy_service): ...

        def test_in_the_factory(mldeploy_deploy):
            mldeploy_deploy({"entryScript": "slow.py"})
        """,
    )
    command = [sys.executable, "-m", "pytest", "-s", "-k", where.replace(" ", "_")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project.path, env=os.environ) as run:
        assert run.stdout
        for line in run.stdout:
            if "a service runs" in line:
                break
        assert project.left()
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(30) == pytest.ExitCode.INTERRUPTED, rest
    assert "KeyboardInterrupt" in rest


def test_what_cannot_be_deleted_is_told_and_fails_the_run(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json", name="stubborn")
        def test_x(mldeploy_service, request):
            from mldeploy import deployment

            delete = deployment.delete

            def resist(workspace, name):
                delete(workspace, name)
                raise PermissionError("it resists")

            deployment.delete = resist
            request.config.add_cleanup(lambda: setattr(deployment, "delete", delete))
        """,
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 deployed, 1 left", "could not be deleted: stubborn-*it resists*"])
    for folder in project.temporary.glob("pytest-mldeploy-*"):  # kept, as the service may still be there
        shutil.rmtree(folder)
