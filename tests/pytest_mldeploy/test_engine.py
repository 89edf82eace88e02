"""What runs the services of a test run: asked for in any of the places, or chosen by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

TEST = """
import pytest

@pytest.mark.mldeploy("ic.json")
def test_echo(mldeploy_service):
    record = mldeploy_service.workspace.store.services.get(mldeploy_service.name)
    assert mldeploy_service.run([1, 2]) == [1, 2]
    print("runs as", record.engine)
"""
LIMITS = TEST.replace(
    '"ic.json"',
    '"ic.json", deployment_config={"computeType": "local", "containerResourceRequirements": {"memoryInGB": 0.5}}',
)


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A machine whose Docker does not answer."""
    socket = f"unix://{tmp_path}/nobody.sock"
    monkeypatch.setenv("DOCKER_HOST", socket)
    return socket


@pytest.mark.usefixtures("docker_client")
def test_docker_runs_the_services_where_it_is_asked_for(project: Project) -> None:
    project.write(test_x__py=TEST, mldeploy__toml='engine = "docker"\n')
    result = project.run("-s", "test_x.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*runs as docker*"])


def test_a_process_unless_somebody_asks(project: Project, no_docker: str) -> None:
    project.write(test_x__py=TEST)
    result = project.run("-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*runs as process*"])
    assert no_docker


@pytest.mark.usefixtures("docker_client")
def test_what_only_docker_can_do_goes_to_docker_by_itself(project: Project) -> None:
    project.write(test_x__py=LIMITS)
    result = project.run("-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*runs as docker*", "*memoryInGB: 0.5*"])


@pytest.mark.usefixtures("docker_client")
def test_tests_that_want_another_container_do_not_share_it(project: Project) -> None:
    with_hostname = '{"entryScript": "score.py", "environment": {"docker": {"arguments": ["--hostname=%s"]}}}'
    project.write(
        score__py="import socket\ndef init(): pass\n\ndef run(data):\n    return socket.gethostname()\n",
        a__json=with_hostname % "first",
        b__json=with_hostname % "second",
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("a.json")
        def test_first(mldeploy_service):
            assert mldeploy_service.run("") == "first"

        @pytest.mark.mldeploy("b.json")
        def test_second(mldeploy_service):
            assert mldeploy_service.run("") == "second"
        """,
    )
    project.run().assert_outcomes(passed=2)


@pytest.mark.parametrize("place", ["flag", "ini", "variable", "file", "xdist"])
def test_docker_that_is_asked_for_in_any_of_the_places_and_missing_is_a_usage_error_in_one_line(
    project: Project, no_docker: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    project.write(test_x__py=TEST)
    flag = "--mldeploy-engine=docker"
    options = {"flag": [flag], "ini": ["-o", "mldeploy_engine=docker"], "xdist": [flag, "-n", "2"]}.get(place, [])
    if place == "variable":
        monkeypatch.setenv("MLDEPLOY_ENGINE", "docker")
    if place == "file":
        project.write(mldeploy__toml='engine = "docker"\n')
    result = project.run(*options)
    assert result.ret in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED}
    told = [line for line in (*result.errlines, *result.outlines) if "no Docker engine answers" in line]
    assert told
    assert "the engine 'docker' is asked for" in told[0]
    assert no_docker in told[0]
    assert "unset DOCKER_HOST" in told[0].partition("; next: ")[2]
    result.stdout.no_fnmatch_line("*passed*")


def test_a_run_without_services_needs_no_docker(project: Project, no_docker: str) -> None:
    project.write(test_x__py="def test_x(): pass")
    project.run("--mldeploy-engine=docker").assert_outcomes(passed=1)
    assert no_docker


def test_where_nobody_asked_for_docker_what_needs_it_is_skipped(
    project: Project, no_docker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(test_x__py=LIMITS)
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs docker: *memoryInGB: 0.5*", "*no Docker engine answers*"])
    monkeypatch.setenv("MLDEPLOY_REQUIRE", "docker")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*docker is required by MLDEPLOY_REQUIRE: *", "*no Docker engine answers*"])
    assert no_docker


@pytest.mark.usefixtures("docker_client")
def test_what_docker_refuses_is_no_reason_to_skip(project: Project) -> None:
    arguments = '{"entryScript": "score.py", "environment": {"docker": {"arguments": ["--privileged"]}}}'
    project.write(test_x__py=TEST, ic__json=arguments)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'--privileged' is not taken*"])


@pytest.mark.usefixtures("docker_client")
def test_what_docker_does_not_manage_is_no_reason_to_skip(project: Project) -> None:
    dockerfile = '{"entryScript": "score.py", "environment": {"docker": {"baseDockerfile": "FROM scratch\\nCOPY x /"}}}'
    project.write(test_x__py=TEST, ic__json=dockerfile)
    project.run().assert_outcomes(errors=1)
