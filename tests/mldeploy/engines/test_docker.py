"""The Docker engine, with real containers of the scoring server on the machine's engine."""

from __future__ import annotations

import os
import platform
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from mldeploy.engines import docker
from mldeploy.engines.docker import Container, Mount, Observation, PortTaken, Running, options
from mldeploy.engines.loopback import listen
from mldeploy.errors import EngineException, UserErrorException, WebserviceException

if TYPE_CHECKING:
    from docker import DockerClient

ECHO = "def init():\n    print('hello from init')\n\ndef run(data):\n    return data\n"
APP_ROOT = "/var/azureml-app"
MB = 2**20
Start = Callable[..., Running]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to be seen; a deadline is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.02)


def settled(running: Running) -> Observation:
    """The first observation that is not of a starting service."""
    seen: list[Observation] = []

    def looked() -> bool:
        seen.append(docker.observe(running))
        return not seen[-1].alive or seen[-1].health == 200

    until(looked)
    return seen[-1]


def answer(running: Running, data: str = "") -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return requests.post(f"http://127.0.0.1:{running.port}/score", data, headers=headers, timeout=20)


class NoLocks:
    """Nobody keeps locks; the cache does."""

    def get(self, key: str) -> str | None:
        """Nothing is known."""

    def put(self, key: str, text: str) -> None:
        """Nothing is kept."""


@pytest.fixture(scope="session")
def image(docker_client: DockerClient) -> str:
    """The image of an environment that has the scoring server only."""
    from mldeploy.images.assemble import environment_image
    from mldeploy.images.loading import load
    from mldeploy.images.resolving import resolve

    environment = resolve(None, NoLocks())
    made = environment_image(docker_client, environment)
    load(docker_client, made, f"mldeploy/environment:{environment.digest[:12]}")
    return made.id


@pytest.fixture
def container(image: str, tmp_path: Path) -> Container:
    app = tmp_path / "app"
    app.mkdir()
    (app / "score.py").write_text(ECHO)
    if os.geteuid() == 0:
        os.chown(app, docker.UID, docker.UID)
    command = ("/opt/mldeploy/env/bin/python", "-m", "mldeploy_serving", "--host", "0.0.0.0", "--port", "5001")
    name = f"mldeploy-tests-{uuid.uuid4().hex[:8]}"
    return Container(
        image=image,
        name=name,
        command=(*command, "--init-timeout", "30", "--exit-file", docker.EXIT_FILE),
        labels={"mldeploy.kind": "service", "mldeploy.instance": name},
        environment={"AZUREML_ENTRY_SCRIPT": "score.py", "AML_APP_ROOT": APP_ROOT},
        mounts=(Mount(app, APP_ROOT),),
        user=docker.user(),
    )


@pytest.fixture
def start(container: Container, tmp_path: Path) -> Iterator[Start]:
    """Starts a container; whatever the test does, none is left."""

    def start(script: str | None = None, port: int | None = None, **changes: Any) -> Running:
        if script is not None:
            (tmp_path / "app" / "score.py").write_text(script)
        running = docker.create(replace(container, **changes), port)
        docker.start(running)
        return running

    yield start
    for left in docker.instances({"mldeploy.instance": container.name}):
        docker.remove(left)
    assert docker.instances({"mldeploy.instance": container.name}) == {}


def inside(start: Start, expression: str, **changes: Any) -> Any:
    """What a script in a container finds out about it."""
    script = f"import json, os, socket\ndef init():\n    pass\n\ndef run(data):\n    return {expression}\n"
    running = start(script, **changes)
    assert settled(running).health == 200, docker.logs(running, 20)
    return answer(running).json()


def test_a_started_container_answers_and_a_removed_one_is_gone(start: Start) -> None:
    running = start()
    assert settled(running) == Observation("running", 200)
    assert answer(running, '"as it is"').json() == '"as it is"'
    docker.remove(running.container)
    seen = docker.observe(running)
    assert (seen.status, seen.alive) == ("gone", False)
    assert "was removed from outside" in seen.reason
    assert docker.logs(running, 10) == ""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0
    docker.remove(running.container)
    docker.stop(running)


