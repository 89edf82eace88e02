"""Which file is a project's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldeploy.config.project import project_file


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("[tool.mldeploy]\ntimeout = 5\n", True),
        ("[ tool . mldeploy ]\n", True),
        ("[[tool.mldeploy.service]]\nname = 'a'\n", True),
        ("tool.mldeploy.timeout = 5\n", True),
        ("# see [tool.mldeploy]\n[tool.other]\n", False),
        ("[project]\ndependencies = ['pytest-mldeploy']\n", False),
        ("tool = 3 # mldeploy\n", False),
        ("[tool.mldeploy\n", False),
        ("", False),
    ],
)
def test_a_pyproject_is_ours_by_its_table(content: str, ours: bool, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert (project_file(tmp_path) is not None) is ours


def test_the_own_file_comes_first(tmp_path: Path) -> None:
    assert project_file(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[tool.mldeploy]\n")
    (tmp_path / "mldeploy.toml").write_text("")
    assert project_file(tmp_path) == tmp_path / "mldeploy.toml"
