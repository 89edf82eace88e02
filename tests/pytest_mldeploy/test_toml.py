"""`mldeploy.toml` as tests without test code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

TWO_SAMPLES = """
[[service]]
name = "echo"
inference_config = "ic.json"

[[service.sample]]
request = { a = [1, 2.0000001] }
answer = { a = [1, 2] }

[[service.sample]]
request = { a = [1, 2.5], b = "x" }
answer = { a = [1, 2], c = "x" }
rtol = 0.1
"""


def test_a_service_is_healthy_and_gives_its_samples_answers(project: Project) -> None:
    project.write(mldeploy__toml=TWO_SAMPLES)
    result = project.run("-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "mldeploy.toml::echo::healthy[[]local] PASSED*",
            "mldeploy.toml::echo::sample0[[]local] PASSED*",
            "mldeploy.toml::echo::sample1[[]local] FAILED*",
            "*the answer differs from the sample's (rtol=0.1, atol=1e-12)",
            "  answer.a[[]1]: expected 2, got 2.5 (0.5 apart, 0.2 allowed)",
            '  answer.c is missing: "x"',
            '  answer.b was not expected: "x"',
            'request:  {"a": [[]1, 2.5], "b": "x"}',
            'expected: {"a": [[]1, 2], "c": "x"}',
            'got:      {"a": [[]1, 2.5], "b": "x"}',
            "state:  Healthy",
            "*POST /score 200*",
            "pytest 'mldeploy.toml::echo::sample1[[]local]' --mldeploy-target=local",
            "1 deployed, none left",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "_toml.py" not in result.stdout.str()


def test_one_check_by_its_id(project: Project) -> None:
    project.write(mldeploy__toml=TWO_SAMPLES)
    project.run("mldeploy.toml::echo::sample0[local]").assert_outcomes(passed=1)
    project.run("mldeploy.toml::echo::healthy").assert_outcomes(passed=1)


def test_a_table_of_pyproject_toml(project: Project) -> None:
    project.write(
        pyproject__toml="""
        [tool.mldeploy.serving]
        nan = "null"

        [[tool.mldeploy.service]]
        name = "echo"
        inference_config = { entryScript = "score.py" }
        sample = [{ request = [1], answer = [1] }]
        """,
        score__py="def init(): pass\ndef run(data): return [float('nan')] if data == '[2]' else [1]",
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_the_settings_are_the_marks_too(mldeploy_service):
            assert mldeploy_service.run([2]) == [None]
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["1 deployed, none left"])


def test_a_pyproject_toml_without_services_is_no_test_file(project: Project) -> None:
    project.write(pyproject__toml="[project]\nname = 'x'\n", test_x__py="def test_x(): pass")
    project.run().assert_outcomes(passed=1)


def test_models_targets_and_deployment(project: Project) -> None:
    (project.path / "half.txt").write_text("0.5")
    project.write(
        score__py="""
        import os
        from pathlib import Path

        def init():
            global value
            value = float((Path(os.environ["AZUREML_MODEL_DIR"]) / "half.txt").read_text())

        def run(data):
            return value
        """,
        mldeploy__toml="""
        [[service]]
        name = "half"
        inference_config = "ic.json"
        models = { half = "half.txt" }
        targets = ["local", "aks"]
        [service.deployment.local]
        description = "a half"
        [service.deployment.aks]
        numReplicas = 2
        autoScaler = { autoscaleEnabled = false }
        [[service.sample]]
        request = "anything"
        answer = 0.5

        [[service]]
        name = "elsewhere"
        inference_config = "ic.json"
        targets = ["aci"]
        """,
    )
    result = project.run("-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*mldeploy.toml*: for aci, not for local"])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "[[service]]\nname = 'x'\n",
            ["'service[[]0[]].inference_config' is required", "*where: */below/mldeploy.toml:1"],
        ),
        ("[[service]\n", ["*mldeploy.toml:1*"]),
        ("[[service]]\nname = 'x'\ninference_config = 'nowhere.json'\n", ["*cannot be read*", "*nowhere.json*"]),
    ],
)
def test_a_wrong_file_is_told_with_its_place(project: Project, text: str, lines: list[str]) -> None:
    folder = project.path / "below"
    folder.mkdir()
    (folder / "mldeploy.toml").write_text(text)
    result = project.run()
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    result.stdout.fnmatch_lines(lines)
    assert "Traceback" not in result.stdout.str()


def test_a_service_that_cannot_start_fails_all_its_checks_once_it_was_tried(project: Project) -> None:
    project.write(
        mldeploy__toml=TWO_SAMPLES, score__py="def init(): raise ValueError('no such weights')\ndef run(d): ..."
    )
    result = project.run()
    result.assert_outcomes(failed=3)
    assert result.stdout.str().count("mldeploy: service echo-") == 1
    result.stdout.fnmatch_lines(["*no such weights*"])


def test_another_workspace_in_a_file_below_is_refused(project: Project) -> None:
    folder = project.path / "below"
    folder.mkdir()
    (folder / "mldeploy.toml").write_text("workspace = 'w1'\n" + TWO_SAMPLES)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*'workspace' is a setting of the whole run*", "*--mldeploy-workspace=w1*"])
