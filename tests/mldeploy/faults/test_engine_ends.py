"""The Docker engine ends before, during and after a deployment, and comes back: states are true, nothing is half."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mldeploy import Environment, InferenceConfig, LocalWebservice, Webservice, Workspace
from mldeploy.errors import EngineException, EnvironmentException, WebserviceException
from mldeploy.events import Event, Output, Progress, Step
from mldeploy.store.places import cache_root

# the SDK leaves a socket open where nobody listens
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

Deploy = Callable[..., LocalWebservice]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something to be seen; a deadline is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def handle(workspace: Workspace) -> Any:
    """What is recorded of the service's container."""
    record = workspace.store.services.get("echo")
    assert record is not None
    return record.handle


def images(engine: Any) -> set[str]:
    with engine.asked() as client:
        return {image["Id"] for image in client.api.images(all=True)}


def remove_environments(engine: Any) -> None:
    """So that they have to be loaded."""
    with engine.asked() as client:
        for image in client.api.images(filters={"label": "mldeploy.kind=environment"}):
            client.api.remove_image(image["Id"], force=True)


def works(engine: Any) -> bool:
    """Whether a container works for the deployment."""
    with engine.asked() as client:
        return bool(client.api.containers(filters={"label": "mldeploy.kind=bytecode"}))


def test_before_a_deployment(engine: Any, workspace: Workspace, deploy: Deploy) -> None:
    with engine.stopped():
        began = time.monotonic()
        with pytest.raises(EngineException) as raised:
            deploy()
        assert time.monotonic() - began < 1
        assert raised.value.message == "no Docker engine answers"
        assert engine.url in raised.value.where
        assert raised.value.hint
        assert Webservice.list(workspace) == []
        assert list(workspace.store.services_folder.rglob("*")) == []
    deploy().wait_for_deployment()


def test_before_a_service_is_replaced_or_deleted(engine: Any, workspace: Workspace, deploy: Deploy) -> None:
    deploy().wait_for_deployment()
    before = handle(workspace)
    with engine.stopped():
        for attempt in (lambda: deploy(overwrite=True), Webservice(workspace, "echo").delete):
            with pytest.raises(EngineException, match="no Docker engine answers"):
                attempt()
        assert handle(workspace) == before, "nothing is forgotten"
    deploy(overwrite=True).wait_for_deployment()


@pytest.mark.parametrize(
    ("moment", "end"),
    [("package", "stop"), ("compile", "kill"), ("load", "kill"), ("loading", "stop"), ("start", "kill")],
)
def test_during_a_deployment(
    moment: str, end: str, engine: Any, workspace: Workspace, deploy: Deploy, request: pytest.FixtureRequest
) -> None:
    if moment == "compile":
        request.getfixturevalue("own_cache")
    remove_environments(engine)
    before = images(engine)
    end_it = getattr(engine, end)

    def when_it_works() -> None:
        until(lambda: works(engine))
        end_it()

    ender = threading.Thread(target=when_it_works)

    def ends(event: Event) -> None:
        name = getattr(event, "name", "")
        if moment == "loading" and isinstance(event, Progress) and name == "load" and event.done > event.total / 2:
            end_it()
        elif moment == "compile" and name == "install":
            ender.start()
        elif isinstance(event, Step) and name == moment:
            end_it()

    with pytest.raises(EngineException) as raised:
        deploy(report=ends)
    if moment == "compile":
        ender.join()
    assert raised.value.hint
    assert "\n" not in raised.value.message
    assert Webservice.list(workspace) == []
    assert list((cache_root() / "layers").glob(f"partial-*-{os.getpid()}-*")) == []
    engine.start()
    if moment != "start":
        assert images(engine) == before, "nothing half is there"
    service = deploy()
    service.wait_for_deployment()
    assert service.run("again") == "again"
    with engine.asked() as client:
        assert len(client.api.containers(all=True)) == 1


