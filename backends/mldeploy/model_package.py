"""Packages of models: an image, or a folder that an image is built from (`azureml.core.model.ModelPackage`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.errors import UserErrorException, WebserviceException
from mldeploy.events import Event, Report, silent

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.config.harness import ServingSettings
    from mldeploy.environment import Environment
    from mldeploy.environment_sections import ContainerRegistry
    from mldeploy.images.image import Image
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.packaging.package import Package
    from mldeploy.workspace import Workspace

DEFAULT_NAME = "package"
_KIND = "mldeploy.kind"


@dataclass(frozen=True)
class Made:
    """What a package has become.

    Args:
        name: The image's full name, with label.
        write: Writes the Dockerfile and what goes with it; None for an image.
        image_id: On the engine, `sha256:…`; empty for a Dockerfile.
        digest: `registry/name@sha256:…`; empty where it was not pushed.
        package: The package's own digest.
        bill: Gives the bill of materials, CycloneDX as JSON.
        log: What was told while it was made, a line each.
    """

    name: str
    write: Callable[[Path], None] | None
    image_id: str
    digest: str
    package: str
    bill: Callable[[], bytes]
    log: Sequence[str]


class ModelPackage:
    """What `Model.package` returns: it is whole, and there is nothing to wait for.

    Attributes:
        workspace: Where the models are registered.
        environment: What the entry script needs.
        generate_dockerfile: Whether it is a Dockerfile, and no image.
        state: `Succeeded`: what fails is raised by `Model.package`.
        error: None.
        location: The image's name, or the folder after `save`.
        image_id: The image's id on the engine; empty for a Dockerfile.
        digest: The image in its registry, `registry/name@sha256:…`; empty where it was not pushed.
        package_digest: Over all that is packaged.
    """

    def __init__(self, workspace: Workspace, environment: Environment, made: Made) -> None:
        self.workspace = workspace
        self.environment = environment
        self.generate_dockerfile = made.write is not None
        self.state = "Succeeded"
        self.error: dict[str, Any] | None = None
        self.location: str | None = None if made.write else made.name
        self.image_id = made.image_id
        self.digest = made.digest
        self.package_digest = made.package
        self._made = made

    def __repr__(self) -> str:
        location = "" if self.location is None else f", location={self.location}"
        return (
            f"ModelPackage(workspace={self.workspace!r}, generate_dockerfile={self.generate_dockerfile}, "
            f"state={self.state}{location})"
        )

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Nothing to wait for.

        Args:
            show_output: Print how it went, in v1's words.
        """
        if show_output:
            sys.stdout.write("".join(f"{line}\n" for line in (*self._made.log, f"Package creation {self.state}")))

    def update_creation_state(self) -> None:
        """Nothing changes any more."""

    def get_logs(self, decode: bool = True, offset: int = 0) -> str | bytes:
        """What was told while it was made.

        Args:
            decode: As text; else as bytes.
            offset: Leave out so many bytes.
        """
        log = "".join(f"{line}\n" for line in self._made.log).encode()[offset:]
        return log.decode(errors="replace") if decode else log

    def get_container_registry(self) -> ContainerRegistry:
        """The registry that has the image, or the one that has a Dockerfile's base image.

        Returns:
            Its address, and what Docker's configuration knows of credentials; all None for an image that was
            not pushed.

        Raises:
            EngineException: Docker's configuration is broken, or its credential helper.
        """
        from mldeploy.environment_sections import ContainerRegistry
        from mldeploy.images.registries.registry import Reference, credentials

        if self.generate_dockerfile:
            given = self.environment.docker.base_image_registry
            return ContainerRegistry(given.address or "docker.io", given.username, given.password)
        address = Reference.of(self._made.name).registry
        known = credentials(address) if address else None
        if known is None:
            return ContainerRegistry(address or None)
        return ContainerRegistry(address, known.username, known.password or known.token)

    def pull(self) -> None:
        """See that the image is on this machine's engine: where it was pushed to a registry, from there.

        Raises:
            WebserviceException: It is a Dockerfile, or the image is on the engine no more.
            EngineException: There is no engine, or the registry does not give it.
        """
        if self.generate_dockerfile:
            raise WebserviceException("A Dockerfile package cannot be pulled. Use save() instead.")
        from mldeploy.engines.connection import asking, connect
        from mldeploy.images.foundations.base import inspect
        from mldeploy.images.registries.registry import Reference, pull

        client, name = connect(), Reference.of(self._made.name)
        if self.digest:
            asking(client.api.tag, pull(client, self.digest), name.repository, name.tag)
        elif inspect(client, self.image_id) is None:
            raise WebserviceException(
                f"{name} is on the engine no more", where=str(name), hint="package the models again, or with a registry"
            )

    def save(self, output_directory: str | Path) -> None:
        """Write a Dockerfile, and all that `docker build` needs beside it.

        Args:
            output_directory: The folder; made if it is not there, replaced if it was written so.

        Raises:
            WebserviceException: It is an image.
            UserErrorException: Something else is in the folder, or it cannot be written.
        """
        if self._made.write is None:
            raise WebserviceException("Docker images cannot be saved to a local directory. Use pull() instead.")
        self._made.write(Path(output_directory))
        self.location = str(output_directory)

    def bill_of_materials(self) -> bytes:
        """What the environment is made of: CycloneDX, as JSON. The image has it too, in `/opt/mldeploy`."""
        return self._made.bill()

    def serialize(self) -> dict[str, Any]:
        """As the retired command line printed it, and what is ours beside that."""
        return {
            "generateDockerfile": self.generate_dockerfile,
            "state": self.state,
            "location": self.location,
            "imageId": self.image_id or None,
            "digest": self.digest or None,
            "packageDigest": self.package_digest,
        }


