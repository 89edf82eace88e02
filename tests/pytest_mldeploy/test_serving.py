"""How the scoring server answers, and which one it is, as the command line, marks and files say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project

WHICH = """
import pytest
import requests

pytestmark = pytest.mark.mldeploy("ic.json")


def test_it(mldeploy_service):
    assert mldeploy_service.run({"a": 1}) == {"a": 1}
    server = requests.get(mldeploy_service.scoring_uri.removesuffix("score")).headers.get("Server")
    print("the server is", server)
"""


@pytest.mark.usefixtures("official_python")
@pytest.mark.parametrize("how", ["flag", "mark", "variable", "ini", "file"])
def test_the_official_server(project: Project, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    marked = WHICH.replace('"ic.json"', '"ic.json", serving="azmlinfsrv"')
    project.write(test_x__py=marked if how == "mark" else WHICH)
    flags = ["--mldeploy-serving=azmlinfsrv"] if how == "flag" else []
    if how == "variable":
        monkeypatch.setenv("MLDEPLOY_SERVING", "azmlinfsrv")
    if how == "ini":
        (project.path / "pytest.ini").write_text(
            (project.path / "pytest.ini").read_text() + "mldeploy_serving = azmlinfsrv\n"
        )
    if how == "file":
        project.write(mldeploy__toml="[serving]\nserving = 'azmlinfsrv'\n")
    result = project.run("-s", *flags)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the server is gunicorn*"])


@pytest.mark.parametrize(
    ("flags", "file", "told"),
    [
        (["--mldeploy-serving=azmlinfsrv", "--mldeploy-contract=strict"], "", "*'contract' is 'strict', which the*"),
        (["--mldeploy-serving=azmlinfsrv", "--mldeploy-metrics"], "", "*'metrics' is True, which the official server*"),
        (
            ["--mldeploy-serving=azmlinfsrv"],
            "[serving]\nnan = 'null'\n",
            "*'nan' is 'null', which the*",
        ),
        ([], "[serving]\nserving = 'azmlinfsrv'\nrequest_log = 'json'\n", "*'serving.request_log' is 'json', which*"),
    ],
)
def test_what_the_official_server_cannot_do_is_refused_before_any_test(
    project: Project, flags: list[str], file: str, told: str
) -> None:
    project.write(test_x__py=WHICH, mldeploy__toml=file or "timeout = 100\n")
    result = project.pytester.runpytest_subprocess(*flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])


def test_a_mark_that_does_not_fit_is_refused(project: Project) -> None:
    both = '"ic.json", serving="azmlinfsrv", scoring_grace_ms=10'
    project.write(test_x__py=WHICH.replace('"ic.json"', both))
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_x.py::test_it*: @pytest.mark.mldeploy: 'scoring_grace_ms' is 10, which*"])
    project.write(test_x__py=WHICH.replace('"ic.json"', '"ic.json", contract="strict"'))
    result = project.run("--mldeploy-serving=azmlinfsrv")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'contract' is 'strict', which the official server*"])


def test_the_environments_own_variables_count_where_nobody_says_a_setting(project: Project) -> None:
    project.write(
        score__py="def init(): pass\ndef run(data): return float('nan')\n",
        ic__json="""
        {"entryScript": "score.py", "environment": {"name": "own", "environmentVariables": {"MLDEPLOY_NAN": "null"}}}
        """,
        test_x__py="""
        import math
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_own(mldeploy_service):
            assert mldeploy_service.run(1) is None

        @pytest.mark.mldeploy("ic.json", nan="bare")
        def test_said(mldeploy_service):
            assert math.isnan(mldeploy_service.run(1))
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 deployed, none left"])


@pytest.mark.parametrize("contract", ["compatible", "strict", "v1"])
def test_every_contract_reaches_the_server(project: Project, contract: str) -> None:
    project.write(
        score__py="import os\ndef init(): pass\ndef run(data): return os.environ['MLDEPLOY_CONTRACT']\n",
        test_x__py=f"""
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_it(mldeploy_service):
            assert mldeploy_service.run(1) == {contract!r}
        """,
    )
    project.run(f"--mldeploy-contract={contract}").assert_outcomes(passed=1)
