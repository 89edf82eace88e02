"""`Model.package`: an image that serves wherever it is run, or what one is built from."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mldeploy import Environment, InferenceConfig, Model, Workspace
from mldeploy.config.harness import ServingSettings
from mldeploy.errors import UserErrorException, WebserviceException
from mldeploy.events import Event, Step
from mldeploy.images.sbom import sbom_of
from mldeploy.model import ModelPackage

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

SCRIPT = """\
import json
import os
from azureml.core.model import Model


def init():
    global factor
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.txt")) as stream:
        factor = float(stream.read())
    assert Model.get_model_path("half").endswith("model.txt")


def run(data):
    product = json.loads(data) * factor
    return product
"""
SCORED = SCRIPT.splitlines().index("    product = json.loads(data) * factor") + 1
TIMESTAMP = re.compile(r"\d{14}")

StartContainer = Callable[..., tuple[Any, dict[int, int]]]
Eventually = Callable[[Callable[[], Any]], Any]


def workspace_with_a_model(folder: Path, name: str = "tests") -> Workspace:
    workspace = Workspace.create(name, store=str(folder / name))
    (folder / "model.txt").write_text("0.5")
    (folder / "score.py").write_text(SCRIPT)
    Model.register(workspace, folder / "model.txt", "half", tags={"for": "tests"})
    return workspace


@pytest.fixture
def workspace(tmp_path: Path, client: DockerClient) -> Workspace:
    return workspace_with_a_model(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> InferenceConfig:
    return InferenceConfig("score.py", environment=Environment("tests"), base=tmp_path)


def healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=20).status_code == 200
    except requests.ConnectionError:
        return False


def score(port: int, value: float) -> Any:
    return requests.post(f"http://127.0.0.1:{port}/score", json=value, timeout=20).json()


def test_an_image_serves_wherever_it_is_run(
    client: DockerClient,
    workspace: Workspace,
    config: InferenceConfig,
    image_name: str,
    start_container: StartContainer,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events: list[Event] = []
    package = Model.package(workspace, ["half"], config, False, image_name, "1", report=events.append)
    assert isinstance(package, ModelPackage)
    assert (package.state, package.error, package.generate_dockerfile) == ("Succeeded", None, False)
    assert package.location == f"{image_name}:1"
    assert any(isinstance(event, Step) for event in events)
    package.wait_for_creation(show_output=True)
    assert capsys.readouterr().out == str(package.get_logs()) + "Package creation Succeeded\n"
    package.pull()

    image = client.images.get(package.location)
    assert image.id == package.image_id
    assert image.labels["mldeploy.kind"] == "package"
    assert image.labels["mldeploy.models"] == "half:1"
    assert image.labels["mldeploy.package"] == package.package_digest
    # without being asked, no debugger is waited for
    assert set(image.attrs["Config"]["ExposedPorts"]) == {"5001/tcp"}
    assert not [line for line in image.attrs["Config"]["Env"] if "DEBUG" in line]
    bill = package.bill_of_materials()
    assert "mldeploy-serving" in [component["name"] for component in json.loads(bill)["components"]]
    assert sbom_of(client, package.image_id) == bill
    # whoever runs it, and with nothing that can be written to
    container, ports = start_container(package.location, user="4711:4711", read_only=True, cap_drop=["ALL"])
    eventually(lambda: healthy(ports[5001]))
    assert score(ports[5001], 3) == 1.5
    container.stop(timeout=20)
    assert container.wait()["StatusCode"] == 0

    client.images.remove(package.image_id, force=True)
    with pytest.raises(WebserviceException, match="is on the engine no more"):
        package.pull()


def test_what_v1s_names_give(workspace: Workspace, config: InferenceConfig, image_name: str) -> None:
    package = Model.package(workspace, [Model(workspace, "half")], config, image_name=image_name)
    assert package.location is not None
    assert TIMESTAMP.fullmatch(package.location.removeprefix(f"{image_name}:"))
    assert package.serialize() == {
        "generateDockerfile": False,
        "state": "Succeeded",
        "location": package.location,
        "imageId": package.image_id,
        "digest": None,
        "packageDigest": package.package_digest,
    }
    assert vars(package.get_container_registry()) == {"address": None, "username": None, "password": None}
    assert package.get_logs(decode=False, offset=5) == str(package.get_logs()).encode()[5:]
    assert repr(package).endswith(f"generate_dockerfile=False, state=Succeeded, location={package.location})")
    package.update_creation_state()
    with pytest.raises(WebserviceException, match=r"Docker images cannot be saved.* Use pull\(\) instead"):
        package.save("anywhere")


def test_the_same_package_is_the_same_image(tmp_path: Path, config: InferenceConfig, image_name: str) -> None:
    ids = set()
    for name in ("first", "second"):
        workspace = workspace_with_a_model(tmp_path, name)
        ids.add(Model.package(workspace, ["half:1"], config, False, image_name, name).image_id)
    assert len(ids) == 1


def test_a_registry(
    client: DockerClient, workspace: Workspace, config: InferenceConfig, registry: Any, image_name: str
) -> None:
    package = Model.package(workspace, ["half"], config, False, image_name, "1", registry=f"{registry.address}/team")
    assert package.location == f"{registry.address}/team/{image_name}:1"
    assert package.digest.startswith(f"{registry.address}/team/{image_name}@sha256:")
    assert package.get_container_registry().address == registry.address
    assert registry.status(f"team/{image_name}/manifests/1") == 200
    client.images.remove(package.image_id, force=True)
    package.pull()
    assert client.images.get(package.location).id == package.image_id


def test_a_registry_that_cannot_be(workspace: Workspace, config: InferenceConfig) -> None:
    with pytest.raises(UserErrorException, match="'team' is no registry"):
        Model.package(workspace, ["half"], config, registry="team")


def test_somebody_elses_name_is_not_taken(workspace: Workspace, config: InferenceConfig, base: BaseImage) -> None:
    name, _, label = base.reference.partition(":")
    with pytest.raises(UserErrorException, match="is the name of another image"):
        Model.package(workspace, ["half"], config, False, name, label)


@pytest.mark.parametrize(("name", "label"), [("Package", None), ("package:1", None), ("package", "a b"), ("a//b", "1")])
def test_names_that_cannot_be(workspace: Workspace, config: InferenceConfig, name: str, label: str | None) -> None:
    with pytest.raises(UserErrorException, match="is no image name"):
        Model.package(workspace, ["half"], config, False, name, label)


def test_an_environment_is_needed(workspace: Workspace, config: InferenceConfig) -> None:
    with pytest.raises(UserErrorException, match="an inference configuration is needed"):
        Model.package(workspace, ["half"])
    config.environment = None
    with pytest.raises(WebserviceException, match="requires an InferenceConfig containing an Environment object"):
        Model.package(workspace, ["half"], config)


def test_a_dockerfile_is_saved_and_not_pulled(
    workspace: Workspace, config: InferenceConfig, tmp_path: Path, image_name: str
) -> None:
    package = Model.package(workspace, ["half"], config, generate_dockerfile=True, image_name=image_name)
    assert (package.state, package.generate_dockerfile, package.location) == ("Succeeded", True, None)
    with pytest.raises(WebserviceException, match=r"A Dockerfile package cannot be pulled. Use save\(\) instead"):
        package.pull()
    package.save(tmp_path / "context")
    assert package.location == str(tmp_path / "context")
    assert (tmp_path / "context" / "Dockerfile").is_file()
    assert package.get_container_registry().address == "docker.io"
    assert config.environment is not None
    config.environment.docker.base_image_registry.address = "registry.example"
    assert package.get_container_registry().address == "registry.example"


class Debugger:
    """An editor that attaches, in the Debug Adapter Protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._answers = self._socket.makefile("rb")
        self._sent = 0
        self._heard: list[dict[str, Any]] = []

    def ask(self, command: str, **arguments: Any) -> None:
        self._sent += 1
        request = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def wait_for(self, name: str) -> Any:
        """The body of an event of that name, or of the response to a command of that name."""
        while True:
            for message in self._heard:
                if name in {message.get("event"), message.get("command")}:
                    self._heard.remove(message)
                    assert message.get("success", True), message
                    return message.get("body")
            size = int(self._answers.readline().split(b":")[1])
            self._answers.readline()
            self._heard.append(json.loads(self._answers.read(size)))

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