@dataclass(frozen=True)
class Asked:
    """What a package is to become.

    Args:
        generate_dockerfile: A Dockerfile, and no image.
        image_name: The image's name; None is `package`.
        image_label: Its label; None is the time.
        registry: Where it is pushed; empty is nowhere.
        debug_port: Where the server waits for a debugger; None is nowhere.
    """

    generate_dockerfile: bool = False
    image_name: str | None = None
    image_label: str | None = None
    registry: str = ""
    debug_port: int | None = None

    @property
    def name(self) -> str:
        """The image's full name; v1's label was the time, in UTC.

        Raises:
            UserErrorException: It would be none.
        """
        from mldeploy.images.registries.registry import Reference

        label = self.image_label or datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S")
        below = f"{self.registry.removesuffix('/')}/" if self.registry else ""
        found = Reference.of(f"{below}{self.image_name or DEFAULT_NAME}:{label}")
        if self.registry and not found.registry:
            raise UserErrorException(
                f"'{self.registry}' is no registry",
                where="registry",
                hint="registry.example.com, or docker.io/<account>",
            )
        return str(found)


def make(
    workspace: Workspace,
    models: Sequence[Model | str],
    inference_config: InferenceConfig | None,
    asked: Asked,
    serving: ServingSettings | None = None,
    *,
    offline: bool = False,
    report: Report = silent,
) -> ModelPackage:
    """Make a package; the arguments and errors are those of `Model.package`."""
    from mldeploy import webservice
    from mldeploy.engines.connection import connect

    order = webservice.order(workspace, models, inference_config, None, "docker", None, serving, offline)
    environment = order.inference_config.environment
    if environment is None:
        raise WebserviceException(
            "Error, model packaging requires an InferenceConfig containing an Environment object.",
            where="InferenceConfig",
            hint='InferenceConfig(entry_script="score.py", environment=Environment("mine"))',
        )
    name = asked.name
    _check_debugging(asked.debug_port, order.serving)
    log: list[str] = []
    said = _kept(report, log)
    client = connect()
    if not asked.generate_dockerfile:
        _check_free(client, name)
    from mldeploy.images.assemble import environment_image, package_image, serving_image
    from mldeploy.images.resolving import ImageEnvironment
    from mldeploy.images.sbom import sbom
    from mldeploy.packaging.package import package

    besides = (*order.serving.requirements, *(["debugpy"] if asked.debug_port else []))
    packed = package(
        workspace, order.models, order.inference_config, besides=besides, engine="docker", offline=offline, report=said
    )
    locked = packed.environment
    assert isinstance(locked, ImageEnvironment)
    image_id, digest, write = "", "", None
    if asked.generate_dockerfile:
        below = environment_image(client, locked, offline=offline, report=said)
        described = _debugged(serving_image(below, packed, order.serving), asked.debug_port)
        write = _writer(described, packed, environment, name, said)
    else:
        made = package_image(client, packed, order.serving, offline=offline, report=said)
        image_id, digest = _brought(
            client, _debugged(made, asked.debug_port), name, push=bool(asked.registry), report=said
        )
    return ModelPackage(
        workspace, environment, Made(name, write, image_id, digest, packed.digest, partial(sbom, locked), log)
    )


def _check_debugging(port: int | None, serving: ServingSettings) -> None:
    if port and serving.serving != "mldeploy":
        raise UserErrorException(
            "a debugger is waited for by mldeploy's own server only", hint="leave out the debugger's port, or `serving`"
        )
    if port and (serving.worker_count or 1) > 1:
        raise UserErrorException("a debugger goes with one worker only", hint="leave out the number of workers")


def _check_free(client: DockerClient, name: str) -> None:
    """A name that somebody else's image has is not taken from it."""
    from mldeploy.images.foundations.base import inspect

    there = inspect(client, name)
    if there is not None and there.labels.get(_KIND) != "package":
        raise UserErrorException(
            f"{name} is the name of another image",
            where=name,
            reason="the image of that name is no package of mldeploy's",
            hint="another image name or label",
        )


def _kept(report: Report, log: list[str]) -> Report:
    def said(event: Event) -> None:
        if text := getattr(event, "text", ""):
            log.append(text)
        report(event)

    return said


def _debugged(image: Image, port: int | None) -> Image:
    """The image, whose server waits for a debugger, from wherever the container's port is published to."""
    if port is None:
        return image
    from mldeploy.images.assemble import PORT

    host = "0.0.0.0"  # noqa: S104 - inside a container, where somebody asked for it
    return image.with_layers(
        Env=[f"AZUREML_DEBUG_PORT={port}", f"MLDEPLOY_DEBUG_HOST={host}"],
        ExposedPorts={f"{PORT}/tcp": {}, f"{port}/tcp": {}},
    )


def _writer(
    image: Image, packed: Package, environment: Environment, name: str, report: Report
) -> Callable[[Path], None]:
    from mldeploy.images import folder

    docker = environment.definition().docker
    return lambda path: folder.write(image, packed, docker, path, name=name, report=report)


def _brought(client: DockerClient, image: Image, name: str, *, push: bool, report: Report) -> tuple[str, str]:
    """The image on the engine under its name, and in the registry; its id, and its digest there."""
    from mldeploy.images.loading import load
    from mldeploy.images.registries import registry

    load(client, image, name, report)
    return image.id, registry.push(client, image.id, name, report=report) if push else ""
