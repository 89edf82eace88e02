"""`mldeploy model package`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

    from tests.mldeploy.runner.conftest import Project


@pytest.fixture
def packaged(project: Project, client: DockerClient) -> Project:
    """A project with a model and an inference configuration."""
    project.ok("model", "register", "-n", "half", "-p", "model.txt", "-t", "half.json")
    project.write("ic.json", json.dumps({"entryScript": "score.py", "environment": {"name": "tests"}}))
    return project


def test_an_image(packaged: Project, client: DockerClient, image_name: str) -> None:
    outcome = packaged.run(
        *("model", "package", "-m", "half:1", "--ic", "ic.json", "--in", image_name, "--il", "1", "--sbom", "bill.json")
    )
    assert outcome.code == 0, outcome.err
    image = client.images.get(f"{image_name}:1")
    assert outcome.json == {
        "generateDockerfile": False,
        "state": "Succeeded",
        "location": f"{image_name}:1",
        "imageId": image.id,
        "digest": None,
        "packageDigest": image.labels["mldeploy.package"],
    }
    assert "Workspace default" in outcome.err
    bill = json.loads((packaged.folder / "bill.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert packaged.ok("images", "sbom", f"{image_name}:1") == bill


def test_a_folder(packaged: Project) -> None:
    made = packaged.ok("model", "package", "-f", "half.json", "--ic", "ic.json", "--output-path", "context")
    assert (made["generateDockerfile"], made["location"], made["imageId"]) == (True, "context", None)
    text = (packaged.folder / "context" / "Dockerfile").read_text()
    # v1's name and label
    assert re.search(r"docker build --tag package:\d{14} \.", text)
    assert (packaged.folder / "context" / "azureml-models" / "half" / "1" / "model.txt").is_file()
    assert (packaged.folder / "context" / "azureml-app" / "score.py").is_file()
    packaged.write("notes.txt", "")
    refused = packaged.run("model", "package", "--ic", "ic.json", "--output-path", ".")
    assert refused.code == 2
    assert "the folder is not empty" in refused.err


def test_a_registry_by_flag_and_by_setting(
    packaged: Project, client: DockerClient, registry: Any, image_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("model", "package", "--ic", "ic.json", "--in", image_name, "--il")
    by_flag = packaged.ok(*asked, "1", "--registry", registry.address)
    assert by_flag["location"] == f"{registry.address}/{image_name}:1"
    assert by_flag["digest"].startswith(f"{registry.address}/{image_name}@sha256:")
    packaged.write("mldeploy.toml", f'registry = "{registry.address}/team"\n')
    assert packaged.ok(*asked, "2")["location"] == f"{registry.address}/team/{image_name}:2"
    # the same layers, another name
    client.images.remove(by_flag["imageId"], force=True)
    pulled = packaged.ok("images", "pull", by_flag["digest"])
    assert pulled == {"location": by_flag["digest"], "id": by_flag["imageId"]}
    client.api.tag(pulled["id"], image_name, "3")
    pushed = packaged.ok("images", "push", f"{image_name}:3")
    assert pushed["location"] == f"{registry.address}/team/{image_name}:3"
    assert pushed["digest"].endswith(by_flag["digest"].partition("@")[2])
    assert packaged.ok("images", "push", f"{image_name}:3", f"{registry.address}/x:1")["location"].endswith("/x:1")
    client.images.remove(f"{registry.address}/x:1")


def test_the_debuggers_port(packaged: Project, client: DockerClient, image_name: str) -> None:
    packaged.ok("model", "package", "--ic", "ic.json", "--in", image_name, "--il", "1", "--debug-port", "5678")
    settings = client.images.get(f"{image_name}:1").attrs["Config"]
    assert set(settings["ExposedPorts"]) == {"5001/tcp", "5678/tcp"}
    assert {"AZUREML_DEBUG_PORT=5678", "MLDEPLOY_DEBUG_HOST=0.0.0.0"} <= set(settings["Env"])


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ((), 2, "an inference configuration is needed"),
        (("--ic", "ic.json", "--no-wait"), 2, "--no-wait: there is nothing to wait for"),
        (("--ic", "ic.json", "-m", "none:1"), 3, "none"),
        (("--ic", "bare.json"), 2, "requires an InferenceConfig containing an Environment object"),
        (("--ic", "ic.json", "--in", "Package"), 2, "is no image name"),
        (("--ic", "ic.json", "--registry", "team"), 2, "'team' is no registry"),
        (("--ic", "ic.json", "--debug-port", "0"), 2, "0 is not in the range"),
    ],
)
def test_what_is_refused(packaged: Project, flags: tuple[str, ...], code: int, said: str) -> None:
    packaged.write("bare.json", '{"entryScript": "score.py"}')
    outcome = packaged.run("model", "package", *flags)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err


def test_a_bill_of_materials_that_cannot_be_written(packaged: Project, image_name: str) -> None:
    outcome = packaged.run(
        "model", "package", "--ic", "ic.json", "--in", image_name, "--il", "1", "--sbom", "none/bill.json"
    )
    assert outcome.code == 2
    assert "the bill of materials cannot be written" in outcome.err


def test_a_push_that_does_not_say_where_to(packaged: Project) -> None:
    outcome = packaged.run("images", "push", "app:1")
    assert outcome.code == 2
    assert "--registry HOST, or a name there: HOST/app:1" in outcome.err


def test_a_registry_that_is_not_there(packaged: Project, free_port: int) -> None:
    outcome = packaged.run("images", "pull", f"127.0.0.1:{free_port}/app:1")
    assert outcome.out == ""
    assert "nothing answers at the registry's address" in outcome.err


def test_without_an_engine_it_says_what_is_missing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{project.folder}/docker.sock")
    project.write("ic.json", '{"entryScript": "score.py", "environment": {"name": "tests"}}')
    for line in (("model", "package", "--ic", "ic.json"), ("images", "pull", "localhost:5000/app:1")):
        outcome = project.run(*line)
        assert (outcome.code, outcome.out) == (8, "")
        assert "Error: no Docker engine answers" in outcome.err