def test_it_listens_on_loopback_only(start: Start, docker_client: DockerClient) -> None:
    running = start()
    settled(running)
    published = docker_client.api.inspect_container(running.container)["NetworkSettings"]["Ports"]
    assert published == {"5001/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(running.port)}]}
    listening = [one.laddr for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert {place[0] for place in listening if place and place[1] == running.port} <= {"127.0.0.1"}


def test_it_has_no_rights(start: Start, container: Container, docker_client: DockerClient) -> None:
    about = inside(start, "dict(line.split(':\\t', 1) for line in open('/proc/self/status'))")
    assert {about[kind].strip() for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert about["NoNewPrivs"].strip() == "1"
    assert "0" not in about["Uid"].split()
    (name,) = docker.instances({"mldeploy.instance": container.name})
    seen = docker_client.api.inspect_container(name)["HostConfig"]
    assert seen["PidsLimit"] == docker.PIDS
    assert seen["RestartPolicy"]["Name"] in {"no", ""}
    assert seen["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "4"}}
    assert not seen["Privileged"]
    assert not seen["Init"]
    assert seen["UsernsMode"] == "host", "else an engine with userns-remap gives it a user who does not own its folder"


def test_its_processes_are_counted(start: Start, docker_client: DockerClient) -> None:
    fork = "[os.fork() or __import__('time').sleep(60) for _ in range(600)]"
    running = start(f"import os\ndef init():\n    pass\n\ndef run(data):\n    return {fork}\n")
    settled(running)
    assert answer(running).status_code == 500
    assert "Resource temporarily unavailable" in docker.logs(running, 200)
    assert docker.observe(running).alive
    docker_client.api.kill(running.container)  # nobody waits until all of these have heard that they have to end


def test_the_script_may_write_beside_itself_but_not_over_a_model(start: Start, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "weights").write_text("1")
    (tmp_path / "app" / "azureml-models").mkdir()
    mounts = (
        Mount(tmp_path / "app", APP_ROOT),
        Mount(models, f"{APP_ROOT}/azureml-models", read_only=True),
    )
    script = """
def init():
    open("made", "w").close()

def run(data):
    try:
        open("azureml-models/weights", "w")
    except OSError as error:
        return error.strerror
"""
    running = start(script, mounts=mounts)
    settled(running)
    assert answer(running).json() == "Read-only file system"
    assert (tmp_path / "app" / "made").exists()
    assert (models / "weights").read_text() == "1"


def test_a_port_that_somebody_has_is_told_as_the_process_engine_tells_it(start: Start) -> None:
    with listen(None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WebserviceException) as of_a_process:
            listen(port)
        with pytest.raises(PortTaken) as caught:
            start(port=port)
    assert caught.value.message == of_a_process.value.message
    assert caught.value.hint == of_a_process.value.hint
    running = start(port=port, name="mldeploy-tests-other")
    with pytest.raises(PortTaken, match=f"port {port} cannot be listened on: Address already in use"):
        start(port=port, name="mldeploy-tests-third")
    assert settled(running).health == 200


def test_what_was_stopped_can_be_started_again_on_the_same_port(start: Start, docker_client: DockerClient) -> None:
    running = start()
    settled(running)
    docker.stop(running)
    seen = docker.observe(running)
    assert (seen.status, seen.alive, seen.exit_code) == ("exited", False, 0)
    docker.start(running)
    assert settled(running).health == 200
    docker_client.api.kill(running.container)
    until(lambda: not docker.observe(running).alive)
    seen = docker.observe(running)
    assert (seen.exit_code, seen.oom_killed) == (137, False), "not how it ended the first time"
    assert "137" in seen.reason


def test_one_that_is_just_starting_hears_that_it_has_to_end(start: Start) -> None:
    running = start()
    began = time.monotonic()
    docker.stop(running)
    assert time.monotonic() - began < docker.STOP_GRACE_S
    assert not docker.observe(running).alive


def test_one_that_does_not_want_to_end_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "STOP_GRACE_S", 1)
    running = start(command=("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
    docker.stop(running)
    assert docker.observe(running).exit_code == 137


def test_init_that_raises_ends_with_v1s_exit_code_and_a_reason(start: Start) -> None:
    running = start("def init():\n    raise ValueError('no such weights')\n\ndef run(data):\n    return data\n")
    seen = settled(running)
    assert (seen.alive, seen.exit_code) == (False, 3)
    assert "no such weights" in seen.reason
    assert "no such weights" in docker.logs(running, 100)


def test_a_container_that_is_paused_or_was_never_started(
    start: Start, container: Container, docker_client: DockerClient
) -> None:
    running = start()
    settled(running)
    docker_client.api.pause(running.container)
    seen = docker.observe(running)
    assert (seen.status, seen.alive, seen.health) == ("paused", True, None)
    assert "is paused" in seen.reason
    docker_client.api.unpause(running.container)
    assert settled(running).health == 200
    docker_client.api.pause(running.container)
    docker.remove(running.container)
    assert docker.observe(running).status == "gone"
    waiting = docker.create(replace(container, name="mldeploy-tests-waiting"), None)
    seen = docker.observe(waiting)
    assert (seen.status, seen.alive) == ("created", False)
    assert "never started" in seen.reason


def test_the_log_is_what_the_script_prints(start: Start) -> None:
    running = start()
    settled(running)
    until(lambda: "hello from init" in docker.logs(running, 100))
    log = docker.logs(running, 100)
    assert docker.logs(running, 1) == log.splitlines(keepends=True)[-1]
    assert docker.logs(running, 0) == ""


def test_it_is_found_by_its_labels(start: Start, container: Container) -> None:
    running = start(labels={**container.labels, "mldeploy.service": "found"})
    found = docker.instances({"mldeploy.service": "found", "mldeploy.instance": container.name})
    assert list(found) == [running.container]
    assert found[running.container]["mldeploy.kind"] == "service"
    assert docker.instances({"mldeploy.service": "found", "mldeploy.instance": "another"}) == {}


ASKED = [
    (["-e", "THREADS=2", "-e", "AML_APP_ROOT=/elsewhere"], "os.environ['THREADS'] + os.getcwd()", f"2{APP_ROOT}"),
    (["--hostname=scoring"], "socket.gethostname()", "scoring"),
    (["--add-host=db:10.0.0.7"], "socket.gethostbyname('db')", "10.0.0.7"),
    (["--shm-size=32m"], "(lambda s: s.f_blocks * s.f_frsize)(os.statvfs('/dev/shm'))", 32 * MB),
    (["--ulimit=nofile=512:512"], "__import__('resource').getrlimit(7)[0]", 512),
    (["--tmpfs=/scratch:size=1m"], "(lambda s: s.f_blocks * s.f_frsize)(os.statvfs('/scratch'))", MB),
    (["--group-add=4242"], "4242 in os.getgroups()", True),
    (["--cpuset-cpus=0"], "len(os.sched_getaffinity(0))", 1),
    (["--read-only"], "[os.access(one, os.W_OK) for one in ('/home/mldeploy', '/tmp', '.')]", [False, True, True]),
]


def test_what_is_asked_of_docker_run_is_given(start: Start) -> None:
    arguments = [word for words, _, _ in ASKED for word in words]
    expressions = ", ".join(expression for _, expression, _ in ASKED)
    found = inside(start, f"[{expressions}]", options=options(arguments))
    assert found == [expected for _, _, expected in ASKED]


def test_limits_are_the_containers(start: Start, docker_client: DockerClient) -> None:
    running = start(options=options(cpu=0.5, memory_gb=0.25))
    seen = docker_client.api.inspect_container(running.container)["HostConfig"]
    assert (seen["NanoCpus"], seen["Memory"], seen["MemorySwap"]) == (500_000_000, 256 * MB, 256 * MB)


def test_an_existing_network(start: Start, docker_client: DockerClient) -> None:
    network = docker_client.networks.create("mldeploy-tests-network", labels={"mldeploy.kind": "test"})
    try:
        asked = options(["--network", "mldeploy-tests-network"])
        docker.check(asked)
        running = start(options=asked)
        assert settled(running).health == 200
        seen = docker_client.api.inspect_container(running.container)["NetworkSettings"]["Networks"]
        assert list(seen) == ["mldeploy-tests-network"]
        docker.remove(running.container)
    finally:
        network.remove()


@pytest.mark.parametrize(
    ("wanted", "message", "why"),
    [
        (options(cpu=4096), "4096 cores cannot be had", "the engine's machine has"),
        (options(memory_gb=1e6), "GB of memory cannot be had", "the engine's machine has"),
        (options(["--network=nowhere-at-all"]), "the engine has no network 'nowhere-at-all'", "bridge"),
    ],
)
def test_what_the_engine_cannot_give_is_told_before_anything_is_made(
    docker_client: DockerClient, wanted: docker.Options, message: str, why: str
) -> None:
    with pytest.raises(UserErrorException, match=message) as caught:
        docker.check(wanted)
    assert why in caught.value.reason
    assert caught.value.hint


def test_a_gpu_where_there_is_none(docker_client: DockerClient) -> None:
    if "nvidia" in docker_client.info()["Runtimes"]:
        pytest.skip("this engine hands on GPUs")
    with pytest.raises(UserErrorException, match="this engine has no runtime for one") as caught:
        docker.check(options(gpu=True))
    assert "runc" in caught.value.reason


def test_what_the_engine_refuses_is_told_in_its_words(container: Container) -> None:
    with pytest.raises(WebserviceException, match="refuses the container") as caught:
        docker.create(replace(container, image="sha256:" + "0" * 64), None)
    assert "No such image" in caught.value.reason
    assert docker.instances({"mldeploy.instance": container.name}) == {}


def test_another_engine_tells_nothing_about_a_container(container: Container) -> None:
    running = Running("0" * 64, container.name, 1, platform.node(), "another")
    for call in (docker.observe, docker.stop):
        with pytest.raises(EngineException, match="is another Docker engine's"):
            call(running)
    docker.stop(replace(running, host="far"))


def test_a_refusal_is_no_engine_that_is_gone(docker_client: DockerClient) -> None:
    with pytest.raises(EngineException, match="the Docker engine refuses") as caught:
        docker.has_image("NO SUCH NAME")
    assert "invalid reference format" in caught.value.reason


def test_an_engine_that_does_not_answer(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running = start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    calls: list[Callable[[], object]] = [
        lambda: docker.observe(running),
        lambda: docker.logs(running, 5),
        lambda: docker.stop(running),
        lambda: docker.remove(running.container),
        lambda: docker.instances({}),
        lambda: docker.check(options()),
    ]
    for call in calls:
        with pytest.raises(EngineException, match="no Docker engine answers"):
            call()
    monkeypatch.delenv("DOCKER_HOST")
    assert settled(running).health == 200


def test_an_image_is_removed_only_when_no_container_has_it(
    start: Start, docker_client: DockerClient, image: str
) -> None:
    docker_client.api.tag(image, "mldeploy-tests/kept", "1")
    made = docker_client.containers.create(image, labels={"mldeploy.kind": "test"})
    copy = made.commit("mldeploy-tests/copy", "1").id
    made.remove()
    docker_client.api.remove_image("mldeploy-tests/kept:1")
    assert copy
    assert docker.has_image(copy)
    running = start(image=copy)
    assert docker.remove_image(copy) is False
    docker.remove(running.container)
    assert docker.remove_image(copy) is True
    assert docker.remove_image(copy) is True
    assert not docker.has_image(copy)
