"""`Environment` has v1's surface, is whole by itself, and is registered in versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mldeploy.conda_dependencies import CondaDependencies
from mldeploy.environment import ContainerRegistry, Environment
from mldeploy.errors import ConfigException, EnvironmentException
from mldeploy.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    return Workspace.create("environments")


@pytest.fixture
def full(tmp_path: Path) -> Environment:
    """An environment with everything set."""
    environment = Environment("full")
    environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["pandas"], python_version="3.10")
    environment.python.base_conda_environment = "base"
    environment.docker.base_image = "registry.example/image:1"
    environment.docker.base_image_registry = ContainerRegistry("registry.example", "me", "pw")
    environment.docker.shm_size = "2g"
    environment.docker.arguments = ["--gpus=all"]
    environment.environment_variables = {"A": "1"}
    environment.inferencing_stack_version = "latest"
    return environment


def test_a_new_one_has_v1s_defaults() -> None:
    environment = Environment("new")
    assert environment.version is None
    assert environment.python.conda_dependencies == CondaDependencies()
    assert environment.python.interpreter_path == "python"
    assert not environment.python.user_managed_dependencies
    assert environment.docker.base_image is None
    assert environment.docker.shared_volumes
    assert environment.environment_variables == {}
    assert str(environment) == "Environment(Name: new,\nVersion: None)"
    with pytest.raises(TypeError, match="kind"):
        Environment("new", kind="x")


def test_the_definition_and_back(full: Environment) -> None:
    again = Environment.from_definition(full.definition())
    assert again.definition() == full.definition()
    assert again.docker == full.docker
    assert again.python == full.python
    assert "pw" not in repr(full.docker)


def test_sections_of_a_scaffold_survive() -> None:
    spark = {"precachePackages": True, "packages": [], "repositories": []}
    definition = Environment("x").definition().model_validate({"name": "x", "spark": spark, "r": None})
    assert Environment.from_definition(definition).definition().spark == definition.spark


def test_a_wrong_value_is_told_with_its_key() -> None:
    environment = Environment("wrong")
    environment.environment_variables["A"] = 1  # type: ignore[assignment]
    environment.inferencing_stack_version = "newest"
    with pytest.raises(ConfigException) as caught:
        environment.definition()
    assert "environmentVariables.A" in caught.value.message
    assert "inferencingStackVersion" in caught.value.message
    assert caught.value.where == "environment wrong"


def test_a_clone_is_another_one(full: Environment) -> None:
    full.version = "3"
    clone = full.clone("other")
    assert (clone.name, clone.version) == ("other", None)
    assert clone.python.conda_dependencies is not None
    clone.python.conda_dependencies.add_pip_package("scikit-learn")
    clone.environment_variables["A"] = "2"
    clone.docker.arguments.append("x")
    assert full.python.conda_dependencies is not None
    assert full.python.conda_dependencies.pip_packages == ["pandas"]
    assert full.environment_variables == {"A": "1"}
    assert full.docker.arguments == ["--gpus=all"]


def test_from_a_conda_file(tmp_path: Path) -> None:
    file = tmp_path / "conda.yml"
    file.write_text("name: x\ndependencies:\n- python=3.10\n- pip:\n  - -r more.txt\n")
    (tmp_path / "more.txt").write_text("six\n")
    environment = Environment.from_conda_specification("x", file)
    file.unlink()
    assert environment.python.conda_dependencies is not None
    assert environment.python.conda_dependencies.pip_packages == ["six"]
    assert environment.python.conda_dependencies.get_python_version() == "3.10"


def test_from_a_requirements_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# why\nnumpy==1\n-r more.txt\n-c bounds.txt\n--extra-index-url https://y.example/\n")
    (tmp_path / "more.txt").write_text("six\n")
    (tmp_path / "bounds.txt").write_text("pytz<2030\n")
    conda = Environment.from_pip_requirements("x", str(file), pip_version="24.0").python.conda_dependencies
    assert conda is not None
    assert conda.pip_packages == ["numpy==1", "six"]
    assert conda.pip_options == ["--constraint pytz<2030", "--extra-index-url https://y.example/"]
    assert conda.conda_packages == ["pip=24.0"]


def test_a_conda_file_named_by_the_section_is_read_when_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conda.yml").write_text("dependencies:\n- numpy\n")
    environment = Environment("x")
    environment.python.conda_dependencies_file = "conda.yml"
    definition = environment.definition()
    assert definition.python.conda_dependencies is not None
    assert definition.python.conda_dependencies.dependencies == ["numpy"]


def test_a_conda_file_named_by_a_config_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies:\n- numpy\n")
    definition = Environment("x").definition().model_validate({"python": {"condaDependenciesFile": "conda.yml"}})
    conda = Environment.from_definition(definition, tmp_path).python.conda_dependencies
    assert conda is not None
    assert conda.conda_packages == ["numpy"]


def test_from_an_image(tmp_path: Path) -> None:
    environment = Environment.from_docker_image("x", "registry.example/image:1")
    assert environment.docker.base_image == "registry.example/image:1"
    assert environment.python.user_managed_dependencies, "its packages are the image's"
    (tmp_path / "requirements.txt").write_text("six\n")
    with_pip = Environment.from_docker_image("x", "image", pip_requirements=tmp_path / "requirements.txt")
    assert not with_pip.python.user_managed_dependencies
    with pytest.raises(EnvironmentException, match="exclude each other"):
        Environment.from_docker_image("x", "image", conda_specification="a", pip_requirements="b")


@pytest.mark.parametrize("as_path", [True, False])
def test_from_a_dockerfile(tmp_path: Path, as_path: bool) -> None:
    text = "FROM registry.example/image\nRUN x\n"
    file = tmp_path / "Dockerfile"
    file.write_text(text)
    environment = Environment.from_dockerfile("x", file if as_path else text)
    assert environment.definition().docker.base_dockerfile == text


def test_from_a_conda_environment_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "envs" / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    conda = tmp_path / "conda"
    conda.write_text(f"#!/bin/sh\necho '{json.dumps({'envs': [str(tmp_path), str(python.parents[1])]})}'\n")
    conda.chmod(0o755)
    monkeypatch.setenv("CONDA_EXE", str(conda))
    environment = Environment.from_existing_conda_environment("x", "mine")
    assert environment.python.user_managed_dependencies
    assert environment.python.interpreter_path == str(python)
    by_folder = Environment.from_existing_conda_environment("x", str(python.parents[1]))
    assert by_folder.python.interpreter_path == str(python)
    with pytest.raises(EnvironmentException, match="no conda environment other") as caught:
        Environment.from_existing_conda_environment("x", "other")
    assert "mine" in caught.value.hint
    monkeypatch.delenv("CONDA_EXE")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(EnvironmentException, match="conda was not found"):
        Environment.from_existing_conda_environment("x", "mine")


def test_saved_and_loaded(full: Environment, tmp_path: Path) -> None:
    full.save_to_directory(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "azureml_environment.json",
        "conda_dependencies.yml",
    }
    assert Environment.load_from_directory(tmp_path / "saved").definition() == full.definition()
    with pytest.raises(FileExistsError):
        full.save_to_directory(tmp_path / "saved")
    full.python.conda_dependencies = None
    full.save_to_directory(tmp_path / "saved", overwrite=True)
    assert Environment.load_from_directory(tmp_path / "saved").python.conda_dependencies is None
    with pytest.raises(FileNotFoundError):
        Environment.load_from_directory(tmp_path)


def test_a_directory_that_v1_saved_is_loaded(tmp_path: Path) -> None:
    saved: dict[str, object] = {
        "name": "q",
        "version": None,
        "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
        "python": {
            "userManagedDependencies": False,
            "interpreterPath": "python",
            "condaDependenciesFile": None,
            "baseCondaEnvironment": None,
        },
        "docker": {
            "enabled": False,
            "baseImage": "registry.example/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1",
            "baseDockerfile": None,
            "buildContext": None,
            "sharedVolumes": True,
            "shmSize": "2g",
            "arguments": [],
            "baseImageRegistry": {"address": None, "username": None, "password": None, "registryIdentity": None},
            "platform": {"os": "Linux", "architecture": "amd64"},
        },
        "spark": {"repositories": [], "packages": [], "precachePackages": True},
        "databricks": {
            "mavenLibraries": [],
            "pypiLibraries": [],
            "rcranLibraries": [],
            "jarLibraries": [],
            "eggLibraries": [],
        },
        "r": None,
        "inferencingStackVersion": None,
        "assetId": None,
    }
    (tmp_path / "azureml_environment.json").write_text(json.dumps(saved))
    (tmp_path / "conda_dependencies.yml").write_text("dependencies:\n- python=3.8.13\n- pip:\n  - azureml-defaults\n")
    environment = Environment.load_from_directory(tmp_path)
    assert environment.name == "q"
    assert environment.python.conda_dependencies is not None
    assert environment.python.conda_dependencies.get_python_version() == "3.8.13"
    assert environment.definition().needs_image is None


def test_versions_in_the_registry(ws: Workspace, full: Environment) -> None:
    assert full.register(ws).version == "1"
    assert full.register(ws).version == "1", "unchanged"
    full.environment_variables["A"] = "2"
    assert full.register(ws).version == "2"
    assert Environment.get(ws, "full").environment_variables == {"A": "2"}
    first = Environment.get(ws, "full", version="1")
    assert first.environment_variables == {"A": "1"}
    assert first.register(ws).version == "3", "the latest is another one"
    assert Environment.get(ws, "full", label="latest").version == "3"
    with pytest.raises(EnvironmentException, match="no version 9 of environment full"):
        Environment.get(ws, "full", version="9")
    with pytest.raises(EnvironmentException, match="no label 'blue'"):
        Environment.get(ws, "full", label="blue")


def test_the_list_has_the_latest_of_each_and_the_curated_ones(ws: Workspace, full: Environment) -> None:
    full.register(ws)
    full.environment_variables["A"] = "2"
    full.register(ws)
    found = Environment.list(ws)
    assert next(iter(found)) == "full"
    assert found["full"].version == "2"
    assert found["AzureML-Minimal"].version == "1"


def test_a_curated_one_is_cloned_and_changed(ws: Workspace) -> None:
    environment = Environment.get(ws, "AzureML-Minimal").clone("x")
    assert environment.python.conda_dependencies is not None
    environment.python.conda_dependencies.add_pip_package("scikit-learn")
    assert environment.register(ws).version == "1"
    conda = Environment.get(ws, "x").python.conda_dependencies
    assert conda is not None
    assert conda.pip_packages == ["azureml-core", "azureml-defaults", "scikit-learn"]


@pytest.mark.parametrize("name", ["AzureML-Mine", "AzureMLx", "Microsoft-x"])
def test_reserved_prefixes_are_refused_with_the_rule(ws: Workspace, name: str) -> None:
    with pytest.raises(EnvironmentException, match="must not begin with Microsoft or AzureML") as caught:
        Environment(name).register(ws)
    assert "clone" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "x/y", "-a", "a" * 256])
def test_names_that_break_the_rule_are_refused_with_it(ws: Workspace, name: str) -> None:
    with pytest.raises(EnvironmentException, match=re.escape("is not a name for an environment")) as caught:
        Environment(name).register(ws)
    assert "letters, digits" in caught.value.hint


def test_unknown_ones_are_told_with_those_there_are(ws: Workspace, full: Environment) -> None:
    full.register(ws)
    with pytest.raises(EnvironmentException, match="no environment nothing") as caught:
        Environment.get(ws, "nothing")
    assert "full" in caught.value.hint
    with pytest.raises(EnvironmentException, match="no version 2 of environment AzureML-Minimal"):
        Environment.get(ws, "AzureML-Minimal", version="2")
    with pytest.raises(EnvironmentException, match="no environment AzureML-Nothing") as caught:
        Environment.get(ws, "AzureML-Nothing")
    assert "AzureML-Minimal" in caught.value.hint
    assert "full" not in caught.value.hint


def test_build_installs_it(ws: Workspace) -> None:
    environment = Environment("stack")
    environment.python.conda_dependencies = None
    built = environment.build(ws)
    assert built.wait_for_completion(show_output=True).status == "Succeeded"
    assert Path(built.place).exists()
    assert environment.build(ws, offline=True).resolved == built.resolved
    with pytest.raises(EnvironmentException, match="on this machine"):
        environment.build(ws, image_build_compute="cluster")
