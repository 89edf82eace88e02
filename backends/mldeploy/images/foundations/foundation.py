"""What an environment stands on: our base, an image of the user's, or one built from the user's Dockerfile.

Contract: `docker` and `python` of v1's environment (`baseImage`, `baseImageRegistry`, `baseDockerfile`,
`userManagedDependencies`, `interpreterPath`). `inferencingStackVersion` changes nothing: the scoring server is
installed in every image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mldeploy.config.environment import is_stock_image
from mldeploy.engines.connection import asking
from mldeploy.errors import EnvironmentException
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.images.builds import building, dockerfile, failures
from mldeploy.images.foundations import base, interpreters
from mldeploy.images.foundations.base import BaseImage
from mldeploy.images.foundations.probing import Seen, python_in
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

    from mldeploy.config.environment import EnvironmentDefinition, RegistryDefinition
    from mldeploy.images.layers.layer import Layer

REPOSITORY = "mldeploy/foundation"
KIND = "foundation"

_TEXT = "mldeploy.dockerfile"
_DOCKERFILE = "docker.baseDockerfile"
_OURS = Seen(base.PYTHON, base.INTERPRETER, "glibc 2.36", "x86_64", (), ())
# those of uv's `--python-platform`
_GLIBC_MINORS = (17, 28, *range(31, 41))


@dataclass(frozen=True)
class Foundation:
    """An image with a Python that a service can run on.

    Args:
        image: The image.
        python: The minor version, `3.11`.
        interpreter: Its path in the image.
        platform: Which wheels fit, in uv's words: `x86_64-manylinux_2_36`.
        present: `NAME==VERSION` of what a user-managed interpreter has.
        site_packages: Its folders of packages.
        layers: What has to be put on the image for that interpreter to be there.
    """

    image: BaseImage
    python: str
    interpreter: str
    platform: str
    present: tuple[str, ...] = ()
    site_packages: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()


def found(
    client: DockerClient,
    definition: EnvironmentDefinition,
    *,
    asked: str | None = None,
    report: Report = silent,
    offline: bool = False,
    refresh: bool = False,
) -> Foundation:
    """Find, pull or build what an environment stands on, and the Python in it.

    Args:
        client: The engine.
        definition: The environment.
        asked: The Python that the environment asks for: a version (`3.10`, `3.10.18`) or a PEP 440 range; None
            where nobody asks, or conda brings one. A user-managed interpreter is taken whatever is asked.
        report: Told of each step, and of what a build prints.
        offline: Pull nothing; a Dockerfile is built without a network.
        refresh: Pull and build anew what is there; our own base stays as it is.

    Returns:
        The same for the same definition, as long as the images that it names are the same.

    Raises:
        EnvironmentException: The image cannot be had or built, is for another machine, or has no Python that a
            service runs on.
        EngineException: The engine does not answer, or the registry refuses.
    """
    image, where = _image(client, definition, report, offline=offline, refresh=refresh)
    _check_machine(client, image, where)
    if definition.python.user_managed_dependencies:
        seen = python_in(client, image, where, managed=definition.python.interpreter_path)
        return replace(_founded(image, seen, where), present=seen.present, site_packages=seen.site_packages)
    own = _own(client, image, where, interpreters.exactly(asked))
    foundation = _founded(image, own, where)
    if asked is None or interpreters.allows(asked, own.version):
        return foundation
    other = interpreters.interpreter(
        client,
        image.id,
        asked,
        foundation.platform,
        own=own.version,
        offline=offline,
        refresh=refresh,
        report=report,
    )
    return replace(foundation, python=other.version, interpreter=other.path, layers=(other.layer,))


def _own(client: DockerClient, image: BaseImage, where: str, minor: str) -> Seen:
    """The Python that is in an image; of our own base it is known."""
    if image.reference == base.reference() and image.architecture == "amd64":
        return _OURS
    return python_in(client, image, where, minor=minor)


def _founded(image: BaseImage, seen: Seen, where: str) -> Foundation:
    return Foundation(image, seen.version, seen.interpreter, _platform(seen, where))


def _image(
    client: DockerClient, definition: EnvironmentDefinition, report: Report, *, offline: bool, refresh: bool
) -> tuple[BaseImage, str]:
    """The image, and what it is called in errors."""
    docker = definition.docker
    if docker.base_dockerfile:
        image = _built(client, docker.base_dockerfile, docker.base_image_registry, report, offline, refresh)
        return image, _DOCKERFILE
    if docker.base_image and not _is_ours(docker.base_image):
        name = _name(docker.base_image, docker.base_image_registry)
        return _had(client, name, docker.base_image_registry, report, offline, refresh), f"docker.baseImage: {name}"
    return base.base(client, report=report, offline=offline), base.reference()


def _is_ours(image: str) -> bool:
    return is_stock_image(image) or image == base.reference()


def _name(image: str, registry: RegistryDefinition | None) -> str:
    """The image's full name: v1 took it with the registry's address, and without it."""
    address = (registry.address or "").removeprefix("https://").strip("/") if registry else ""
    return image if not address or image.startswith(f"{address}/") else f"{address}/{image}"


def _had(
    client: DockerClient,
    name: str,
    registry: RegistryDefinition | None,
    report: Report,
    offline: bool,
    refresh: bool,
) -> BaseImage:
    """An image that is on the engine, or pulled."""
    from mldeploy.images.registries.registry import Credentials, pull

    present = base.inspect(client, name)
    if present is not None and (offline or not refresh):
        return present
    if offline:
        raise EnvironmentException(
            f"the image {name} is not on the engine, and offline it cannot be pulled",
            where=name,
            hint=f"docker pull {name}, once, with a network",
        )
    known = Credentials(registry.username, registry.password or "") if registry and registry.username else None
    pulled = base.inspect(client, pull(client, name, known=known, report=report))
    if pulled is None:
        raise EnvironmentException(f"the image {name} was pulled, and is gone again", where=name, hint="try once more")
    return replace(pulled, reference=name)


def _built(
    client: DockerClient,
    text: str,
    registry: RegistryDefinition | None,
    report: Report,
    offline: bool,
    refresh: bool,
) -> BaseImage:
    """The image of a Dockerfile, built unless the same one was built on the same images."""
    below = {name: _below(client, name, registry, report, offline, refresh) for name in dockerfile.bases(text)}
    ids = sorted(f"{name}={image.id}" for name, image in below.items())
    key = hashlib.sha256("\0".join((text, *ids)).encode()).hexdigest()
    tag, labels = f"{REPOSITORY}:{key[:12]}", {base.KIND: KIND, _TEXT: key}
    if not refresh and (image := base.labelled(client, labels, tag)):
        return image
    with alone(cache_root() / "foundations" / f"{key}.build", report, "the same image"):
        before = base.labelled(client, labels, tag)
        if not refresh and before:
            return before
        report(Step("image", f"building the image of {_DOCKERFILE}"))
        _build(client, text, below, tag, labels, report, offline=offline, fresh=refresh)
        image = base.labelled(client, labels, tag)
        if before and image and before.id != image.id:
            building.discard(client, before.id)
    if image is None:
        raise EnvironmentException("the image was built, and is gone again", where=_DOCKERFILE, hint="try once more")
    return image


def _below(
    client: DockerClient,
    name: str,
    registry: RegistryDefinition | None,
    report: Report,
    offline: bool,
    refresh: bool,
) -> BaseImage:
    """What a `FROM` or a `COPY --from` names."""
    if _is_ours(name):
        return base.base(client, report=report, offline=offline)
    image = _had(client, name, _of(registry, name), report, offline, refresh)
    _check_machine(client, image, f"{_DOCKERFILE}: {name}")
    return image


def _build(
    client: DockerClient,
    text: str,
    below: Mapping[str, BaseImage],
    tag: str,
    labels: Mapping[str, str],
    report: Report,
    *,
    offline: bool,
    fresh: bool,
) -> None:
    from mldeploy.images.builds import certificates

    try:
        building.build(
            client,
            dockerfile.with_bases(text, lambda name: below[name].reference if name in below else name),
            tag=tag,
            labels=labels,
            report=report,
            where=_DOCKERFILE,
            network="none" if offline else None,
            fresh=fresh,
        )
    except building.UntrustedServer:
        authorities = certificates.bundle()
        if authorities is None:
            raise
        report(Notice(f"building once more, with the certificate authorities of {authorities}; the image keeps none"))
        certificates.build(client, text, below, authorities, tag=tag, labels=labels, report=report, where=_DOCKERFILE)
    except EnvironmentException as error:
        if offline and (cause := failures.cause(error.reason)) and cause.is_unreached:
            error.hint = failures.OFFLINE
        raise


def _of(registry: RegistryDefinition | None, image: str) -> RegistryDefinition | None:
    """Credentials go to the registry that they are for, and to no other."""
    address = (registry.address or "").removeprefix("https://").strip("/") if registry else ""
    return registry if address and image.startswith(f"{address}/") else None


def _check_machine(client: DockerClient, image: BaseImage, where: str) -> None:
    if image.reference == base.reference():
        return  # it was made on this engine
    here = str(asking(client.version).get("Arch", ""))
    if image.os != "linux" or image.architecture != here:
        raise EnvironmentException(
            f"the image {image.reference} is for {image.os}/{image.architecture}, and the engine runs linux/{here}",
            where=where,
            hint=f"docker pull --platform linux/{here} {image.reference}; or an image that is made for both",
        )


def _platform(seen: Seen, where: str) -> str:
    """The newest platform of uv's whose wheels run on an image's C library."""
    version = seen.libc.removeprefix("glibc ").split(".")
    minor = int(version[1]) if seen.libc.startswith("glibc 2.") and version[1].isdigit() else 0
    fitting = [one for one in _GLIBC_MINORS if one <= minor]
    if not fitting:
        raise EnvironmentException(
            "the image's C library is not glibc 2.17 or newer: packages have no wheels for it",
            where=where,
            reason=f"{seen.interpreter} says {seen.libc or 'that it is another one (musl, as Alpine has)'}",
            hint="an image on Debian, Ubuntu or another distribution with glibc, such as python:3.11-slim",
        )
    return f"{seen.machine}-manylinux_2_{fitting[-1]}"
