from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.config import load_inference_config
from mldeploy.config.files import Document
from mldeploy.config.inference import InferenceConfigFile, read_inference
from mldeploy.errors import ConfigException
from mldeploy.events import Event, Notice

Write = Callable[[str, str], Path]

REGISTRY = "registry.example"


def load(data: dict[str, Any]) -> tuple[InferenceConfigFile | None, list[str]]:
    model, findings = read_inference(Document(Path("ic.json"), data))
    return model, [f"{finding.level}: {finding.message}" for finding in findings]


@pytest.mark.parametrize(
    "data",
    [
        {"entryScript": "score.py", "sourceDirectory": "./working_dir"},  # the seed page
        {"entryScript": "score.py", "sourceDirectory": None},
        {"entryScript": "score.py", "environment": None},
        {
            "entryScript": "score.py",
            "runtime": "python",
            "condaFile": "infenv.yml",
            "extraDockerfileSteps": None,
            "schemaFile": None,
            "sourceDirectory": None,
            "enableGpu": False,
            "cudaVersion": None,
            "baseImage": f"{REGISTRY}/azureml/o16n-sample-user-base/ubuntu-miniconda",
            "baseImageRegistry": REGISTRY,
        },
        {"entryScript": "score.py", "extraDockerFileSteps": "steps", "cudaVersion": "9.1", "runtime": "python-slim"},
        {"entryScript": "s.py", "baseImage": "a", "baseImageRegistry": {"address": "b", "username": None}},
    ],
)
def test_samples_load(data: dict[str, Any]) -> None:
    model, findings = load(data)
    assert findings == []
    assert model is not None
    assert model.entry_script == data["entryScript"]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ({}, ["'entryScript' is required"]),
        ({"entryScript": None}, ["'entryScript' expected text, found null"]),
        ({"entryScript": ""}, ["'entryScript' must not be empty"]),
        ({"entryScript": "a.py", "enableGpu": "no"}, ["'enableGpu' expected true or false, found text \"no\""]),
        (
            {"entryScript": "a.py", "cudaVersion": 10.0},
            ["'cudaVersion' expected '9.0', '9.1' or '10.0', found the number 10.0"],
        ),
        (
            {"entryScript": "a.py", "runtime": "r"},
            ["'runtime' expected 'python', 'spark-py' or 'python-slim', found text \"r\""],
        ),
        (
            {"entryScript": "a.py", "runtime": "spark-py"},
            ["'runtime' is 'spark-py', and a service has no Spark: use 'python', and an environment with 'pyspark'"],
        ),
        ({"entryScript": "a.py", "baseImageRegistry": 5}, ["'baseImageRegistry' expected an address or an object"]),
        ({"entryScript": "a.py", "entryscript": 5}, ["'entryscript' is not a known key"]),
        (
            {"entryScript": "a.py", "environment": {"name": "AzureML-Minimal"}},
            ["'environment.name' is 'AzureML-Minimal': names that begin with"],
        ),
        (
            {"entryScript": "a.py", "environment": {"docker": {"baseimage": "x"}, "pythn": {}}},
            ["'environment.docker.baseimage' is not a known key", "'environment.pythn' is not a known key"],
        ),
        (
            {
                "entryScript": "a.py",
                "environment": {},
                "runtime": "python",
                "condaFile": "a.yml",
                "extraDockerfileSteps": "steps",
                "enableGpu": True,
                "cudaVersion": "9.1",
                "baseImage": "image",
            },
            [
                f"'{key}' excludes 'environment': say it there"
                for key in ("runtime", "condaFile", "extraDockerfileSteps", "enableGpu", "cudaVersion", "baseImage")
            ],
        ),
    ],
)
def test_what_is_refused(data: dict[str, Any], texts: list[str]) -> None:
    found = [text.removeprefix("error: ") for text in load(data)[1]]
    assert len(found) == len(texts)
    assert all(text.startswith(start) for text, start in zip(found, texts, strict=True)), found


def test_legacy_keys_that_say_nothing_do_not_exclude_an_environment() -> None:
    data: dict[str, Any] = {
        "entryScript": "a.py",
        "environment": {},
        "runtime": None,
        "enableGpu": False,
        "condaFile": None,
    }
    assert load(data)[1] == []


def test_the_schema_file_is_a_warning() -> None:
    assert load({"entryScript": "a.py", "schemaFile": "schema.json"})[1] == [
        "warning: 'schemaFile' has no effect: the service describes itself by its decorators"
    ]


