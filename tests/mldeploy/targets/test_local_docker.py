"""Local services on Docker the whole way: what is recorded, seen and left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mldeploy import Environment, InferenceConfig, LocalWebservice, Model, Webservice, Workspace
from mldeploy.config.harness import ServingSettings
from mldeploy.engines import docker
from mldeploy.engines.loopback import listen
from mldeploy.errors import EngineException, NeedsImage, UserErrorException, WebserviceException
from mldeploy.events import Event, Notice, Step

if TYPE_CHECKING:
    from docker import DockerClient

ECHO = "def init():\n    pass\n\ndef run(data):\n    return data\n"
MODEL = """
import json, os

def init():
    global answer
    with open(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model.txt")) as stream:
        answer = stream.read()

def run(data):
    return {"model": answer, "rows": json.loads(data)["data"], "root": os.environ["AML_APP_ROOT"], "uid": os.getuid()}
"""


@pytest.fixture
def workspace(docker_client: DockerClient, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace, of whose services nothing may be left on the engine."""
    workspace = Workspace.create("tests", store=str(tmp_path / "store"))
    yield workspace
    for service in Webservice.list(workspace):
        service.delete()
    assert containers(workspace) == {}
    assert list(workspace.store.services_folder.rglob("score.py")) == []


def containers(workspace: Workspace) -> dict[str, Any]:
    """The containers of a workspace's services, by id, with their labels."""
    return dict(docker.instances({"mldeploy.store": os.path.realpath(workspace.store.services_folder)}))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "score.py"
    path.write_text(ECHO)
    return path


def deployed(workspace: Workspace, script: Path, name: str = "echo", **more: Any) -> LocalWebservice:
    config = InferenceConfig(str(script), environment=more.pop("environment", None))
    more.setdefault("engine", "docker")
    service = Model.deploy(workspace, name, more.pop("models", []), config, **more)
    assert isinstance(service, LocalWebservice)
    return service


def handle(service: Webservice) -> dict[str, Any]:
    record = service.workspace.store.services.get(service.name)
    assert record
    return record.handle


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Step | Notice)]


def container_of(service: Webservice, client: DockerClient) -> dict[str, Any]:
    seen: dict[str, Any] = client.api.inspect_container(handle(service)["container"])
    return seen


