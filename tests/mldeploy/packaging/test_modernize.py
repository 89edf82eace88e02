"""Old pins move to the nearest versions that install, and nothing else in the file changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.packaging.modernize import modernize

CONDA = """# mine
name: project_environment
dependencies:
  - python=3.6.2  # as the page said
  - numpy=1.16
  - pip:
    - azureml-defaults==1.0.85
    - "alpha==0.20.3"  # pickled with it
    - joblib
channels: [conda-forge]
"""


@pytest.fixture
def index(wheels: Any) -> Any:
    for name, version in (("numpy", "1.26"), ("alpha", "1.0"), ("alpha", "2.0"), ("joblib", "1.4")):
        wheels.wheel(name, version)
    return wheels


def test_a_conda_file_keeps_all_but_its_versions(index: Any, tmp_path: Path) -> None:
    file = tmp_path / "conda.yml"
    file.write_text(CONDA)
    mended = modernize(file, offline=True)
    python = next(line for line in mended.text.splitlines() if "python=" in line)
    assert python.startswith("  - python=3.")
    assert python.endswith("  # as the page said")
    assert "python=3.6.2" not in mended.text
    assert mended.text.replace(python, "  - python=3.6.2  # as the page said") == CONDA.replace(
        "numpy=1.16", "numpy=1.26"
    ).replace("alpha==0.20.3", "alpha==1.0")
    assert "-  - numpy=1.16\n" in mended.diff
    assert "+  - numpy=1.26\n" in mended.diff
    assert file.read_text() == CONDA, "the file is not written"


def test_a_requirements_file_too(index: Any, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("alpha==0.5 ; python_version > '3'\nalpha-other\njoblib==1.4\n")
    index.wheel("alpha_other", "1")
    assert modernize(file).text == "alpha==1.0 ; python_version > '3'\nalpha-other\njoblib==1.4\n"


def test_a_file_that_installs_stays(index: Any, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("alpha==1.0\n")
    mended = modernize(file)
    assert (mended.text, mended.diff) == ("alpha==1.0\n", "")


def test_pins_that_do_not_go_together_move_together(index: Any, tmp_path: Path) -> None:
    index.wheel("beta", "1.0", ["alpha>=2"])
    file = tmp_path / "requirements.txt"
    file.write_text("alpha==0.5\nbeta==0.1\n")
    assert modernize(file).text == "alpha==2.0\nbeta==1.0\n"


def test_pins_that_never_go_together_are_named(index: Any, tmp_path: Path) -> None:
    index.wheel("beta", "1.0", ["alpha<0.1"])
    index.wheel("alpha", "0.0.1")
    file = tmp_path / "requirements.txt"
    file.write_text("alpha==1.0\nbeta==1.0\n")
    with pytest.raises(EnvironmentException, match="no versions of these packages go together") as caught:
        modernize(file)
    assert "alpha==1.0, beta==1.0" in caught.value.where


def test_a_pin_in_an_included_file_is_said(index: Any, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("alpha==0.5\n")
    file = tmp_path / "requirements.txt"
    file.write_text("-r more.txt\n")
    with pytest.raises(EnvironmentException, match=r"alpha==0\.5 has to become alpha==1\.0") as caught:
        modernize(file)
    assert "modernize that file first" in caught.value.hint


def test_the_indexes_that_the_file_names_are_asked(index: Any, tmp_path: Path) -> None:
    type(index)(tmp_path / "more").wheel("elsewhere", "3.0")
    file = tmp_path / "requirements.txt"
    file.write_text("--find-links more\nelsewhere==1.0\n")
    assert modernize(file).text == "--find-links more\nelsewhere==3.0\n"


def test_what_installs_but_does_not_run_beside_numpy_2_moves_too(wheels: Any, tmp_path: Path) -> None:
    for name, version in (("numpy", "2.2"), ("scikit_learn", "1.1.3"), ("scikit_learn", "1.4.2"), ("joblib", "0.13.2")):
        wheels.wheel(name, version)
    wheels.wheel("joblib", "1.2.0")
    file = tmp_path / "requirements.txt"
    file.write_text("scikit-learn==0.20.3\njoblib==0.13.2\nnumpy\n")
    assert modernize(file).text == "scikit-learn==1.4.2\njoblib==1.2.0\nnumpy\n"
    file.write_text("scikit-learn==1.1.3\nnumpy==2.2\n")
    assert modernize(file).text == "scikit-learn==1.4.2\nnumpy==2.2\n"


def test_beside_numpy_1_what_installs_stays(wheels: Any, tmp_path: Path) -> None:
    for name, version in (("numpy", "1.26"), ("scikit_learn", "1.1.3"), ("scikit_learn", "1.4.2")):
        wheels.wheel(name, version)
    file = tmp_path / "requirements.txt"
    file.write_text("scikit-learn==0.20.3\nnumpy==1.26\n")
    assert modernize(file).text == "scikit-learn==1.1.3\nnumpy==1.26\n"


INLINE = """{
  "entryScript": "score.py",
  "environment": {
    "name": "mine",
    "python": {"condaDependencies": {"dependencies": ["python=3.6.2", {"pip": ["azureml-defaults", "alpha==0.20.3"]}]}}
  }
}
"""


def test_an_environment_in_a_config_file_is_mended_there(index: Any, tmp_path: Path) -> None:
    file = tmp_path / "inferenceconfig.json"
    file.write_text(INLINE)
    mended = modernize(file, offline=True).text
    assert '"alpha==1.0"' in mended
    assert '"python=3.1' in mended
    assert mended.startswith('{\n  "entryScript": "score.py",\n')


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("score.py", "x==1", "neither a conda file nor a requirements file"),
        ("ic.json", '{"entryScript": "score.py"}', "no conda file"),
        ("ic.json", '{"condaFile": "env.yml"}', "the packages are in another file"),
        ("ic.json", '{"environment": {"python": {"condaDependenciesFile": "env.yml"}}}', "modernize env.yml"),
        ("env.yml", "- numpy", "no conda file"),
    ],
)
def test_what_has_no_packages_is_refused(name: str, content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EnvironmentException) as caught:
        modernize(tmp_path / name)
    assert told in str(caught.value)