def listening(container: Any) -> bool:
    return b"Waiting for a debugger on 0.0.0.0:5678" in container.logs()


def test_a_breakpoint_in_a_container(
    workspace: Workspace,
    config: InferenceConfig,
    image_name: str,
    start_container: StartContainer,
    eventually: Eventually,
) -> None:
    package = Model.package(workspace, ["half"], config, False, image_name, "1", debug_port=5678)
    container, ports = start_container(package.location, 5001, 5678)
    eventually(lambda: listening(container))
    debugger = Debugger(ports[5678])
    debugger.ask("initialize", adapterID="tests", clientID="tests")
    debugger.wait_for("initialize")
    debugger.ask("attach", justMyCode=True)
    debugger.wait_for("initialized")
    script = "/var/azureml-app/score.py"
    debugger.ask("setBreakpoints", source={"path": script}, breakpoints=[{"line": SCORED}])
    assert debugger.wait_for("setBreakpoints")["breakpoints"]
    debugger.ask("configurationDone")
    eventually(lambda: healthy(ports[5001]))
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(score(ports[5001], 3)))
    asking.start()
    stopped = debugger.wait_for("stopped")
    assert stopped["reason"] == "breakpoint"
    debugger.ask("stackTrace", threadId=stopped["threadId"])
    frame = debugger.wait_for("stackTrace")["stackFrames"][0]
    assert (frame["name"], frame["line"], frame["source"]["path"]) == ("run", SCORED, script)
    debugger.ask("evaluate", expression="int(data) * 10", frameId=frame["id"])
    assert debugger.wait_for("evaluate")["result"] == "30"
    assert answers == []
    debugger.ask("continue", threadId=stopped["threadId"])
    asking.join()
    assert answers == [1.5]
    debugger.close()


def test_debugging_that_cannot_be(workspace: Workspace, config: InferenceConfig) -> None:
    for settings, why in (
        (ServingSettings(worker_count=2), "one worker"),
        (ServingSettings(serving="azmlinfsrv"), "own"),
    ):
        with pytest.raises(UserErrorException, match=why):
            Model.package(workspace, ["half"], config, serving=settings, debug_port=5678)
