"""The page on config files has every key and every setting, and its samples do what its table says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mldeploy.config import check
from mldeploy.config.deployment import TARGETS
from mldeploy.config.deployment_file import STRAY
from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.config.harness import Sample, ServiceSection
from mldeploy.config.inference import InferenceConfigFile
from mldeploy.config.settings import SETTINGS
from mldeploy.config.spelling import Tree, tree_of

Write = Callable[[str, str], Path]

PAGE = (Path(__file__).parents[3] / "docs" / "configs.md").read_text("utf-8")
CODE = " ".join(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))


def words(tree: Tree) -> set[str]:
    return {word for key, below in tree.items() for word in ({key} | (words(below) if below else set()))}


@pytest.mark.parametrize("model", [InferenceConfigFile, EnvironmentDefinition, ServiceSection, Sample])
def test_every_key_is_on_the_page(model: type[InferenceConfigFile]) -> None:
    of_training = {"group", "artifact", "version", "pip"}
    missing = {word for word in words(tree_of(model)) - of_training if not re.search(rf"\b{word}\b", CODE)}
    assert missing == set()


@pytest.mark.parametrize("target", TARGETS)
def test_every_key_of_a_deployment_config_is_on_the_page(target: str) -> None:
    missing = [way for way in TARGETS[target].ways().values() if not re.search(rf"\b{way[-1]}\b", CODE)]
    assert missing == []


def test_every_stray_spelling_and_every_setting_is_on_the_page() -> None:
    for stray, right in STRAY.items():
        assert f"`{stray}`" in PAGE
        assert f"`{right}`" in PAGE
    for setting in SETTINGS.values():
        assert f"| `{setting.name}` |" in PAGE


SCRIPT = "def init(): pass\ndef run(data): return data\n"
OLDER = {
    "entryScript": "score.py",
    "runtime": "python",
    "condaFile": "infenv.yml",
    "extraDockerfileSteps": None,
    "sourceDirectory": None,
    "enableGpu": False,
    "baseImage": None,
    "baseImageRegistry": None,
}
IMAGE = {
    "baseImage": "registry.example/azureml/o16n-sample-user-base/ubuntu-miniconda",
    "baseImageRegistry": "registry.example",
}


@pytest.mark.parametrize(
    ("sample", "outcome"),
    [
        ({"entryScript": "score.py", "sourceDirectory": "./working_dir"}, []),
        ({"computeType": "local", "port": 8890}, []),
        ({"computeType": "aci", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}}, []),
        ({"computeType": "aks", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}}, []),
        (OLDER, []),
        (OLDER | {"enableGpu": True, "schemaFile": None}, []),
        (OLDER | IMAGE, []),
        ({"computeType": "AKS", "authEnabled": True, "sslEnabled": True}, ["warning"]),
        ({"computeType": "AKS", "ComputeTarget": "myaks", "enableAppInsights": True}, ["warning", "warning"]),
        ({"computeType": "AKSENDPOINT", "versionName": "versiona", "trafficPercentile": 20}, []),
        ({"computeType": "AKSENDPOINT", "versionName": "v1"}, ["error"]),
        ({"computeType": "AKS", "tokenAuthEnabled": True}, []),
        ({"computeType": "aks", "autoScaler": {"autoscaleEnabled": False}, "numReplicas": 3, "gpuCores": 1}, []),
        (
            {"computeType": "aks", "autoScaler": {"autoscaleEnabled": False}, "numReplicas": 1, "authEnabled": False},
            [],
        ),
        ({"computeType": "local", "port": 32267}, []),
        ({"modulesContent": {"$edgeAgent": {}}}, ["error"]),
    ],
)
def test_the_samples_of_v1_do_what_the_page_says(write: Write, sample: dict[str, object], outcome: list[str]) -> None:
    write("score.py", SCRIPT)
    write("working_dir/score.py", SCRIPT)
    write("infenv.yml", "name: project_environment\ndependencies:\n- python=3.6.2\n- pip: [azureml-defaults]\n")
    assert [finding.level for finding in check(write("sample.json", json.dumps(sample)))] == outcome