def test_during_a_docker_build(engine: Any, workspace: Workspace, deploy: Deploy, script: Path) -> None:
    environment = Environment("built")
    environment.docker.base_dockerfile = (
        "FROM azureml/base:latest\nRUN echo made > /made\nRUN trap exit TERM; echo working; sleep 2 & wait\n"
    )
    config = InferenceConfig(str(script), environment=environment)

    def ends(event: Event) -> None:
        if event == Output("working"):
            engine.kill()

    with pytest.raises(EnvironmentException) as raised:
        deploy(inference_config=config, report=ends)
    assert "the engine broke off" in raised.value.reason
    engine.start()
    deploy(inference_config=config).wait_for_deployment()
    with engine.asked() as client:
        assert len(client.api.containers(all=True)) == 1, "the step's is gone"
        for image in client.api.images(filters={"label": "mldeploy.kind=foundation"}):
            client.api.remove_image(image["Id"], force=True)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_while_a_service_is_replaced(end: str, engine: Any, workspace: Workspace, deploy: Deploy) -> None:
    deploy().wait_for_deployment()
    before = handle(workspace)

    def ends(event: Event) -> None:
        if isinstance(event, Step) and event.name == "start":
            getattr(engine, end)()

    with pytest.raises(EngineException):
        deploy(overwrite=True, report=ends)
    assert Webservice(workspace, "echo").state == "Unhealthy"
    engine.start()
    service = Webservice(workspace, "echo")
    assert isinstance(service, LocalWebservice)
    assert handle(workspace) == before
    assert service.state == "Failed"
    service.reload(wait=True)
    assert service.run("again") == "again"
    with engine.asked() as client:
        assert len(client.api.containers(all=True)) == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_after_a_deployment(end: str, engine: Any, workspace: Workspace, deploy: Deploy) -> None:
    service = deploy()
    service.wait_for_deployment()
    port = service.port
    getattr(engine, end)()

    (found,) = Webservice.list(workspace)
    assert found.state == "Unhealthy"
    assert found.error is not None
    assert "no Docker engine answers" in found.error["message"]
    with pytest.raises(WebserviceException, match="cannot be waited for"):
        found.wait_for_deployment()
    if end == "stop":
        with pytest.raises(WebserviceException, match="cannot be reached: it is Unhealthy"):
            found.run("x")

    engine.start()
    (found,) = Webservice.list(workspace)
    assert isinstance(found, LocalWebservice)
    assert found.state == "Failed", "Docker does not start it again, and neither is it forgotten"
    assert found.error is not None
    assert found.error["message"]
    assert found.get_logs()
    found.reload(wait=True)
    assert found.port == port
    assert found.run("again") == "again"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_engine_that_lets_containers_live(end: str, engine: Any, workspace: Workspace, deploy: Deploy) -> None:
    engine.start("--live-restore")
    service = deploy()
    service.wait_for_deployment()
    before = handle(workspace)
    getattr(engine, end)()
    assert Webservice(workspace, "echo").state == "Unhealthy"
    engine.start("--live-restore")
    found = Webservice(workspace, "echo")
    until(lambda: found.state == "Healthy")
    assert found.run("still") == "still"
    assert handle(workspace) == before


def test_while_it_is_waited_for(engine: Any, workspace: Workspace, deploy: Deploy, script: Path) -> None:
    script.write_text("import time\ndef init():\n    print('loading')\n    time.sleep(600)\ndef run(data): pass\n")
    service = deploy()
    until(lambda: "loading" in service.get_logs())  # earlier than that, the first process of a container hears nothing

    def ends(event: Event) -> None:
        with suppress(AttributeError):
            if event.state in {"Transitioning", "Unhealthy"}:  # type: ignore[union-attr]
                engine.stop()

    with pytest.raises(WebserviceException, match="cannot be waited for") as raised:
        service.wait_for_deployment(report=ends)
    assert "no Docker engine answers" in raised.value.reason
