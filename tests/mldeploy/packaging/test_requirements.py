"""Every form of a conda or pip line is taken or refused by name, with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mldeploy.errors import EnvironmentException, NeedsImage
from mldeploy.packaging.requirements import Wanted, from_definition, local_files, read_pip_line


def wanted(environment: Any) -> Wanted:
    return from_definition(environment.definition())


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        ("numpy", "numpy"),
        ("  pandas >= 2 , < 3  # frames", "pandas >= 2 , < 3"),
        ("inference-schema[numpy-support]==1.8", "inference-schema[numpy-support]==1.8"),
        ("six ; python_version > '3'", "six ; python_version > '3'"),
        ("six==1 --hash=sha256:00", "six==1 --hash=sha256:00"),
        ("https://host.example/six-1-py3-none-any.whl", "https://host.example/six-1-py3-none-any.whl"),
        ("six @ https://host.example/six-1.zip", "six @ https://host.example/six-1.zip"),
        ("azureml-core @ https://host.example/a.whl", "azureml-core @ https://host.example/a.whl"),
        ("azureml-monitoring", "azureml-monitoring"),
    ],
)
def test_requirements_are_taken_as_they_are(line: str, requirement: str) -> None:
    assert read_pip_line(line).requirement == requirement


@pytest.mark.parametrize(
    "line",
    ["azureml-defaults", "azureml_core~=1.2.*", "AzureML-Defaults>=1.0.45", "azureml-inference-server-http[x]==1"],
)
def test_what_the_scoring_server_has_is_filled(line: str) -> None:
    read = read_pip_line(line)
    assert read.filled.startswith("azureml-")
    assert not read.requirement


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--index-url https://index.example/simple", ("--index-url", "https://index.example/simple")),
        ("-i https://index.example/simple", ("--index-url", "https://index.example/simple")),
        ("--extra-index-url=https://index.example/x", ("--extra-index-url", "https://index.example/x")),
        ("--find-links https://index.example/x", ("--find-links", "https://index.example/x")),
        ("-f wheels", ("--find-links", str(Path("wheels").absolute()))),
        ("--no-index", ("--no-index",)),
        ("--pre", ("--prerelease", "allow")),
        ("--only-binary :all:", ("--only-binary", ":all:")),
        ("--no-binary=six", ("--no-binary", "six")),
        ("--prefer-binary", ()),
        ("--require-hashes", ()),
    ],
)
def test_options_about_indexes_become_uvs(line: str, options: tuple[str, ...]) -> None:
    read = read_pip_line(line)
    assert read.options == options
    assert not read.requirement


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("-e .", "build a wheel"),
        ("--editable=./package", "build a wheel"),
        ("git+https://host.example/a/b", "build a wheel"),
        ("mine @ git+ssh://git@host.example/a/b", "build a wheel"),
        ("-r other.txt", "from_pip_requirements"),
        ("-c bounds.txt", "from_pip_requirements"),
        ("--constraint", "from_pip_requirements"),
        ("--trusted-host index.example", "UV_INSECURE_HOST"),
        ("--proxy http://x", "uv.toml"),
        ("--index-url", "uv.toml"),
        ('--find-links "x', "quotes"),
    ],
)
def test_other_forms_are_refused_with_the_way_out(line: str, way_out: str) -> None:
    with pytest.raises(EnvironmentException, match="is not taken") as caught:
        read_pip_line(line)
    assert way_out in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:s3cr3t@index.example/simple",
        "--extra-index-url=https://s3cr3t@index.example/simple",
        "--find-links https://me:s3cr3t@index.example/x",
        "https://me:s3cr3t@host.example/six-1-py3-none-any.whl",
        "six @ https://me:s3cr3t@host.example/six-1-py3-none-any.whl",
        "mine @ git+https://s3cr3t@host.example/a/b",
        "six https://me:s3cr3t@host.example/",
        "--proxy https://me:s3cr3t@host.example/",
    ],
)
def test_credentials_are_refused_and_not_shown(line: str) -> None:
    with pytest.raises(EnvironmentException) as caught:
        read_pip_line(line)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("line", ["numpy==1 2", "not a requirement", "numpy=1.2", "=="])
def test_what_is_no_requirement_is_refused(line: str) -> None:
    with pytest.raises(EnvironmentException, match="is not a pip requirement"):
        read_pip_line(line)


def test_a_file_of_this_machine_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine-1.0-py3-none-any.whl").touch()
    (tmp_path / "folder").mkdir()
    read = read_pip_line("./mine-1.0-py3-none-any.whl[extra] ; python_version > '3'").requirement
    assert read == f"{tmp_path}/mine-1.0-py3-none-any.whl[extra] ; python_version > '3'"
    with pytest.raises(EnvironmentException, match="does not exist"):
        read_pip_line("./other-1.0-py3-none-any.whl")
    with pytest.raises(EnvironmentException) as caught:
        read_pip_line("./folder")
    assert "build a wheel" in caught.value.hint


def test_local_files_are_found_in_each_spelling(tmp_path: Path) -> None:
    wheel = tmp_path / "my mine-1.0-py3-none-any.whl"
    wheel.touch()
    asked = (f"mine @ {wheel.as_uri()}", wheel.as_uri(), "six", "https://host.example/x.whl", "/nowhere/x.whl")
    assert local_files(Wanted(requirements=asked)) == [wheel, wheel]


def test_conda_and_pip_become_one_list(described: Any) -> None:
    asked = wanted(
        described(
            "azureml-defaults>=1.0.45",
            "pandas",
            "--constraint scipy<2",
            "--no-index",
            conda=["python=3.10", "pip=20", "pytorch=2.5", "defaults::numpy=1.26.4=py310_0", "nomkl"],
        )
    )
    assert asked.python == "3.10"
    assert asked.requirements == ("torch==2.5.*", "numpy==1.26.4.*", "pandas")
    assert asked.constraints == ("scipy<2",)
    assert asked.options == ("--no-index",)
    assert asked.filled
    assert "channel defaults is not used" in asked.notices[0]
    assert "build py310_0 is not used" in asked.notices[1]


def test_conda_packages_outside_the_table_need_an_image(described: Any) -> None:
    with pytest.raises(NeedsImage, match=r"rdkit=2020, r-base\b") as caught:
        wanted(described(conda=["numpy", "rdkit=2020", "r-base"]))
    assert "engine docker" in caught.value.hint


def test_for_an_image_conda_is_asked_for_what_pip_has_not(described: Any) -> None:
    environment = described(
        "scipy>=1.10",
        "torch==2.5.1; python_version > '3'",
        conda=["python=3.10", "numpy=1.26", "pandas", "rdkit>=2020|2019.3", "ours::r-base[version='>=4']", "nomkl"],
    )
    environment.python.conda_dependencies.add_channel("ours")
    asked = from_definition(environment.definition(), image=True)
    assert asked.requirements == ("numpy==1.26.*", "pandas", "scipy>=1.10", "torch==2.5.1; python_version > '3'")
    assert asked.conda is not None
    assert asked.conda.packages == ("rdkit>=2020|2019.3", "ours::r-base[version='>=4']")
    assert asked.conda.bounds == ("numpy=1.26", "scipy >=1.10")
    assert "ours" in asked.conda.channels
    assert asked.conda.python == "3.10"
    assert asked.notices == ()


def test_for_an_image_too_conda_is_left_alone_where_pip_has_everything(described: Any) -> None:
    assert from_definition(described("six", conda=["numpy"]).definition(), image=True).conda is None


def test_channels_are_only_spoken_of_where_conda_packages_are(described: Any) -> None:
    for conda, spoken in (([], False), (["python=3.11"], False), (["numpy"], True)):
        environment = described("six", conda=conda)
        environment.python.conda_dependencies.add_channel("our-channel")
        environment.python.conda_dependencies.add_channel("conda-forge")
        assert any("(our-channel)" in notice for notice in wanted(environment).notices) is spoken


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("python=3.8", "3.8"),
        ("python=3.6.2", "3.6.2"),
        ("python==3.11.4", "3.11.4"),
        ("python 3.10.*", "3.10"),
        ("python>=3.9,<3.12", ">=3.9,<3.12"),
        ("python=3", "==3.*"),
        ("python", None),
    ],
)
def test_the_python_asked_for(described: Any, line: str, python: str | None) -> None:
    assert wanted(described(conda=[line])).python == python
