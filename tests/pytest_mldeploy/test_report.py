"""What a failing test's report says, and the hooks it is made with."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

FAILING = """
import pytest

@pytest.mark.mldeploy("ic.json")
@pytest.mark.parametrize("text", ["it's here"])
def test_x(mldeploy_service, text):
    mldeploy_service.run({"a": 1})
    assert mldeploy_service.run(1) == 2
"""


def test_a_failed_test_has_state_log_and_the_command_that_runs_it_again(project: Project) -> None:
    project.write(test_x__py=FAILING)
    result = project.run("--mldeploy-timeout=77")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*assert 1 == 2*",
            "*mldeploy: service pytest-* on local*",
            "state:  Healthy",
            "uri:    http://localhost:*/score",
            "log (the last 40 lines):",
            "*the echo is ready*",
            "*POST /score 200*",
            "*mldeploy: once more*",
        ]
    )
    command = next(line for line in result.outlines if line.startswith("pytest "))
    program, *arguments = shlex.split(command)
    assert program == "pytest"
    assert arguments[1:] == ["--mldeploy-target=local", "--mldeploy-timeout=77"]
    project.run(*arguments).assert_outcomes(failed=1)


def test_the_command_works_from_another_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(test_x__py=FAILING)
    below = project.path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    result = project.run("..")
    command = next(line for line in result.outlines if line.startswith("pytest "))
    assert shlex.split(command)[1].startswith("../test_x.py::test_x[local-")


def test_a_failed_deployment_has_state_reason_and_log(project: Project) -> None:
    project.write(
        score__py="import sys\ndef init():\n    print('looking'); sys.exit(7)\ndef run(data): return data",
        test_x__py=FAILING,
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_x*",
            "WebserviceException: Service deployment polling reached non-successful terminal state*Failed*",
            "*CrashLoopBackOff*",
            "*looking*",
            "*mldeploy: service pytest-* on local*",
            "state:  Failed",
            "reason: {",
            "*looking*",
            "*mldeploy: once more*",
            "pytest *",
        ]
    )


def test_no_frame_of_ours_is_in_a_traceback(project: Project) -> None:
    project.write(
        score__py="def init(): pass\ndef run(data): raise ValueError('bad rows')",
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_run(mldeploy_service):
            mldeploy_service.run(1)

        @pytest.mark.mldeploy("ic.json")
        def test_shared(mldeploy_service):
            mldeploy_service.update()

        @pytest.mark.mldeploy("ic.json")
        def test_keys(mldeploy_service):
            mldeploy_service.get_keys()

        @pytest.mark.mldeploy("ic.json", scope="function")
        def test_gone(mldeploy_service):
            uri = mldeploy_service.scoring_uri
            mldeploy_service.delete()
            mldeploy_service.run(1)

        def test_factory(mldeploy_deploy):
            mldeploy_deploy("nowhere.json")

        def test_keyword(mldeploy_deploy):
            mldeploy_deploy("ic.json", modles=[])
        """,
    )
    result = project.run("--tb=short")
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["*Response Code: 500*"])
    frames = [line for line in result.outlines if re.match(r"\S+:\d+: in ", line)]
    assert [frame.partition(":")[0] for frame in frames] == ["test_x.py"] * 6
    project.run("--tb=short", "--full-trace").stdout.fnmatch_lines(["*webservice/_service.py:*"])


def test_an_error_of_the_code_itself_keeps_its_frames(project: Project) -> None:
    project.write(
        conftest__py="""
        def pytest_mldeploy_deployed(item):
            raise RuntimeError("a bug")
        """,
        test_x__py=FAILING,
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*_deployments.py:*"])


def test_hooks_follow_the_deployments(project: Project) -> None:
    project.write(
        bad__py="def init(): raise ValueError('no')\ndef run(data): return data",
        conftest__py="""
        def pytest_mldeploy_deployed(item, service, target, seconds):
            print("DEPLOYED", item.name, service.state, target, seconds > 0)

        def pytest_mldeploy_failed(item, service, target, error):
            print("FAILED", item.name, service.state, target, type(error).__name__)

        def pytest_mldeploy_notice(item, text):
            print("NOTICE", text)
        """,
        dc__json='{"computeType": "ACI"}',
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json", deployment_config="dc.json")
        def test_good(mldeploy_service): pass

        @pytest.mark.mldeploy({"entryScript": "bad.py"})
        def test_bad(mldeploy_service): pass
        """,
    )
    result = project.run("-s")
    result.stdout.fnmatch_lines(
        [
            "*NOTICE dc.json is for aci: on local its defaults were taken",
            "DEPLOYED test_good[[]local] Healthy local True",
            "*FAILED test_bad[[]local] Failed local WebserviceException",
        ]
    )


def test_what_was_deployed_is_in_the_junit_file(project: Project) -> None:
    project.write(test_x__py=FAILING)
    project.run("--junitxml=report.xml", "-o", "junit_family=xunit1")
    assert 'name="mldeploy_deployed" value="pytest-' in (project.path / "report.xml").read_text()
