from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.config.environment import EnvironmentDefinition, is_reserved, is_stock_image
from mldeploy.config.inline import inline_files, load_conda_file, load_environment
from mldeploy.errors import ConfigException
from mldeploy.events import Event

Write = Callable[[str, str], Path]

REGISTRY = "registry.example"
SCAFFOLD: dict[str, Any] = {
    "name": "testenv",
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
        "baseImage": f"{REGISTRY}/azureml/base:intelmpi2018.3-ubuntu16.04",
        "baseDockerfile": None,
        "sharedVolumes": True,
        "shmSize": "2g",
        "arguments": [],
        "baseImageRegistry": {"address": None, "username": None, "password": None},
    },
    "spark": {"repositories": [], "packages": [], "precachePackages": True},
    "databricks": {
        "mavenLibraries": [],
        "pypiLibraries": [],
        "rcranLibraries": [],
        "jarLibraries": [],
        "eggLibraries": [],
    },
    "inferencingStackVersion": None,
    "r": None,
}
WITH_CONDA: dict[str, Any] = {
    "docker": {
        "arguments": [],
        "baseDockerfile": None,
        "baseImage": f"{REGISTRY}/azureml/openmpi3.1.2-ubuntu18.04",
        "enabled": False,
        "sharedVolumes": True,
        "shmSize": None,
    },
    "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
    "name": "my-deploy-env",
    "python": {
        "baseCondaEnvironment": None,
        "condaDependencies": {
            "channels": ["conda-forge"],
            "dependencies": [
                "python=3.6.2",
                {"pip": ["azureml-defaults", "scikit-learn", "inference-schema[numpy-support]"]},
            ],
            "name": "project_environment",
        },
        "condaDependenciesFile": None,
        "interpreterPath": "python",
        "userManagedDependencies": False,
    },
    "version": "1",
}


@pytest.mark.parametrize("data", [SCAFFOLD, WITH_CONDA, {}])
def test_what_v1_wrote_is_taken_and_needs_no_image(data: dict[str, Any]) -> None:
    definition = EnvironmentDefinition.model_validate(data)
    assert definition.to_dict() == data
    assert definition.needs_image is None


@pytest.mark.parametrize(
    "image",
    [
        f"{REGISTRY}/azureml/base:intelmpi2018.3-ubuntu16.04",
        f"{REGISTRY}/azureml/base:0.2.4",
        f"{REGISTRY}/azureml/base-gpu:intelmpi2018.3-cuda10.0-cudnn7-ubuntu16.04",
        f"{REGISTRY}/azureml/openmpi3.1.2-ubuntu18.04",
        f"{REGISTRY}/azureml/openmpi3.1.2-ubuntu18.04:20201113.v1",
        f"{REGISTRY}/azureml/intelmpi2018.3-cuda10.0-cudnn7-ubuntu16.04",
        f"{REGISTRY}/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest",
        "azureml/minimal-ubuntu18.04-py37-cpu-inference",
        "azureml/base:latest@sha256:0123456789abcdef",
    ],
)
def test_stock_images_mean_ours(image: str) -> None:
    assert is_stock_image(image)
    assert EnvironmentDefinition.model_validate({"docker": {"baseImage": image}}).needs_image is None


@pytest.mark.parametrize(
    "image",
    [
        f"{REGISTRY}/azureml/o16n-sample-user-base/ubuntu-miniconda",
        f"{REGISTRY}/azureml/onnxruntime:latest",
        f"{REGISTRY}/azureml/baseline:1",
        f"{REGISTRY}/notazureml/base:1",
        f"{REGISTRY}/azureml/base/other:1",
        "ubuntu:22.04",
    ],
)
def test_other_images_are_needed(image: str) -> None:
    assert not is_stock_image(image)
    reason = EnvironmentDefinition.model_validate({"docker": {"baseImage": image}}).needs_image
    assert reason == f"it stands on the image {image!r} (docker.baseImage)"


