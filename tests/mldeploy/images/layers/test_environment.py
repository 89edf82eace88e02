"""An environment becomes layers: the same on every machine, only what changed is made, and a container of it serves."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.environment import Environment
from mldeploy.errors import EnvironmentException
from mldeploy.events import Event, Step
from mldeploy.images import loading
from mldeploy.images.assemble import environment_image
from mldeploy.images.layers import bytecode
from mldeploy.images.layers.environment import layers
from mldeploy.images.resolving import ImageEnvironment, resolve

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage


class Locks(dict[str, str]):
    def put(self, key: str, text: str) -> None:
        self[key] = text


Resolve = Callable[..., ImageEnvironment]


@pytest.fixture
def resolved(base: BaseImage, tmp_path: Path) -> Resolve:
    locks = Locks()

    def resolve_it(*lines: str, offline: bool = False, report: Any = lambda event: None) -> ImageEnvironment:
        file = tmp_path / "requirements.txt"
        file.write_text("\n".join(lines))
        environment = Environment.from_pip_requirements("test", file)
        return resolve(environment, locks, offline=offline, report=report)

    return resolve_it


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(client: DockerClient, image: str, code: str, **more: Any) -> str:
    output: bytes = client.containers.run(image, ["python", "-c", code], remove=True, network_mode="none", **more)
    return output.decode().strip()


def test_the_same_lock_is_the_same_image_from_an_empty_cache(
    client: DockerClient, resolved: Resolve, own_cache: Path
) -> None:
    environment = resolved("six==1.16.0", "packaging==24.0")
    first = environment_image(client, environment)
    shutil.rmtree(own_cache)
    again = environment_image(client, resolved("six==1.16.0", "packaging==24.0"))
    assert again.id == first.id
    assert [one.diff_id for one in again.layers] == [one.diff_id for one in first.layers]


def test_only_what_changed_is_compiled_and_written(
    client: DockerClient, resolved: Resolve, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    real = bytecode.compiled

    def watched(*given: Any, **more: Any) -> dict[str, bytes]:
        compiled.extend(given[3])
        return real(*given, **more)

    monkeypatch.setattr(bytecode, "compiled", watched)
    layers(client, resolved("six==1.16.0", "packaging==24.0"), report=lambda event: None)
    assert {"six.py", "tags.py"} <= {Path(path).name for path in compiled}
    compiled.clear()
    layers(client, resolved("six==1.16.0", "packaging==24.1"), report=lambda event: None)
    assert {Path(path).parts[5:7] for path in compiled} == {("site-packages", "packaging")}


def test_an_unchanged_environment_needs_neither_network_nor_time(client: DockerClient, resolved: Resolve) -> None:
    first = environment_image(client, resolved("six==1.16.0"))
    events: list[Event] = []
    began = time.monotonic()
    again = environment_image(client, resolved("six==1.16.0", offline=True, report=events.append), offline=True)
    assert again == first
    assert [event for event in events if isinstance(event, Step)] == []
    assert time.monotonic() - began < 5


def test_a_container_has_the_environment_and_no_tools(client: DockerClient, resolved: Resolve) -> None:
    image = environment_image(client, resolved("six==1.16.0"))
    loading.load(client, image)
    code = """
import getpass, json, os, shutil, sys, six, mldeploy_serving
print(json.dumps({
    "six": [six.__version__, six.__cached__, os.path.exists(six.__cached__)],
    "prefix": sys.prefix,
    "who": [os.getuid(), getpass.getuser(), os.path.expanduser("~"), os.access(os.path.expanduser("~"), os.W_OK)],
    "cwd": [os.getcwd(), os.access(".", os.W_OK)],
    "owned": os.access(sys.prefix, os.W_OK) or os.access(six.__file__, os.W_OK),
    "tools": [tool for tool in ("gcc", "cc", "make", "pip", "curl", "git", "apt") if shutil.which(tool)],
}))
"""
    said = json.loads(run(client, image.id, code))
    version, place, there = said["six"]
    assert (version, there) == ("1.16.0", True)
    assert place == "/opt/mldeploy/env/lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc"
    assert said["prefix"] == "/opt/mldeploy/env"
    assert said["who"] == [1000, "mldeploy", "/home/mldeploy", True]
    assert said["cwd"] == ["/var/azureml-app", True]
    assert said["owned"] is False
    assert set(said["tools"]) <= {"apt"}
    anybody = json.loads(run(client, image.id, code, user="4321:4321"))
    assert anybody["who"][3] is True


def test_the_history_says_which_layer_is_what(client: DockerClient, resolved: Resolve) -> None:
    image = environment_image(client, resolved("six==1.16.0"))
    loading.load(client, image)
    history = [line["CreatedBy"] for line in client.api.history(image.id)]
    assert history[0].startswith("environment: mldeploy-serving==")
    assert history[-1] == "base"
    labels = client.api.inspect_image(image.id)["Config"]["Labels"]
    assert labels["mldeploy.kind"] == "environment"
    assert labels["org.opencontainers.image.base.digest"] == image.base.id


def test_a_requirement_for_another_python_is_refused_by_name(resolved: Resolve) -> None:
    with pytest.raises(EnvironmentException, match="cannot be resolved") as caught:
        resolved("tensorflow==2.3.0")  # wheels for Python 3.5 to 3.8, and no source
    assert "tensorflow==2.3.0" in caught.value.reason
    assert "cp38" in caught.value.reason


def test_a_wheel_with_a_wrong_hash_is_refused_and_leaves_nothing(
    client: DockerClient, resolved: Resolve, own_cache: Path
) -> None:
    environment = resolved("six==1.16.0")
    broken = ImageEnvironment(environment.foundation, f"six==1.16.0 --hash=sha256:{'0' * 64}\n", "0" * 64)
    with pytest.raises(EnvironmentException) as caught:
        layers(client, broken, report=lambda event: None)
    assert "six" in caught.value.reason
    assert list((own_cache / "layers").glob("partial-*")) == []


def test_two_at_once_make_it_once(client: DockerClient, resolved: Resolve, own_cache: Path) -> None:
    environment = resolved("six==1.16.0")
    steps: list[Event] = []
    made: list[Any] = []
    threads = [
        threading.Thread(target=lambda: made.append(layers(client, environment, report=steps.append))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1]
    assert [event.name for event in steps if isinstance(event, Step)] == ["install"]