def test_an_unknown_inner_key_has_its_line(write: Write) -> None:
    text = '{"entryScript": "score.py",\n "environment": {\n  "docker": {\n   "baseimage": "x"}}}'
    with pytest.raises(ConfigException, match="not a known key") as caught:
        load_inference_config(write("ic.json", text))
    assert (caught.value.where, caught.value.hint) == ("ic.json:4", "did you mean 'baseImage'?")


def told_while_loading(path: Path) -> tuple[Any, list[str]]:
    told: list[Event] = []
    config = load_inference_config(path, told.append)
    return config, [event.text for event in told if isinstance(event, Notice)]


def test_paths_are_relative_to_the_file(write: Write) -> None:
    path = write("conf/ic.yml", "entryScript: score.py\nsourceDirectory: ./src\n")
    write("conf/src/score.py", "")
    write("src/score.py", "")
    config, told = told_while_loading(path)
    assert told == []
    assert config.base == Path("conf").absolute()
    assert config.entry_script_path == Path("conf/src/score.py").absolute()


@pytest.mark.parametrize("text", ["entryScript: score.py\nsourceDirectory: src", "entryScript: src/score.py"])
def test_paths_that_are_only_under_the_current_folder_are_taken_and_said(write: Write, text: str) -> None:
    path = write("conf/ic.yml", text)
    write("src/score.py", "")
    config, (told,) = told_while_loading(path)
    assert "taken from the current folder, as v1 did" in told
    assert told.startswith("conf/ic.yml:")
    assert config.base == Path.cwd()
    assert config.entry_script_path == Path("src/score.py").absolute()


def test_a_path_that_is_nowhere_stays_beside_the_file(write: Write) -> None:
    config, told = told_while_loading(write("conf/ic.yml", "entryScript: score.py"))
    assert (config.base, told) == (Path("conf").absolute(), [])


def test_the_environment_is_whole(write: Write) -> None:
    text = "entryScript: score.py\nenvironment:\n  name: mine\n  python:\n    condaDependenciesFile: env.yml\n"
    path = write("conf/ic.yml", text)
    write("conf/env.yml", "dependencies:\n- python=3.11\n- pip: [numpy]\n")
    definition = load_inference_config(path).environment.definition()  # type: ignore[union-attr]
    assert definition.name == "mine"
    assert definition.python.conda_dependencies is not None
    assert definition.python.conda_dependencies.dependencies[0] == "python=3.11"


def test_the_older_keys_become_an_environment(write: Write) -> None:
    text = "entryScript: score.py\nsourceDirectory: src\nruntime: python\ncondaFile: env.yml\nenableGpu: true\n"
    path = write("conf/ic.yml", text + f"extraDockerFileSteps: steps\nbaseImage: {REGISTRY}/azureml/base:1")
    write("conf/src/env.yml", "dependencies: [python=3.11]")
    write("conf/src/steps", "RUN true\n")
    config = load_inference_config(path)
    assert config.environment is not None
    definition = config.environment.definition()
    assert definition.python.conda_dependencies is not None
    assert definition.python.conda_dependencies.dependencies == ["python=3.11"]
    assert definition.docker.base_dockerfile == f"FROM {REGISTRY}/azureml/base:1\nRUN true\n"
    assert definition.needs_image


def test_a_wrong_conda_file_is_told_with_its_own_line(write: Write) -> None:
    path = write("ic.yml", "entryScript: score.py\ncondaFile: env.yml")
    write("env.yml", "dependencies:\n- 3")
    with pytest.raises(ConfigException, match="expected text or an object") as caught:
        load_inference_config(path)
    assert caught.value.where.endswith("env.yml:2")
    write("ic.yml", "entryScript: score.py\ncondaFile: missing.yml")
    with pytest.raises(ConfigException, match="cannot be read"):
        load_inference_config(path)


TEXT = st.none() | st.text(min_size=1)


@given(
    st.fixed_dictionaries(
        {"entryScript": st.text(min_size=1)},
        optional={
            "sourceDirectory": TEXT,
            "description": st.none() | st.text(),
            "runtime": st.sampled_from([None, "python", "python-slim"]),
            "condaFile": TEXT,
            "extraDockerfileSteps": TEXT,
            "schemaFile": TEXT,
            "enableGpu": st.none() | st.booleans(),
            "cudaVersion": st.sampled_from([None, "9.0", "9.1", "10.0"]),
            "baseImage": TEXT,
            "baseImageRegistry": TEXT | st.fixed_dictionaries({}, optional={"address": TEXT, "username": TEXT}),
        },
    )
)
def test_what_loads_dumps_and_loads_again_to_the_same(data: dict[str, Any]) -> None:
    model = InferenceConfigFile.model_validate(data)
    dumped = json.loads(json.dumps(model.to_dict()))
    assert dumped == data
    assert InferenceConfigFile.model_validate(dumped) == model