@pytest.mark.parametrize(
    ("docker", "words"),
    [
        ({"baseDockerfile": "FROM debian\n"}, "Dockerfile"),
        ({"arguments": ["--gpus", "all"]}, "--gpus"),
    ],
)
def test_what_else_needs_an_image(docker: dict[str, Any], words: str) -> None:
    assert words in (EnvironmentDefinition.model_validate({"docker": docker}).needs_image or "")


def test_the_values_of_arguments_for_docker_are_not_told() -> None:
    arguments = ["-e", "TOKEN=hidden", "-e TOKEN=hidden", " --env=TOKEN=hidden", "-eTOKEN=hidden", "--network", "mine"]
    why = EnvironmentDefinition.model_validate({"docker": {"arguments": arguments}}).needs_image
    assert why == "it has arguments for docker run (docker.arguments: -e -e --env -eTOKEN --network)"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"name": ""}, "'name' must not be empty"),
        ({"version": 1}, "'version' expected text, found the number 1"),
        ({"environmentVariables": {"A": 1}}, "'environmentVariables.A' expected text, found the number 1"),
        ({"environmentVariables": []}, "'environmentVariables' expected an object, found a list"),
        ({"python": None}, "'python' expected an object, found null"),
        ({"r": {"x": 1}}, "'r' expected null, found an object"),
        ({"inferencingStackVersion": "1"}, "'inferencingStackVersion' expected 'latest', found text \"1\""),
        ({"spark": {"packages": [{"group": "g", "artifact": "a", "version": "1"}]}}, "'spark.packages' must be empty"),
        ({"databricks": {"jarLibraries": ["x"]}}, "'databricks.jarLibraries' must be empty"),
        ({"docker": {"arguments": "-v"}}, "'docker.arguments' expected a list, found text \"-v\""),
        (
            {"docker": {"baseImageRegistry": {"password": 5}}},
            "'docker.baseImageRegistry.password' expected text, found a number",
        ),
        (
            {"docker": {"baseImage": "a", "baseDockerfile": "FROM b"}},
            "'docker.baseDockerfile' excludes 'baseImage': set one of the two to null",
        ),
        (
            {"python": {"condaDependencies": {}, "condaDependenciesFile": "a.yml"}},
            "'python.condaDependenciesFile' excludes 'condaDependencies': set one of the two to null",
        ),
        (
            {"python": {"condaDependencies": {"dependencies": ["a", 3]}}},
            (
                "'python.condaDependencies.dependencies[1]' expected text or an object "
                'like {"pip": ["numpy"]}, found the number 3'
            ),
        ),
        (
            {"python": {"condaDependencies": {"dependencies": [{"pip": [1]}]}}},
            "'python.condaDependencies.dependencies[0].pip[0]' expected text, found the number 1",
        ),
        (
            {"python": {"condaDependencies": {"dependencies": [{}]}}},
            "'python.condaDependencies.dependencies[0].pip' is required",
        ),
    ],
)
def test_what_is_refused(data: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigException) as caught:
        EnvironmentDefinition.of(**data)
    assert caught.value.message == text


def test_passwords_are_not_shown() -> None:
    definition = EnvironmentDefinition.of(docker={"baseImageRegistry": {"password": "s3cret"}})
    assert "s3cret" not in repr(definition)


def test_reserved_names() -> None:
    assert is_reserved("AzureML-Minimal")
    assert is_reserved("MicrosoftX")
    assert not is_reserved("my-AzureML")


def test_a_conda_file_is_taken_in(write: Write) -> None:
    write("conf/env.yml", "name: x\nchannels: [conda-forge]\ndependencies:\n- python=3.8\n- pip:\n  - numpy\n")
    definition = EnvironmentDefinition.of(name="a", python={"condaDependenciesFile": "env.yml"})
    whole = inline_files(definition, Path("conf"))
    assert whole.python.conda_dependencies == load_conda_file("conf/env.yml")
    assert whole.python.conda_dependencies_file is None
    assert EnvironmentDefinition.model_validate(whole.to_dict()) == whole
    told: list[Event] = []
    write("env.yml", "dependencies: [python]")
    inline_files(definition, Path("elsewhere"), told.append)
    assert "taken from the current folder" in str(told)


