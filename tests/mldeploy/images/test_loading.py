"""An image comes onto an engine: thin where the engine takes that, whole where it does not, and never half."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.errors import EngineException
from mldeploy.events import Event, Progress
from mldeploy.images import loading
from mldeploy.images.image import Image
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Entry

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

_MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def mark() -> str:
    """Something that no image has had before."""
    return uuid.uuid4().hex


@pytest.fixture
def image(client: DockerClient, base: BaseImage, mark: str) -> Iterator[Image]:
    lower = layer.write("lower", "lower", [Entry(f"opt/{mark}/lower", mark.encode() + bytes(_MEGABYTE))])
    upper = layer.write("upper", "upper", [Entry(f"opt/{mark}/upper", b"upper")])
    made = Image(base, (lower, upper), {"Labels": {"mldeploy.kind": "test"}})
    yield made
    for found in client.api.images(filters={"label": "mldeploy.kind=test"}, all=True):
        client.api.remove_image(found["Id"], force=True)


def sent(events: list[Event]) -> int:
    return max((event.done for event in events if isinstance(event, Progress)), default=0)


def content(client: DockerClient, image: Image, path: str) -> str:
    code = f"print(open('{path}').read(32))"
    out: bytes = client.containers.run(
        image.id, ["python3", "-c", code], entrypoint="", remove=True, network_mode="none"
    )
    return out.decode().strip("\0\n")


def test_what_the_engine_has_is_not_sent_again(client: DockerClient, image: Image, mark: str) -> None:
    events: list[Event] = []
    loading.load(client, image, report=events.append)
    assert sent(events) == image.size_above_base
    events.clear()
    loading.load(client, image, report=events.append)
    assert events == []
    more = image.with_layers(layer.write("more", "more", [Entry(f"opt/{mark}/more", b"more")]))
    loading.load(client, more, report=events.append)
    assert sent(events) == more.layers[-1].size
    assert [content(client, more, f"/opt/{mark}/{name}") for name in ("upper", "more")] == ["upper", "more"]
    assert content(client, more, f"/opt/{mark}/lower") == mark


def test_the_whole_archive_is_the_same_image(
    client: DockerClient, image: Image, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "takes_parts", lambda engine: False)
    events: list[Event] = []
    loading.load(client, image, report=events.append)
    assert sent(events) > image.size_above_base
    assert content(client, image, f"/opt/{mark}/upper") == "upper"


def test_a_layer_that_was_there_and_is_gone_is_sent_after_all(
    client: DockerClient, image: Image, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_known", lambda client, image: 1)  # it was removed after the look
    loading.load(client, image)
    assert content(client, image, f"/opt/{mark}/lower") == mark


def test_a_tag_goes_to_the_new_image(client: DockerClient, image: Image, mark: str) -> None:
    tag = f"mldeploy/test:{mark[:12]}"
    loading.load(client, image, tag)
    more = image.with_layers(layer.write("more", "more", [Entry("opt/more", b"more")]))
    loading.load(client, more, tag)
    assert client.api.inspect_image(tag)["Id"] == more.id


def test_a_layer_that_is_not_what_it_says_is_refused(client: DockerClient, image: Image) -> None:
    path = image.layers[0].path
    content_of = bytearray(path.read_bytes())
    content_of[2000] ^= 1
    path.write_bytes(content_of)
    with pytest.raises(EngineException, match="does not take the image") as caught:
        loading.load(client, image)
    assert caught.value.hint
    assert not loading.is_there(client, image.id)
