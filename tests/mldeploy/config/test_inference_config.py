from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mldeploy.environment import Environment
from mldeploy.errors import ConfigException, UserErrorException
from mldeploy.inference_config import InferenceConfig

Write = Callable[[str, str], Path]

SCRIPT = "def init(): pass\ndef run(data): return data\n"


def test_paths_are_relative_to_the_current_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("src/score.py", SCRIPT)
    config = InferenceConfig(entry_script="score.py", source_directory="src")
    here = Path.cwd()
    monkeypatch.chdir("/")
    assert config.base == here
    assert config.source_directory_path == here / "src"
    assert config.entry_script_path == here / "src/score.py"
    config.validate()


def test_without_a_source_directory_only_the_script_is_taken(write: Write) -> None:
    write("x/y/score.py", SCRIPT)
    config = InferenceConfig("x/y/score.py")
    assert config.source_directory_path is None
    config.validate()


def test_path_objects_are_paths(write: Write) -> None:
    write("src/score.py", SCRIPT)
    write("src/env.yml", "dependencies: [python=3.11]")
    config = InferenceConfig(Path("score.py"), conda_file=Path("env.yml"), source_directory=Path("src"))
    config.validate()
    assert (config.entry_script, config.source_directory) == ("score.py", "src")
    assert config.to_dict()["sourceDirectory"] == "src"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"environment": "AzureML-Minimal"}, "'environment' expected an Environment, found text \"AzureML-Minimal\""),
        ({"environment": {"name": "a"}}, "'environment' expected an Environment, found an object"),
        ({"base_image_registry": 5}, "'base_image_registry' expected an address, or an object with 'address'"),
        ({"base_image_registry": {"address": "a", "password": 5}}, "'password' expected text, found a number"),
        ({"base_image_registry": {"adress": "a"}}, "'adress' is not known"),
    ],
)
def test_arguments_of_a_wrong_kind(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigException) as caught:
        InferenceConfig("score.py", **arguments)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("entry_script", "source", "message", "reason"),
    [
        ("score.py", "missing", "The source directory cannot be read", "there is no such folder"),
        ("score.py", "score.py", "The source directory cannot be read", "it is a file"),
        ("../score.py", "src", "The entry script is outside the source directory", ""),
        ("missing.py", "src", "The entry script cannot be read", "there is no such file"),
    ],
)
def test_what_a_service_cannot_be_made_of(
    write: Write, entry_script: str, source: str, message: str, reason: str
) -> None:
    write("src/other.py", SCRIPT)
    write("score.py", SCRIPT)
    with pytest.raises(UserErrorException) as caught:
        InferenceConfig(entry_script, source_directory=source).validate()
    assert (caught.value.message, caught.value.reason) == (message, reason)


@pytest.mark.parametrize(
    "older",
    [
        {"runtime": "python"},
        {"conda_file": "env.yml"},
        {"extra_docker_file_steps": "steps"},
        {"enable_gpu": True},
        {"cuda_version": "9.1"},
        {"base_image": "image"},
    ],
)
def test_an_environment_excludes_the_older_arguments(older: dict[str, Any]) -> None:
    with pytest.raises(ConfigException, match=f"'{next(iter(older))}' excludes 'environment'"):
        InferenceConfig("score.py", environment=Environment("mine"), **older)


def test_all_wrong_arguments_are_told() -> None:
    with pytest.raises(ConfigException) as caught:
        InferenceConfig(5, runtime="r", enable_gpu="yes")  # type: ignore[arg-type]
    assert caught.value.message.splitlines() == [
        "'entry_script' expected text, found the number 5",
        "'runtime' expected 'python', 'spark-py' or 'python-slim', found text \"r\"",
        "'enable_gpu' expected true or false, found text \"yes\"",
    ]


def test_older_arguments_become_an_environment(write: Write) -> None:
    write("env.yml", "dependencies:\n- python=3.11\n- pip: [numpy]\n")
    config = InferenceConfig(
        "score.py", "python", "env.yml", base_image="image", base_image_registry="registry.example"
    )
    assert config.environment is not None
    definition = config.environment.definition()
    assert definition.docker.base_image == "image"
    assert definition.docker.base_image_registry is not None
    assert definition.docker.base_image_registry.address == "registry.example"
    assert definition.python.conda_dependencies is not None
    assert InferenceConfig("score.py", runtime="python", enable_gpu=False).environment is None


def test_it_comes_back_from_its_dict(write: Write) -> None:
    write("env.yml", "dependencies: [python=3.11]")
    for config in (
        InferenceConfig("score.py", source_directory="src", description="text"),
        InferenceConfig("score.py", conda_file="env.yml"),
        InferenceConfig("score.py", environment=Environment("AzureML-Minimal")),
    ):
        again = InferenceConfig.from_dict(config.to_dict(), config.base)
        assert again.to_dict() == config.to_dict()
        assert again.base == config.base
