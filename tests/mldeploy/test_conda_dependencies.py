"""`CondaDependencies` has v1's surface; what v1 did was observed with azureml-core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mldeploy.conda_dependencies import CondaDependencies
from mldeploy.errors import EnvironmentException, UserErrorException


@pytest.fixture
def conda() -> CondaDependencies:
    return CondaDependencies.create(
        pip_packages=["scikit-learn", "pandas==1.0"], conda_packages=["numpy=1.2"], python_version="3.10"
    )


def test_the_default_is_what_a_service_needs() -> None:
    conda = CondaDependencies()
    assert conda.pip_packages == ["azureml-defaults"]
    assert conda.conda_packages == []
    assert conda.conda_channels == ["anaconda", "conda-forge"]
    assert conda.get_python_version() is None
    assert CondaDependencies.create() == conda


def test_create(conda: CondaDependencies) -> None:
    assert conda.pip_packages == ["scikit-learn", "pandas==1.0"]
    assert conda.conda_packages == ["python=3.10", "numpy=1.2"]
    assert conda.get_python_version() == "3.10"
    assert CondaDependencies.create(pip_packages=[]).pip_packages == []
    indexed = CondaDependencies.create(pip_indexurl="https://index.example/simple")
    assert indexed.pip_options == ["--index-url https://index.example/simple"]


def test_a_package_of_the_same_name_is_replaced(conda: CondaDependencies) -> None:
    conda.add_pip_package("Pandas>=2")
    conda.add_pip_package("scikit_learn[x]==1.5")
    conda.add_conda_package("conda-forge::numpy=1.26")
    assert conda.pip_packages == ["Pandas>=2", "scikit_learn[x]==1.5"]
    assert conda.conda_packages == ["python=3.10", "conda-forge::numpy=1.26"]


def test_packages_are_removed_by_name_and_absent_ones_are_no_error(conda: CondaDependencies) -> None:
    conda.remove_pip_package("pandas")
    conda.remove_pip_package("nothing")
    conda.remove_conda_package("numpy=9")
    conda.remove_conda_package("nothing")
    assert conda.pip_packages == ["scikit-learn"]
    assert conda.conda_packages == ["python=3.10"]
    conda.remove_pip_package("scikit-learn")
    assert conda.as_dict()["dependencies"] == ["python=3.10"]


def test_names_that_begin_alike_are_different(conda: CondaDependencies) -> None:
    conda.add_pip_package("pandas-stubs")
    conda.add_pip_package("mine @ https://host.example/mine-1-py3-none-any.whl")
    assert len(conda.pip_packages) == 4
    conda.remove_pip_package("mine")
    conda.remove_pip_package("pandas")
    assert conda.pip_packages == ["scikit-learn", "pandas-stubs"]


def test_options(conda: CondaDependencies) -> None:
    conda.set_pip_option("--pre")
    conda.set_pip_option("--extra-index-url https://y.example/")
    conda.set_pip_option("--extra-index-url=https://z.example/")
    conda.set_pip_index_url("--index-url https://x.example/simple")
    conda.set_pip_index_url("https://w.example/simple")
    assert conda.pip_options == [
        "--pre",
        "--extra-index-url=https://z.example/",
        "--index-url https://w.example/simple",
    ]
    conda.remove_pip_option("--pre")
    conda.remove_pip_option("--extra-index-url")
    assert conda.pip_options == ["--index-url https://w.example/simple"]
    assert conda.pip_packages == ["scikit-learn", "pandas==1.0"]


@pytest.mark.parametrize(
    "wrong", [lambda conda: conda.add_pip_package("-r x.txt"), lambda conda: conda.set_pip_option("https://x.example")]
)
def test_packages_and_options_are_not_mixed_up(
    conda: CondaDependencies, wrong: Callable[[CondaDependencies], None]
) -> None:
    with pytest.raises(UserErrorException, match="Invalid"):
        wrong(conda)


def test_channels(conda: CondaDependencies) -> None:
    conda.add_channel("mine")
    conda.add_channel("mine")
    conda.remove_channel("anaconda")
    conda.remove_channel("nothing")
    assert conda.conda_channels == ["conda-forge", "mine"]


@pytest.mark.parametrize(("line", "version"), [("python=3.9", "3.9"), ("python>=3.9", ">=3.9"), ("python", None)])
def test_the_python_version_is_read_as_written(line: str, version: str | None) -> None:
    conda = CondaDependencies()
    conda.add_conda_package(line)
    assert conda.get_python_version() == version
    conda.set_python_version("3.12")
    assert conda.conda_packages == ["python=3.12"]


def test_frameworks() -> None:
    conda = CondaDependencies()
    conda.add_tensorflow_pip_package(version="2.16")
    conda.add_tensorflow_conda_package("gpu")
    assert conda.pip_packages == ["azureml-defaults", "tensorflow==2.16"]
    assert conda.conda_packages == ["tensorflow"]
    with pytest.raises(UserErrorException, match="core type"):
        conda.add_tensorflow_pip_package("tpu")
    with pytest.raises(UserErrorException, match="CNTK"):
        conda.add_cntk_package()


def test_what_is_written_is_read_again(conda: CondaDependencies, tmp_path: Path) -> None:
    conda.set_pip_option("--no-index")
    path = conda.save(tmp_path / "deep" / "conda.yml")
    assert CondaDependencies(path) == conda
    assert yaml.safe_load(conda.serialize_to_string()) == conda.as_dict()
    assert conda.save(tmp_path) == str(tmp_path / "conda_dependencies.yml")
    assert conda.save_to_file(tmp_path) == ".azureml/auto_conda_dependencies.yml"
    assert CondaDependencies(tmp_path / ".azureml" / "auto_conda_dependencies.yml") == conda


def test_a_copy_is_given(conda: CondaDependencies) -> None:
    conda.as_dict()["dependencies"].clear()
    conda.conda_channels.clear()
    assert conda.conda_packages
    assert conda.conda_channels


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentException, match="cannot be read"):
        CondaDependencies(tmp_path / "nowhere.yml")
    with pytest.raises(UserErrorException, match="exclude each other"):
        CondaDependencies(tmp_path / "nowhere.yml", _underlying_structure={})


def test_the_rest_of_v1s_surface() -> None:
    assert CondaDependencies().get_default_number_of_packages() == (0, 0)
    assert CondaDependencies.sdk_origin_url() == ""
    assert CondaDependencies.merge_requirements(["a==1", "a[x]", "b"]) == ["a==1", "a[x]", "b"]
