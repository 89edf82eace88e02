"""Requirements and conda files become whole: nothing has to lie beside the environment any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.packaging.requirement_files import read_conda, read_requirements


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text(
        "# mine\n\nnumpy \\\n  >=1  # why\n-r sub/more.txt\n--constraint=bounds.txt\n"
        "-f wheels\n./a-1-py3-none-any.whl[x] ; y\n"
    )
    (tmp_path / "sub" / "more.txt").write_text("six\n../b-1.tar.gz\nc @ ./c.whl\n--find-links https://x.example/y\n")
    (tmp_path / "bounds.txt").write_text("pandas<3\n")
    return tmp_path


def test_includes_are_followed_and_paths_made_absolute(files: Path) -> None:
    assert read_requirements(files / "requirements.txt") == [
        "numpy >=1",
        "six",
        f"{files}/sub/../b-1.tar.gz",
        "c @ ./c.whl",
        "--find-links https://x.example/y",
        "--constraint pandas<3",
        f"--find-links {files}/wheels",
        f"{files}/a-1-py3-none-any.whl[x] ; y",
    ]


def test_the_pip_part_of_a_conda_file_too(files: Path) -> None:
    conda = files / "environment.yml"
    conda.write_text("name: x\ndependencies:\n- python=3.10\n- pip:\n  - -r sub/more.txt\n- pip\n")
    read = read_conda(conda)
    assert read["dependencies"][0] == "python=3.10"
    assert read["dependencies"][1]["pip"][:2] == ["six", f"{files}/sub/../b-1.tar.gz"]


@pytest.mark.parametrize("text", ["[1, 2]", "dependencies: x", "numpy==1", ""])
def test_what_is_no_conda_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(EnvironmentException, match="no conda file"):
        read_conda(tmp_path / "x.yml")


def test_an_empty_pip_part_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("dependencies:\n- numpy\n- pip:\n")
    assert read_conda(tmp_path / "x.yml") == {"dependencies": ["numpy"]}


def test_broken_yaml_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("a: [")
    with pytest.raises(EnvironmentException, match="not YAML"):
        read_conda(tmp_path / "x.yml")


def test_a_file_that_is_not_there_is_named(files: Path) -> None:
    (files / "requirements.txt").write_text("-r nowhere.txt\n")
    with pytest.raises(EnvironmentException, match=r"nowhere\.txt cannot be read"):
        read_requirements(files / "requirements.txt")


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-ra.txt\n")
    with pytest.raises(EnvironmentException, match="includes itself"):
        read_requirements(tmp_path / "a.txt")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EnvironmentException, match="not UTF-8"):
        read_requirements(tmp_path / "a.txt")