def test_a_dockerfile_may_be_a_path_or_text(write: Write) -> None:
    write("conf/Dockerfile", "FROM debian\nRUN true\n")
    by_path = EnvironmentDefinition.of(docker={"baseDockerfile": "Dockerfile"})
    assert inline_files(by_path, Path("conf")).docker.base_dockerfile == "FROM debian\nRUN true\n"
    for text in ("FROM debian", "# a\nFROM debian\n"):
        by_text = EnvironmentDefinition.of(docker={"baseDockerfile": text})
        assert inline_files(by_text, Path("conf")) == by_text
    with pytest.raises(ConfigException, match="cannot be read"):
        inline_files(EnvironmentDefinition.of(docker={"baseDockerfile": "missing"}), Path("conf"))


def test_a_wrong_conda_file_names_its_line(write: Write) -> None:
    with pytest.raises(ConfigException, match="'dependancies' is not a known key") as caught:
        load_conda_file(write("env.yml", "name: x\ndependancies: []\n"))
    assert (caught.value.where, caught.value.hint) == ("env.yml:2", "did you mean 'dependencies'?")
    with pytest.raises(ConfigException, match=r"'channels\[0\]' expected text"):
        load_conda_file(write("env.yml", "channels:\n- 1\n"))


def test_an_environment_by_itself(write: Write) -> None:
    write("env/conda.yml", "dependencies: [python=3.11]")
    whole = load_environment(write("env/e.json", '{"name": "x", "python": {"condaDependenciesFile": "conda.yml"}}'))
    assert whole.name == "x"
    assert whole.python.conda_dependencies == load_conda_file("env/conda.yml")
    with pytest.raises(ConfigException, match=r"'docker.baseimage' is not a known key") as caught:
        load_environment(write("e.json", '{"docker":\n {"baseimage": "x"}}'))
    assert (caught.value.where, caught.value.hint) == ("e.json:2", "did you mean 'baseImage'?")


OPTIONAL_TEXT = st.none() | st.text()
TEXTS = st.lists(st.text(), max_size=3)
CONDA = st.fixed_dictionaries(
    {},
    optional={
        "name": OPTIONAL_TEXT,
        "channels": st.none() | TEXTS,
        "dependencies": st.lists(st.text() | st.fixed_dictionaries({"pip": TEXTS}), max_size=3),
    },
)
DEFINITIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.none() | st.text(min_size=1),
        "version": OPTIONAL_TEXT,
        "environmentVariables": st.dictionaries(st.text(), st.text(), max_size=3),
        "python": st.fixed_dictionaries(
            {},
            optional={
                "userManagedDependencies": st.booleans(),
                "interpreterPath": st.text(),
                "condaDependencies": st.none() | CONDA,
                "baseCondaEnvironment": OPTIONAL_TEXT,
            },
        ),
        "docker": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "baseImage": OPTIONAL_TEXT,
                "sharedVolumes": st.booleans(),
                "shmSize": OPTIONAL_TEXT,
                "arguments": TEXTS,
                "gpuSupport": st.none() | st.booleans(),
                "baseImageRegistry": st.none() | st.fixed_dictionaries({}, optional={"address": OPTIONAL_TEXT}),
                "platform": st.none() | st.just({"architecture": "amd64", "os": "Linux"}),
            },
        ),
        "spark": st.none() | st.just(SCAFFOLD["spark"]),
        "databricks": st.none() | st.just(SCAFFOLD["databricks"]),
        "inferencingStackVersion": st.sampled_from([None, "latest"]),
        "r": st.none(),
        "assetId": OPTIONAL_TEXT,
    },
)


@given(DEFINITIONS)
def test_what_loads_dumps_and_loads_again_to_the_same(data: dict[str, Any]) -> None:
    definition = EnvironmentDefinition.model_validate(data)
    dumped = json.loads(json.dumps(definition.to_dict()))
    assert dumped == data
    assert EnvironmentDefinition.model_validate(dumped) == definition