def test_deploy_wait_score_delete_in_v1s_words(
    workspace: Workspace, script: Path, docker_client: DockerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.txt").write_text("forty-two")
    model = Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    script.write_text(MODEL)
    events: list[Event] = []
    service = deployed(workspace, script, models=[model], report=events.append)
    service.wait_for_deployment(show_output=True, report=events.append)
    where = f"Local webservice is running at http://localhost:{service.port}"
    words = ["Starting Docker container...", "Docker container running.", "Checking container health...", where]
    assert [text for text in texts(events) if text in words] == words
    printed = capsys.readouterr().out
    assert printed.startswith("Checking container health...\nRunning")
    assert printed.endswith(f'operation "Succeeded"\n{where}\n')
    answer = service.run('{"data": [1, 2]}')
    assert answer == {"model": "forty-two", "rows": [1, 2], "root": "/var/azureml-app", "uid": answer["uid"]}
    assert answer["uid"] == (os.geteuid() or docker.UID)
    assert service.scoring_uri == f"http://localhost:{service.port}/score"
    assert "ready for serving traffic" in service.get_logs()
    record = workspace.store.services.get("echo")
    assert record
    assert record.engine == "docker"
    labels = container_of(service, docker_client)["Config"]["Labels"]
    assert labels["mldeploy.service"] == "echo"
    assert labels["mldeploy.workspace"] == "tests"
    assert labels["mldeploy.models"] == "answer:1"
    assert labels["mldeploy.package"] == record.package_digest
    service.delete()
    assert Webservice.list(workspace) == []
    assert containers(workspace) == {}


def test_a_model_cannot_be_changed_by_the_script(workspace: Workspace, script: Path, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("forty-two")
    model = Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    script.write_text(
        "import os\ndef init():\n    open('mine', 'w').close()\n    open('azureml-models/answer/1/model.txt', 'a')\n"
        "\ndef run(data):\n    return data\n"
    )
    service = deployed(workspace, script, models=[model])
    with pytest.raises(WebserviceException, match=r"Read-only file system|Permission denied"):
        service.wait_for_deployment()


def test_a_folder_goes_with_the_script(workspace: Workspace, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir(mode=0o700)
    (project / "part.py").write_text("name = 'a part'\n")
    (project / "part.py").chmod(0o600)
    (project / "score.py").write_text("import part\ndef init():\n    pass\n\ndef run(data):\n    return part.name\n")
    config = InferenceConfig("score.py", source_directory=str(project))
    service = Model.deploy(workspace, "parts", [], config, engine="docker")
    service.wait_for_deployment()
    assert service.run("") == "a part"


def test_auto_takes_docker_for_limits_and_a_process_that_was_asked_for_refuses_them(
    workspace: Workspace, script: Path, docker_client: DockerClient
) -> None:
    limits = LocalWebservice.deploy_configuration(cpu_cores=0.5, memory_gb=0.25)
    with pytest.raises(NeedsImage, match=r"cpu: 0.5, memoryInGB: 0.25"):
        deployed(workspace, script, engine="process", deployment_config=limits)
    events: list[Event] = []
    service = deployed(workspace, script, engine="auto", deployment_config=limits, report=events.append)
    assert any("Docker" in text and "memoryInGB: 0.25" in text for text in texts(events))
    seen = container_of(service, docker_client)["HostConfig"]
    assert (seen["NanoCpus"], seen["Memory"]) == (500_000_000, 2**28)
    service.wait_for_deployment()
    service.update(deployment_config=LocalWebservice.deploy_configuration(cpu_cores=1), wait=True)
    assert container_of(service, docker_client)["HostConfig"]["NanoCpus"] == 10**9


def test_without_limits_auto_is_a_process(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script, engine="auto")
    assert handle(service)["engine"] == "process"
    assert containers(workspace) == {}


def test_what_is_asked_of_docker_run(workspace: Workspace, script: Path, docker_client: DockerClient) -> None:
    environment = Environment("with arguments")
    environment.docker.arguments = ["-e", "THREADS=2", "--hostname", "scoring"]
    environment.docker.shm_size = "32m"
    environment.environment_variables = {"THREADS": "1"}
    about = "[os.environ['THREADS'], socket.gethostname()]"
    script.write_text(f"import os, socket\ndef init():\n    pass\n\ndef run(data):\n    return {about}\n")
    service = deployed(workspace, script, environment=environment, engine="auto")
    service.wait_for_deployment()
    assert service.run("") == ["1", "scoring"]
    assert container_of(service, docker_client)["HostConfig"]["ShmSize"] == 32 * 2**20


@pytest.mark.parametrize(
    ("arguments", "configuration", "message"),
    [
        (["--privileged"], {}, "'--privileged' is not taken"),
        (["--memory=1g"], {"memory_gb": 0.5}, "ask for different things"),
        (["--network=nowhere-at-all"], {}, "no network 'nowhere-at-all'"),
        ([], {"cpu_cores": 4096}, "4096 cores cannot be had"),
    ],
)
@pytest.mark.parametrize("engine", ["docker", "auto"])
def test_what_cannot_be_asked_of_it_is_refused_before_anything_is_made(
    workspace: Workspace, script: Path, arguments: list[str], configuration: dict[str, Any], message: str, engine: str
) -> None:
    environment = Environment("with arguments")
    environment.docker.arguments = arguments
    events: list[Event] = []
    asked = LocalWebservice.deploy_configuration(**configuration)
    with pytest.raises(UserErrorException, match=message):
        deployed(
            workspace, script, environment=environment, deployment_config=asked, engine=engine, report=events.append
        )
    assert Webservice.list(workspace) == []
    assert events == []


def test_reload_takes_the_script_as_it_is_now_and_nothing_else(
    workspace: Workspace, script: Path, docker_client: DockerClient
) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    before = handle(service)
    # another image of the same, as if the environment had been resolved anew since
    copy = docker_client.containers.get(before["container"]).commit("mldeploy-tests/other", "1").id
    changed = {**before, "image": copy}
    workspace.store.services.change("echo", lambda now: replace(now, handle=changed))
    script.write_text(ECHO.replace("return data", "return data.upper()"))
    events: list[Event] = []
    service.reload(wait=True, report=events.append)
    assert service.run("changed") == "CHANGED"
    after = handle(service)
    assert (after["port"], after["image"]) == (before["port"], copy)
    assert after["container"] != before["container"]
    assert list(containers(workspace)) == [after["container"]]
    steps = [event.name for event in events if isinstance(event, Step)]
    assert {"install", "load", "build"}.isdisjoint(steps)
    assert any("environment stays" in text for text in texts(events))
    service.update(wait=True)
    assert handle(service)["image"] == before["image"]
    service.delete()
    assert copy
    assert docker.remove_image(copy)


def test_an_update_changes_what_is_given_and_keeps_the_rest(workspace: Workspace, script: Path, free_port: int) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    port, image = service.port, handle(service)["image"]
    other = script.with_name("other.py")
    other.write_text(ECHO.replace("return data", "return 'other'"))
    service.update(inference_config=InferenceConfig(str(other)), wait=True)
    assert (service.run("x"), service.port, handle(service)["image"]) == ("other", port, image)
    assert handle(service)["engine"] == "docker"
    service.update(deployment_config=LocalWebservice.deploy_configuration(port=free_port), wait=True)
    assert (service.run("x"), service.port) == ("other", free_port)
    assert len(containers(workspace)) == 1


def test_an_update_that_fails_leaves_the_old_one_running(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    before = handle(service)
    with listen(None) as taken:
        asked = LocalWebservice.deploy_configuration(port=taken.getsockname()[1])
        with pytest.raises(WebserviceException, match="cannot be listened on: Address already in use"):
            service.update(deployment_config=asked)
    assert handle(service) == before
    assert service.run("still") == "still"

    def thief(event: Event) -> None:
        if isinstance(event, Step) and event.text == "Docker container running.":
            raise OSError("after the old one was stopped")

    with pytest.raises(OSError, match="was stopped"):
        service.update(report=thief)
    assert handle(service) == before
    service.wait_for_deployment()
    assert service.run("again") == "again"
    assert list(containers(workspace)) == [before["container"]]


def test_a_taken_port_is_an_error_of_the_deploying_command(workspace: Workspace, script: Path) -> None:
    with listen(None) as taken:
        asked = LocalWebservice.deploy_configuration(port=taken.getsockname()[1])
        with pytest.raises(WebserviceException, match=f"port {asked.port} cannot be listened on"):
            deployed(workspace, script, deployment_config=asked)
    assert Webservice.list(workspace) == []
    deployed(workspace, script, deployment_config=asked).wait_for_deployment()
    with pytest.raises(WebserviceException, match=f"port {asked.port} cannot be listened on"):
        deployed(workspace, script, "second", deployment_config=asked)
    assert [service.name for service in Webservice.list(workspace)] == ["echo"]


def test_a_service_moves_from_one_engine_to_the_other(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script, engine="process")
    service.wait_for_deployment()
    port, seen = service.port, []
    for engine in ("docker", "process"):
        service = deployed(workspace, script, engine=engine, overwrite=True)
        service.wait_for_deployment()
        record = workspace.store.services.get("echo")
        assert record
        seen.append((record.engine, record.handle["engine"], len(containers(workspace))))
        assert (service.port, service.run("moved")) == (port, "moved")
    assert seen == [("docker", "docker", 1), ("process", "process", 0)]


def test_older_handles_are_processes(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script, engine="process")
    old = {name: value for name, value in handle(service).items() if name not in {"engine", "python"}}
    workspace.store.services.change("echo", lambda now: replace(now, handle=old))
    service.wait_for_deployment()
    assert service.run("as before") == "as before"
    service.reload(wait=True)
    assert handle(service)["engine"] == "process"


def test_services_share_an_image_that_the_last_one_may_take_along(
    workspace: Workspace, script: Path, docker_client: DockerClient
) -> None:
    environment = Environment("of its own")
    environment.python.conda_dependencies.add_pip_package("toolz")  # type: ignore[union-attr]
    names = ("first", "second", "third")
    services = [deployed(workspace, script, name, environment=environment) for name in names]
    for service in services:
        service.wait_for_deployment()
        assert service.run(service.name) == service.name
    (image,) = {handle(service)["image"] for service in services}
    assert len({service.port for service in services}) == 3
    services[0].delete()
    services[1].delete(delete_image=True)
    assert docker.has_image(image)
    services[2].delete(delete_image=True)
    assert not docker.has_image(image)


def test_a_failed_init_says_why(workspace: Workspace, script: Path) -> None:
    script.write_text("def init():\n    raise OSError('no weights here')\n\ndef run(data):\n    return data\n")
    service = deployed(workspace, script)
    with pytest.raises(WebserviceException) as caught:
        service.wait_for_deployment()
    assert "current service state: Failed" in str(caught.value)
    assert "no weights here" in str(caught.value)
    assert service.error
    assert (service.error["exitCode"], service.error["restartCount"]) == (3, 0)
    assert service.error["details"][0]["code"] == "CrashLoopBackOff"
    assert "no weights here" in service.get_logs()


def test_init_that_hangs_ends_at_the_timeout(workspace: Workspace, script: Path) -> None:
    script.write_text("import time\ndef init():\n    time.sleep(600)\n\ndef run(data):\n    return data\n")
    service = deployed(workspace, script, timeout=1)
    with pytest.raises(WebserviceException, match=r"init\(\)"):
        service.wait_for_deployment()


def test_memory_that_is_not_enough_is_named_with_the_limit(workspace: Workspace, script: Path) -> None:
    script.write_text("def init():\n    global x\n    x = bytearray(400_000_000)\n\ndef run(data):\n    return data\n")
    service = deployed(workspace, script, deployment_config=LocalWebservice.deploy_configuration(memory_gb=0.125))
    with pytest.raises(WebserviceException, match=r"out of memory: the limit is 0.125 GB"):
        service.wait_for_deployment()
    assert service.error
    assert service.error["details"] == [{"code": "OutOfMemory", "message": "out of memory: the limit is 0.125 GB"}]
    script.write_text(ECHO)
    service.reload(wait=True)
    assert service.error is None


def test_a_worker_that_ran_out_of_memory_is_told_while_the_service_lives_and_is_not_why_it_ended(
    workspace: Workspace, script: Path, docker_client: DockerClient
) -> None:
    script.write_text("def init():\n    pass\n\ndef run(data):\n    return len(bytearray(400_000_000))\n")
    service = deployed(workspace, script, deployment_config=LocalWebservice.deploy_configuration(memory_gb=0.125))
    service.wait_for_deployment()
    with pytest.raises(WebserviceException, match=r"out of memory: the limit is 0.125 GB"):
        service.run("x")
    service.wait_for_deployment()
    assert service.state == "Healthy", "the worker is replaced"
    assert service.error
    assert service.error["code"] == "OutOfMemory"
    assert "out of memory: the limit is 0.125 GB" in service.error["message"]
    docker_client.api.stop(handle(service)["container"])
    assert service.state == "Failed"
    assert service.error
    assert service.error["details"] == [{"code": "ServiceEnded", "message": "stopped by SIGTERM"}]


def test_a_gpu_where_there_is_none_is_told_before_an_image_is_made(
    workspace: Workspace, script: Path, docker_client: DockerClient
) -> None:
    if "nvidia" in docker_client.info()["Runtimes"]:
        pytest.skip("this engine hands on GPUs")
    environment = Environment("with a GPU")
    environment.docker.base_dockerfile = "FROM scratch"
    environment.docker.gpu_support = True
    events: list[Event] = []
    for engine in ("docker", "auto"):
        with pytest.raises(UserErrorException, match="this engine has no runtime for one"):
            deployed(workspace, script, environment=environment, engine=engine, report=events.append)
    assert events == []


def test_a_container_that_is_removed_by_hand(workspace: Workspace, script: Path, docker_client: DockerClient) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    docker_client.api.remove_container(handle(service)["container"], force=True)
    assert service.state == "Failed"
    assert service.error
    assert service.error["details"][0]["code"] == "ContainerRemoved"
    assert "was removed from outside" in service.error["message"]
    with pytest.raises(WebserviceException, match="it is Failed"):
        service.run("x")
    assert service.get_logs() == ""
    service.update(wait=True)
    assert service.run("back") == "back"
    docker_client.api.remove_container(handle(service)["container"], force=True)
    service.delete()


def test_a_paused_container(workspace: Workspace, script: Path, docker_client: DockerClient) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    docker_client.api.pause(handle(service)["container"])
    assert service.state == "Unhealthy"
    assert service.error
    assert "is paused" in service.error["message"]
    service.delete()


def test_while_docker_does_not_answer_nothing_is_forgotten(
    workspace: Workspace, script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = deployed(workspace, script)
    starting = deployed(workspace, script, "starting")
    service.wait_for_deployment()
    before = handle(service)
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
        assert service.state == "Unhealthy"
        assert service.error
        assert service.error["code"] == "EngineUnreachable"
        assert "no Docker engine answers" in service.error["message"]
        assert "unset DOCKER_HOST" in service.error["message"]
        with pytest.raises(WebserviceException, match="cannot be waited for"):
            starting.wait_for_deployment()
        for call in (service.get_logs, service.delete, service.reload):
            with pytest.raises(EngineException, match="no Docker engine answers"):
                call()
        with pytest.raises(EngineException, match="no Docker engine answers"):
            deployed(workspace, script, "another")
        deployed(workspace, script, "process", engine="process").wait_for_deployment()
    assert handle(service) == before
    assert service.state == "Healthy"
    assert service.error is None
    starting.wait_for_deployment()


def test_another_machine_s_container_is_out_of_sight(
    workspace: Workspace, script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = deployed(workspace, script)
    here = handle(service)
    far = {**here, "host": "far", "folder": "/far/away/instance", "container": "0" * 64}
    workspace.store.services.change("echo", lambda now: replace(now, handle=far))
    assert service.error
    assert "runs on the machine far" in service.error["message"]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert "runs on the machine far" in service.error["message"]
    monkeypatch.delenv("DOCKER_HOST")
    other = {**here, "daemon": "another", "container": "0" * 64}
    workspace.store.services.change("echo", lambda now: replace(now, handle=other))
    with pytest.raises(EngineException, match="is another Docker engine's"):
        service.delete()
    workspace.store.services.change("echo", lambda now: replace(now, handle=here))
    service.wait_for_deployment()


DEPLOYING = """
import json, os, signal, sys
from mldeploy import InferenceConfig, Model, Workspace

store, script, word, overwrite = json.loads(sys.argv[1])

def report(event):
    if getattr(event, "text", "") == word:
        os.kill(os.getpid(), signal.SIGKILL)

workspace = Workspace.get("tests", store=store)
Model.deploy(workspace, "echo", [], InferenceConfig(script), engine="docker", overwrite=overwrite, report=report)
"""


def killed(workspace: Workspace, script: Path, word: str, *, overwrite: bool = False) -> None:
    """A deployment by a process that is killed when it says a word."""
    store = str(script.parent / "store")
    asked = json.dumps([store, str(script), word, overwrite])
    ended = subprocess.run([sys.executable, "-c", DEPLOYING, asked], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("word", ["Starting Docker container...", "Docker container running."])
def test_what_a_killed_deployer_leaves_goes_with_the_next_deployment(
    workspace: Workspace, script: Path, word: str
) -> None:
    killed(workspace, script, word)
    assert len(containers(workspace)) == 1
    assert Webservice(workspace, "echo").state == "Failed"
    service = deployed(workspace, script)
    service.wait_for_deployment()
    assert list(containers(workspace)) == [handle(service)["container"]]


def test_what_a_killed_deployer_leaves_goes_with_the_deletion(workspace: Workspace, script: Path) -> None:
    killed(workspace, script, "Docker container running.")
    Webservice(workspace, "echo").delete()
    assert containers(workspace) == {}


def test_what_a_killed_deployer_leaves_goes_with_the_next_process(workspace: Workspace, script: Path) -> None:
    killed(workspace, script, "Starting Docker container...")
    deployed(workspace, script, engine="process")
    assert containers(workspace) == {}


def test_a_killed_update_leaves_one(workspace: Workspace, script: Path) -> None:
    service = deployed(workspace, script)
    service.wait_for_deployment()
    killed(workspace, script, "Docker container running.", overwrite=True)
    assert len(containers(workspace)) == 2
    assert service.state == "Failed"  # it was stopped for the new one, which nobody recorded
    deployed(workspace, script, overwrite=True).wait_for_deployment()
    assert list(containers(workspace)) == [handle(service)["container"]]


@pytest.mark.parametrize("word", ["Starting Docker container...", "Docker container running."])
def test_ctrl_c_on_the_way_leaves_nothing(workspace: Workspace, script: Path, word: str) -> None:
    def interrupt(event: Event) -> None:
        if getattr(event, "text", "") == word:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deployed(workspace, script, report=interrupt)
    assert Webservice.list(workspace) == []
    assert containers(workspace) == {}


def test_a_container_whose_folder_is_lost_is_found_by_its_labels(workspace: Workspace, script: Path) -> None:
    import shutil

    service = deployed(workspace, script)
    service.wait_for_deployment()
    workspace.store.services.delete("echo")
    shutil.rmtree(workspace.store.services_folder / "echo")
    assert len(containers(workspace)) == 1
    deployed(workspace, script)
    service = deployed(workspace, script, overwrite=True)
    assert list(containers(workspace)) == [handle(service)["container"]]


@pytest.fixture
def far_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's engine as one of another machine: behind TCP, from where its folders cannot be mounted."""
    from mldeploy.engines.connection import endpoint

    inner = endpoint().socket
    if inner is None:
        pytest.skip("the engine is behind a network already")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def pour(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while block := source.recv(65536):
                    target.sendall(block)
                target.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    outer = stack.enter_context(listener.accept()[0])
                    engine = stack.enter_context(socket.socket(socket.AF_UNIX))
                    engine.connect(inner)
                    for pair in ((outer, engine), (engine, outer)):
                        threading.Thread(target=pour, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", url)
        yield url
        monkeypatch.delenv("DOCKER_HOST")
        listener.shutdown(socket.SHUT_RDWR)


def test_an_engine_of_another_machine_gets_the_whole_package(
    workspace: Workspace, script: Path, docker_client: DockerClient, tmp_path: Path, far_engine: str
) -> None:
    (tmp_path / "model.txt").write_text("forty-two")
    model = Model.register(workspace, str(tmp_path / "model.txt"), "answer")
    script.write_text(MODEL)
    events: list[Event] = []
    service = deployed(workspace, script, models=[model], report=events.append)
    service.wait_for_deployment()
    assert any("another machine" in text and "forward" in text for text in texts(events))
    assert service.run('{"data": []}')["model"] == "forty-two"
    assert container_of(service, docker_client)["Mounts"] == []
    image = handle(service)["image"]
    script.write_text(ECHO)
    service.reload(wait=True)
    assert service.run("changed") == "changed"
    assert handle(service)["image"] != image
    assert not docker.has_image(image)
    image = handle(service)["image"]
    service.delete()
    assert not docker.has_image(image)
    del far_engine


@pytest.mark.parametrize("settings", [{}, {"serving": "azmlinfsrv"}])
def test_the_servers_settings_hold(workspace: Workspace, script: Path, settings: dict[str, Any]) -> None:
    service = deployed(workspace, script, serving=ServingSettings(worker_count=2, **settings))
    service.wait_for_deployment()
    deadline = time.monotonic() + 30
    while service.get_logs().count("ready for serving traffic") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server = requests.get(f"http://localhost:{service.port}/", timeout=20).headers.get("Server")
    assert server == ("gunicorn" if settings else None)


def test_services_of_several_threads_at_once(workspace: Workspace, script: Path) -> None:
    failures: list[BaseException] = []

    def deploy(name: str) -> None:
        try:
            deployed(workspace, script, name).wait_for_deployment()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=deploy, args=(f"at-once-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = Webservice.list(workspace)
    assert [service.state for service in found] == ["Healthy"] * 3
    assert len(containers(workspace)) == 3
