"""An image onto an engine: only the layers that the engine lacks, where it takes that; else all of them.

Docker's classic store knows layers by what is below them too, and an archive need not hold those that it has
(observed on Docker 20.10; `docker save` and `docker load` have no such option). The containerd store and Podman
want an archive that is whole.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from mldeploy.engines.connection import asking, to_have_room
from mldeploy.errors import EngineException
from mldeploy.events import Progress, Report, Step, silent
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Layer

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage
    from mldeploy.images.image import Image

_BLOCK = 1 << 20
_MEGABYTE = 1e6


def load(client: DockerClient, image: Image, tag: str | None = None, report: Report = silent) -> None:
    """Bring an image to an engine, and tag it.

    Args:
        client: The engine.
        image: The image; its base is there.
        tag: `name:tag` that it gets, whatever had it before; None leaves it without one.
        report: Told how much is sent, if anything is.

    Raises:
        EngineException: The engine does not take it: a full disk, a base that is gone.
    """
    if not is_there(client, image.id):
        _send(client, image, report)
    if tag:
        repository, _, label = tag.rpartition(":")
        asking(client.api.tag, image.id, repository, label)


def is_there(client: DockerClient, image_id: str) -> bool:
    """Tells whether an engine has an image.

    Raises:
        EngineException: It does not answer.
    """
    from docker.errors import NotFound

    try:
        asking(client.api.inspect_image, image_id)
    except NotFound:
        return False
    return True


def _send(client: DockerClient, image: Image, report: Report) -> None:
    from mldeploy.engines.connection import facts

    if takes_parts(facts(client)):
        known = len(image.base.diff_ids) + _known(client, image)
        try:
            _load(client, image, (None,) * known + image.layers[known - len(image.base.diff_ids) :], report)
        except EngineException:
            if is_there(client, image.base.id) and known == len(image.base.diff_ids):
                raise
        else:
            return
    # what it had may have been removed meanwhile
    _load(client, image, (*base_layers(client, image.base), *image.layers), report)


def takes_parts(engine: Any) -> bool:
    """Tells whether an engine takes an archive without the layers that it has."""
    return engine.name == "Docker" and not engine.containerd_store


def base_layers(client: DockerClient, base: BaseImage) -> tuple[Layer, ...]:
    """A base's layers as archives in the cache, saved from the engine where they are not there yet.

    Raises:
        EngineException: The engine does not have the base.
    """
    key = f"base {base.id}"
    if known := layer.recall(key):
        return known
    with tempfile.TemporaryFile() as file:
        asking(_save, client, base.id, file)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            layers = tuple(_saved(archive, name, diff_id) for name, diff_id in _named(archive, base))
    layer.remember(key, layers)
    return layers


def _save(client: DockerClient, image: str, file: IO[bytes]) -> None:
    for block in client.api.get_image(image):
        file.write(block)


def _named(archive: tarfile.TarFile, base: BaseImage) -> Iterator[tuple[str, str]]:
    listed = archive.extractfile("manifest.json")
    assert listed is not None
    (manifest,) = json.load(listed)
    yield from zip(manifest["Layers"], base.diff_ids, strict=True)


def _saved(archive: tarfile.TarFile, name: str, diff_id: str) -> Layer:
    content = archive.extractfile(name)
    if content is None:
        raise EngineException("the engine saved an image without its layers", where=name)
    return layer.copied(diff_id, "base", iter(lambda: content.read(_BLOCK), b""))


def _known(client: DockerClient, image: Image) -> int:
    """How many of the image's own layers, from below, some image on the engine has in the same place."""
    from docker.errors import NotFound

    best = 0
    for other in asking(client.api.images, filters={"label": "mldeploy.kind"}):
        with suppress(NotFound):  # somebody has removed it since
            best = max(best, _shared(image, asking(client.api.inspect_image, other["Id"])))
    return best


def _shared(image: Image, other: Mapping[str, Any]) -> int:
    """How many of an image's own layers, from below, another image has in the same place."""
    same = 0
    for mine, theirs in zip(image.diff_ids, other["RootFS"].get("Layers") or (), strict=False):
        if mine != theirs:
            break
        same += 1
    return same - len(image.base.diff_ids)


def _load(client: DockerClient, image: Image, layers: Sequence[Layer | None], report: Report) -> None:
    from docker.errors import APIError
    from requests import RequestException

    total = sum(one.size for one in layers if one)
    report(
        Step("load", f"Loading {total / _MEGABYTE:.1f} MB of {image.size_above_base / _MEGABYTE:.1f} MB into Docker")
    )
    try:
        said = list(client.api.load_image(_archive(image, layers, report), quiet=True) or ())
    except (APIError, RequestException) as error:
        raise _refused(str(getattr(error, "explanation", None) or error)) from error
    if trouble := next((line["error"] for line in said if "error" in line), None):
        raise _refused(trouble)
    if not is_there(client, image.id):
        raise _refused("it took the archive, and does not have the image")


def _refused(why: str) -> EngineException:
    return EngineException(
        "the engine does not take the image",
        where="docker load",
        reason=why.strip(),
        hint=to_have_room(why) or "mldeploy doctor says how the engine is",
    )


def _archive(image: Image, layers: Sequence[Layer | None], report: Report) -> Iterator[bytes]:
    """`docker load`'s archive (Docker's image specification 1.2); a layer that is None is not in it."""
    name = image.id.removeprefix("sha256:")
    places = [f"{diff_id.removeprefix('sha256:')}/layer.tar" for diff_id in image.diff_ids]
    manifest = [{"Config": f"{name}.json", "RepoTags": None, "Layers": places}]
    yield _member("manifest.json", json.dumps(manifest).encode())
    yield _member(f"{name}.json", image.config)
    done, total = 0, sum(one.size for one in layers if one)
    for place, one in zip(places, layers, strict=True):
        if one is None:
            continue
        yield _header(place, one.size)
        with one.path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
                done += len(block)
                report(Progress("load", done, total))
        yield bytes(-one.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _member(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
