"""The deploying process is killed in the middle: nothing half is ever used, and the next one sweeps and completes."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mldeploy import Environment, InferenceConfig, LocalWebservice, Model, Webservice, Workspace

Deploy = Callable[..., LocalWebservice]

# Deploys to Docker and tells what it does; `die` is the word of an event at which it kills itself.
DEPLOYS = """
import os, signal, sys
from mldeploy import InferenceConfig, Model, Workspace
from mldeploy.events import Progress
store, script, name, die = sys.argv[1:]
def report(event):
    if isinstance(event, Progress):
        if die == "loading" and event.name == "load" and event.done > event.total / 2:
            os.kill(os.getpid(), signal.SIGKILL)
    else:
        print(event, flush=True)
workspace = Workspace.create("tests", store=store, exist_ok=True)
Model.deploy(workspace, name, [], InferenceConfig(script), engine="docker", report=report).wait_for_deployment()
"""
PACKAGES = """
import sys
from mldeploy import Environment, InferenceConfig, Model, Workspace
workspace = Workspace.create("tests", store=sys.argv[1], exist_ok=True)
print(Model.package(workspace, ["large:1"], InferenceConfig(sys.argv[2], environment=Environment("none"))).location)
"""
FOUNDS = """
from mldeploy import Environment
from mldeploy.engines.connection import connect
from mldeploy.images.foundations.foundation import found
environment = Environment("built")
environment.docker.base_dockerfile = "FROM azureml/base:latest\\nRUN head -c 8 /dev/urandom > /made && sleep 1\\n"
print(found(connect(), environment.definition(), report=print).image.id)
"""
MEGABYTE = 1_000_000


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be seen; a deadline is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, int]:
    """What it printed, and how it ended."""
    told, _ = process.communicate(timeout=120)
    return told, process.returncode


def environments(engine: Any, *, remove: bool = False) -> list[str]:
    """The ids of environments' images; those of earlier tests may have to be loaded again."""
    with engine.asked() as client:
        found = [image["Id"] for image in client.api.images(filters={"label": "mldeploy.kind=environment"})]
        for image in found if remove else ():
            client.api.remove_image(image, force=True)
    return found


def at_work(engine: Any) -> list[str]:
    """The containers that work for deployments."""
    with engine.asked() as client:
        found = client.api.containers(all=True, filters={"label": "mldeploy.owner"})
        return [container["Id"] for container in found]


def test_while_its_container_compiles(
    engine: Any, workspace: Workspace, deploy: Deploy, script: Path, own_cache: Path, tmp_path: Path
) -> None:
    environments(engine, remove=True)
    process = started(DEPLOYS, tmp_path / "store", script, "echo", "")
    until(lambda: at_work(engine))
    process.kill()
    ended(process)
    assert list(own_cache.glob("layers/partial-*"))
    assert at_work(engine)

    deploy().wait_for_deployment()
    assert list(own_cache.glob("layers/partial-*")) == []
    assert at_work(engine) == []


def test_while_the_image_is_loaded(
    engine: Any, workspace: Workspace, deploy: Deploy, script: Path, tmp_path: Path
) -> None:
    deploy().wait_for_deployment()  # the layers are in the cache
    Webservice(workspace, "echo").delete()
    environments(engine, remove=True)
    before = engine.used
    told, code = ended(started(DEPLOYS, tmp_path / "store", script, "echo", "loading"))
    assert code == -signal.SIGKILL, told
    assert Webservice(workspace, "echo").state == "Failed"
    until(lambda: engine.used - before < MEGABYTE)  # the engine gives up what came half
    assert environments(engine) == []

    service = deploy()
    service.wait_for_deployment()
    assert service.run("whole") == "whole"
    assert len(environments(engine)) == 1


def test_while_a_layer_is_written(
    engine: Any, workspace: Workspace, script: Path, own_cache: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(200 * MEGABYTE)  # all holes
    Model.register(workspace, str(large), "large")

    def written() -> list[Path]:
        """What is being written and has a part of the model by now."""
        return [
            half
            for half in own_cache.glob("layers/partial-*")
            if half.is_file() and half.stat().st_size > 20 * MEGABYTE
        ]

    process = started(PACKAGES, tmp_path / "store", script)
    until(written)
    process.kill()
    ended(process)
    assert written(), "it was killed in the middle"

    package = Model.package(workspace, ["large:1"], InferenceConfig(str(script), environment=Environment("none")))
    assert list(own_cache.glob("layers/partial-*")) == []
    for layer in own_cache.glob("layers/*.tar"):
        assert hashlib.sha256(layer.read_bytes()).hexdigest() == layer.stem
    with engine.asked() as client:
        code = "import os, sys; print(os.stat(sys.argv[1]).st_size)"
        where = "/var/azureml-app/azureml-models/large/1/large.bin"
        output = client.containers.run(package.location, ["python", "-c", code, where], remove=True)
        assert int(output) == 200 * MEGABYTE
        client.api.remove_image(package.location, force=True)


def test_two_processes_at_once(
    engine: Any, workspace: Workspace, script: Path, own_cache: Path, tmp_path: Path
) -> None:
    environments(engine, remove=True)
    both = [started(DEPLOYS, tmp_path / "store", script, name, "") for name in ("one", "two")]
    told = []
    for process in both:
        text, code = ended(process)
        assert code == 0, text
        told.append(text)
    assert sum("Step(name='install'" in text for text in told) == 1, "one of them makes it"
    assert sum("another process makes the same environment: waiting for it" in text for text in told) == 1
    assert len(environments(engine)) == 1
    assert at_work(engine) == []
    for name in ("one", "two"):
        assert Webservice(workspace, name).run(name) == name


def test_two_processes_build_the_same_dockerfile(engine: Any, own_cache: Path) -> None:
    both = [started(FOUNDS) for _ in range(2)]
    told = []
    for process in both:
        text, code = ended(process)
        assert code == 0, text
        told.append(text)
    first, second = (text.splitlines()[-1] for text in told)
    assert first == second
    assert sum("another process makes the same image" in text for text in told) == 1
    with engine.asked() as client:
        assert [image["Id"] for image in client.api.images(filters={"label": "mldeploy.kind=foundation"})] == [first]
        client.api.remove_image(first, force=True)
