"""A full disk: the engine's, the cache's, the store's. It is said, nothing half stays, and with room it works."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy import InferenceConfig, LocalWebservice, Model, Webservice, Workspace
from mldeploy.errors import EngineException, EnvironmentException, WebserviceException
from mldeploy.images.builds import building
from mldeploy.images.image import Image
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Entry
from mldeploy.images.loading import is_there, load

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

MEGABYTE = 1_000_000
ROOM = 60 * MEGABYTE
Deploy = Callable[..., LocalWebservice]


@pytest.fixture(scope="module")
def small_engine(start_engine: Callable[..., Any], base: BaseImage, docker_client: DockerClient) -> Any:
    """An engine with our base image, whose disk is as small as a test makes it."""
    engine = start_engine(2 * base.size // MEGABYTE + 100)  # `docker load` writes what it gets twice
    engine.take(base.reference, docker_client)
    return engine


@pytest.fixture
def starved(small_engine: Any) -> Iterator[DockerClient]:
    """A client of it; the test leaves nothing there."""
    before = small_engine.used
    with small_engine.asked() as client:
        small_engine.leave(ROOM)
        yield client
        small_engine.leave(ROOM)
        for image in client.api.images(filters={"label": "mldeploy.kind=test"}):
            client.api.remove_image(image["Id"], force=True)
        building.sweep(client)
        assert client.api.containers(all=True) == []
    assert small_engine.used - before < MEGABYTE


def image(base: BaseImage, *sizes: int) -> Image:
    """An image of layers that nobody else has, of so many bytes."""
    mark = uuid.uuid4().hex
    layers = [
        layer.write(f"{mark} {number}", "test", [Entry(f"opt/{mark}/{number}", bytes(size))])
        for number, size in enumerate(sizes)
    ]
    return Image(base, tuple(layers), {"Labels": {"mldeploy.kind": "test"}})


def test_while_a_layer_is_loaded(starved: DockerClient, base: BaseImage, own_cache: Path, small_engine: Any) -> None:
    before = small_engine.used
    large = image(base, 10 * MEGABYTE, 100 * MEGABYTE)
    with pytest.raises(EngineException) as raised:
        load(starved, large, "mldeploy-tests/large:1")
    assert "no space left on device" in raised.value.reason
    assert "mldeploy images prune" in raised.value.hint
    assert not is_there(starved, large.id)
    assert not starved.images.list(name="mldeploy-tests/large")
    assert small_engine.used - before < MEGABYTE

    small = image(base, 10 * MEGABYTE)
    load(starved, small)
    assert is_there(starved, small.id)


def test_while_an_image_is_built(starved: DockerClient, base: BaseImage, own_cache: Path) -> None:
    text = f"FROM {base.reference}\nRUN echo kept > /a\nRUN head -c 200000000 /dev/zero > /b\n"
    with pytest.raises(EnvironmentException) as raised:
        building.build(starved, text, tag="mldeploy-tests/built:1", labels={"mldeploy.kind": "test"})
    assert raised.value.where == "Dockerfile, line 3"
    assert "no space left on device" in raised.value.reason.lower()
    assert raised.value.message == "the image does not build: no space is left on the engine's disk"
    assert "mldeploy images prune" in raised.value.hint
    assert not starved.images.list(name="mldeploy-tests/built")


@pytest.mark.parametrize(("step", "leave"), [("compile", MEGABYTE), ("load", 12 * MEGABYTE), ("create", 0)])
def test_of_the_engine_during_a_deployment(
    step: str,
    leave: int,
    starved: DockerClient,
    small_engine: Any,
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", small_engine.url)
    if step == "compile":
        request.getfixturevalue("own_cache")
    workspace = Workspace.create("tests", store=str(tmp_path / "store"))

    def deploy() -> Webservice:
        return Model.deploy(workspace, "echo", [], InferenceConfig(str(script)), engine="docker")

    if step != "compile":
        deploy().delete()  # what does not belong to this step is there
    if step == "load":
        remove_environments(starved)
    small_engine.leave(leave)
    with pytest.raises((EngineException, WebserviceException)) as raised:
        deploy()
    small_engine.leave(ROOM)
    assert "no space left on device" in raised.value.reason
    assert "mldeploy images prune" in raised.value.hint
    assert Webservice.list(workspace) == []
    assert [path for path in workspace.store.services_folder.rglob("*") if path.is_file()] == []
    assert starved.api.containers(all=True) == []

    service = deploy()
    service.wait_for_deployment()
    assert service.run("with room") == "with room"
    service.delete()
    remove_environments(starved)


def remove_environments(client: DockerClient) -> None:
    for found in client.api.images(filters={"label": "mldeploy.kind=environment"}):
        client.api.remove_image(found["Id"], force=True)


def test_of_the_cache(
    engine: Any, workspace: Workspace, deploy: Deploy, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    with pytest.raises(EnvironmentException) as raised:
        deploy()
    assert "the disk is full" in raised.value.message
    assert "MLDEPLOY_CACHE" in raised.value.hint
    assert list(small_disk.glob("layers/partial-*")) == []
    assert Webservice.list(workspace) == []


def test_of_the_store(engine: Any, small_disk: Path, tmp_path: Path) -> None:
    workspace = Workspace.create("tests", store=str(small_disk))
    project = tmp_path / "project"
    project.mkdir()
    (project / "score.py").write_text("def init():\n    pass\n\ndef run(data):\n    return data\n")
    config = InferenceConfig("score.py", source_directory=str(project))
    service = Model.deploy(workspace, "echo", [], config, engine="docker")
    service.wait_for_deployment()
    (project / "large.bin").write_bytes(os.urandom(3_000_000))
    with pytest.raises(WebserviceException, match="cannot be laid out") as raised:
        Model.deploy(workspace, "echo", [], config, engine="docker", overwrite=True)
    assert "No space left" in raised.value.reason
    assert service.run("still here") == "still here"
    service.delete()
    assert list(small_disk.rglob("score.py")) == []
    with engine.asked() as client:
        assert client.api.containers(all=True) == []
