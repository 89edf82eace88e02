"""How the marks are read, and where a test is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.errors import ConfigException
from pytest_mldeploy._marks import read_mark, wanted

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ('mldeploy("ic.json", modles=[])', "'modles' is no keyword of mldeploy"),
        ('mldeploy("ic.json", modles=[])', "did you mean 'models'?"),
        ('mldeploy("ic.json", scope="sesion")', "did you mean 'session'?"),
        ('mldeploy("ic.json", name="Echo")', "name='Echo' cannot begin a service's name"),
        ('mldeploy("ic.json", timeout=0)', "'timeout' expected a number above 0"),
        ('mldeploy("ic.json", nan="nil")', "'nan' expected one of bare, null"),
        ("mldeploy()", "takes one inference configuration"),
        ('mldeploy("ic.json", "model.pkl")', "takes one inference configuration"),
        ('mldeploy_requires("trafic")', "did you mean 'traffic'?"),
        ("mldeploy_requires()", "takes one or several words"),
        ('mldeploy_targets("asks")', "did you mean 'aks'?"),
    ],
)
def test_a_mark_used_in_a_wrong_way_is_a_usage_error(project: Project, mark: str, text: str) -> None:
    project.write(
        test_x__py=f"""
        import pytest

        @pytest.mark.{mark}
        def test_x(mldeploy_target):
            pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = result.stderr.str()
    assert f"test_x.py::test_x[local]: @pytest.mark.{mark.partition('(')[0]}: " in errors
    assert text in errors


def test_a_test_is_skipped_where_it_makes_no_sense(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy_requires("reload", "traffic", "tls")
        def test_requires(mldeploy_target): pass

        @pytest.mark.mldeploy_targets("aci", "aks")
        def test_elsewhere(mldeploy_target): pass

        @pytest.mark.mldeploy_requires("reload")
        @pytest.mark.mldeploy_targets("local", "aks")
        def test_here(mldeploy_target): pass
        """
    )
    result = project.run("-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED*test_x.py:*local lacks traffic, tls (several versions share one URI*",
            "SKIPPED*test_x.py:*for aci, aks, not for local",
        ]
    )


def test_a_mark_by_keyword(tmp_path: Path) -> None:
    mark = pytest.mark.mldeploy(inference_config="ic.json", nan="null").mark
    assert read_mark(mark, tmp_path).serving == {"nan": "null"}


def test_equal_wishes_have_equal_keys(tmp_path: Path) -> None:
    from mldeploy import InferenceConfig

    def key(**more: Any) -> str:
        return wanted(tmp_path, InferenceConfig("score.py", base=tmp_path), **more).key

    assert key() == key()
    assert key() == key(timeout=3.0, name="other")
    assert len({key(), key(models=["a.pkl"]), key(nan="null"), key(deployment_config=Path("dc.json"))}) == 4


def test_an_unknown_keyword_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigException) as caught:
        wanted(tmp_path, "ic.json", scoring_timeout=3)
    assert caught.value.hint == "did you mean 'scoring_timeout_ms'?"
