"""A network's own certificate authority, known while an image is built and gone from what is built.

Docker's classic builder can mount nothing, and what is copied into a layer stays there. So the file and the variables
that name it are put into a layer of their own below the Dockerfile's steps, and the image is put together again from
the layers below and above that one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import EnvironmentException
from mldeploy.events import Report
from mldeploy.images.builds import building, dockerfile
from mldeploy.images.foundations import base
from mldeploy.images.image import Image
from mldeploy.images.loading import base_layers, load

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

_SAID_BY = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_FILE = "/.mldeploy-authorities.crt"
_VARIABLES = (*_SAID_BY, "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO")
_LINES = {f"{name}={_FILE}" for name in _VARIABLES}
_SETTINGS = ("User", "ExposedPorts", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "StopSignal", "Healthcheck")


def bundle() -> Path | None:
    """The authorities that this machine was told to trust; None where it was told of none."""
    for name in _SAID_BY:
        path = Path(os.environ.get(name, ""))
        if path.is_file():
            return path
    return None


def build(
    client: DockerClient,
    text: str,
    below: Mapping[str, BaseImage],
    authorities: Path,
    *,
    tag: str,
    labels: Mapping[str, str],
    report: Report,
    where: str,
) -> None:
    """Build an image whose steps trust this machine's authorities, and which has no trace of them.

    Args:
        client: The engine.
        text: The Dockerfile.
        below: For each image that it names in `FROM`, the one to take.
        authorities: The bundle, as PEM.
        tag: The image's name.
        labels: Its labels.
        report: Told of each line of output.
        where: What the Dockerfile is called in errors.

    Raises:
        EnvironmentException: It does not build.
        EngineException: The engine does not answer.
    """
    trusting = {name: _trusting(client, image, authorities) for name, image in below.items()}
    made = ""
    try:
        names = {name: image.id for name, image in trusting.items()}
        made = building.build(
            client,
            dockerfile.with_bases(text, lambda name: names.get(name, name)),
            tag=None,
            labels={base.KIND: "step"},
            report=report,
            where=where,
            passing=True,
        )
        image = _seen(client, made, where)
        load(client, _without(client, image, below, trusting, labels), tag, report)
    finally:
        for one in filter(None, (made, *(image.id for image in trusting.values()))):
            building.discard(client, one)


def _trusting(client: DockerClient, image: BaseImage, authorities: Path) -> BaseImage:
    """The image with one layer more."""
    variables = " ".join(sorted(_LINES))
    apt = f'Acquire::https::CaInfo "{_FILE}";\n'.encode()
    made = building.build(
        client,
        f"FROM {image.id}\nCOPY files/ /\nENV {variables}\n",
        {f"files{_FILE}": authorities, "files/etc/apt/apt.conf.d/99mldeploy-authorities": apt},
        tag=None,
        labels={base.KIND: "step"},
        where="the certificate authorities of this machine",
        passing=True,
    )
    return _seen(client, made, image.reference)


def _seen(client: DockerClient, image: str, where: str) -> BaseImage:
    found = base.inspect(client, image)
    if found is None:
        raise EnvironmentException("the image was built, and is gone again", where=where, hint="try once more")
    return found


def _without(
    client: DockerClient,
    image: BaseImage,
    below: Mapping[str, BaseImage],
    trusting: Mapping[str, BaseImage],
    labels: Mapping[str, str],
) -> Image:
    """The same image, the layer with the authorities left out."""
    for name, one in trusting.items():
        under = below[name]
        height = len(one.diff_ids)
        if image.diff_ids[:height] == one.diff_ids:
            return Image(under, base_layers(client, image)[height:], _settings(image, labels))
    # the last stage is from scratch: nothing of the authorities is below it
    nothing = base.BaseImage("scratch", "", (), {}, image.architecture, image.os, 0)
    return Image(nothing, base_layers(client, image), _settings(image, labels))


def _settings(image: BaseImage, labels: Mapping[str, str]) -> dict[str, Any]:
    kept = {name: image.config.get(name) for name in _SETTINGS}
    variables = [line for line in image.config.get("Env") or () if line not in _LINES]
    return {**kept, "Env": variables, "Labels": {**image.labels, **labels}}
