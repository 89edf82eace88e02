"""What is asked for by flag, environment variable, ini key or file, and what cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mldeploy.config.settings import SETTINGS

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project


TEST = """
def test_target(mldeploy_target) -> None:
    assert mldeploy_target.name == str(mldeploy_target) == "local"
    assert "reload" in mldeploy_target.capabilities
"""


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--mldeploy-target=locla", "*'locla' is no target (did you mean 'local'?); targets to be had: local*"),
        ("--mldeploy-target=aks", "*'aks' comes with a later version; targets to be had: local*"),
        ("--mldeploy-engine=podman", "*'engine' expected one of auto, process, docker*'podman'*"),
        ("--mldeploy-timeout=-1", "*'timeout' expected a number above 0, found '-1'*"),
        ("--mldeploy-nan=nil", "*'nan' expected one of bare, null*"),
    ],
)
def test_what_cannot_be_had_is_a_usage_error_before_any_test(project: Project, option: str, text: str) -> None:
    project.write(test_x__py="def test_x(): pass")
    result = project.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([text])
    result.stdout.no_fnmatch_line("*passed*")


def test_an_ini_key_that_cannot_be_had_is_a_usage_error_too(project: Project) -> None:
    project.write(test_x__py=TEST)
    result = project.run("-o", "mldeploy_target=local moon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'moon' is no target*"])


def test_an_environment_variable_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_ENGINE", "podman")
    project.write(test_x__py=TEST)
    assert project.run().ret == pytest.ExitCode.USAGE_ERROR


def test_a_flag_wins_over_the_environment_that_over_the_ini_key_and_that_over_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        conftest__py="""
        from pytest_mldeploy._options import OPTIONS

        def pytest_report_header(config):
            return f"timeout: {config.stash[OPTIONS].value('timeout', file=config.stash[OPTIONS].file.get('timeout'))}"
        """,
        mldeploy__toml="timeout = 1",
    )
    project.run().stdout.fnmatch_lines(["timeout: 1.0"])
    project.run("-o", "mldeploy_timeout=2").stdout.fnmatch_lines(["timeout: 2.0"])
    monkeypatch.setenv("MLDEPLOY_TIMEOUT", "3")
    project.run("-o", "mldeploy_timeout=2").stdout.fnmatch_lines(["timeout: 3.0"])
    project.run("-o", "mldeploy_timeout=2", "--mldeploy-timeout=4").stdout.fnmatch_lines(["timeout: 4.0"])


def test_a_wrong_file_in_the_root_folder_is_a_usage_error(project: Project) -> None:
    project.write(mldeploy__toml="timeuot = 1", test_x__py="def test_x(): pass")
    result = project.run("test_x.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'timeuot' is not a known key*", "*mldeploy.toml:1*", "*did you mean 'timeout'?*"])


def test_a_target_asked_for_twice_runs_once(project: Project) -> None:
    project.write(test_x__py=TEST)
    result = project.run("-v", "--mldeploy-target=local", "--mldeploy-target=local")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_x.py::test_target[[]local] PASSED*"])


def test_a_named_workspace_that_is_not_there_is_a_usage_error(project: Project) -> None:
    project.write(test_x__py=TEST)
    result = project.run("--mldeploy-workspace=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no workspace nowhere*"])


def test_help_tells_every_setting(project: Project) -> None:
    text = project.run("--help").stdout.str()
    for setting in SETTINGS.values():
        assert (setting.ini_key in text) is setting.plugin
        if not setting.plugin:
            continue
        assert f"--mldeploy-{setting.name.replace('_', '-')}" in text
        assert setting.variable in text


def test_marks_and_fixtures_are_told(project: Project) -> None:
    marks = project.run("--markers").stdout
    marks.fnmatch_lines(
        ["@pytest.mark.mldeploy(*", "@pytest.mark.mldeploy_requires(*", "@pytest.mark.mldeploy_targets(*"]
    )
    fixtures = project.run("--fixtures").stdout.str()
    for name in ("mldeploy_workspace", "mldeploy_target", "mldeploy_deploy", "mldeploy_service"):
        assert name in fixtures


def test_a_run_without_the_plugin(project: Project) -> None:
    project.write(test_x__py="def test_x(): pass", mldeploy__toml="")
    project.run("-p", "no:mldeploy").assert_outcomes(passed=1)


def test_another_platform_is_a_usage_error_only_when_a_test_uses_the_plugin(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_mldeploy._options.PLATFORMS", ("plan9",))
    project.write(test_x__py=TEST, test_y__py="def test_y(): pass")
    assert project.run("test_y.py").ret == pytest.ExitCode.OK
    result = project.run("test_x.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*Linux and macOS*"])
