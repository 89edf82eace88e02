"""Under pytest-xdist each worker has what it needs, and the controller tells what a worker has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project


def test_two_workers(project: Project) -> None:
    project.write(
        dc__json='{"computeType": "ACI"}',
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json", deployment_config="dc.json")
        @pytest.mark.parametrize("number", range(4))
        def test_x(mldeploy_service, number):
            assert mldeploy_service.run(number) == number
        """,
        mldeploy__toml="""
        [[service]]
        name = "echo"
        inference_config = "ic.json"
        """,
    )
    result = project.pytester.runpytest_subprocess("-n2", "--mldeploy-timeout=100")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["[123] deployed, none left", "dc.json is for aci: *"])


def test_a_mark_used_in_a_wrong_way_is_one_usage_error(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json", modles=[])
        def test_x(mldeploy_service): pass
        """
    )
    result = project.pytester.runpytest_subprocess("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: test_x.py::test_x*'modles' is no keyword of mldeploy"])
    assert "INTERNALERROR" not in result.stdout.str()
