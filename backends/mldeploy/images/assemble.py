"""From an environment or a package to an image: which layers, and how a container of it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mldeploy.events import Report, silent
from mldeploy.images.image import Image
from mldeploy.images.layers.environment import APP_ROOT, HOME, USER, layers
from mldeploy.images.layers.files import model_layers, source_layer
from mldeploy.images.loading import load
from mldeploy.images.resolving import PREFIX, ImageEnvironment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

    from mldeploy.config.harness import ServingSettings
    from mldeploy.packaging.package import Package

PORT = 5001
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_S = 10**9  # Docker counts a health check's times in nanoseconds
_HEALTH = (
    "import socket; s = socket.create_connection(('127.0.0.1', 5001), 4); "
    "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"
)


def environment_image(
    client: DockerClient, environment: ImageEnvironment, *, offline: bool = False, report: Report = silent
) -> Image:
    """The image of an environment: a container of it serves what is mounted at the app root.

    Args:
        client: The engine.
        environment: What `images.resolving.resolve` gave.
        offline: Use only what is in uv's cache.
        report: Told of each step.

    Raises:
        EnvironmentException: A package cannot be had, or the disk is full.
        EngineException: The engine does not answer.
    """
    base = environment.foundation.image
    own = layers(client, environment, offline=offline, report=report)
    return Image(base, own, _settings(environment, "mldeploy_serving"))


def bring_environment(
    client: DockerClient, environment: ImageEnvironment, *, offline: bool = False, report: Report = silent
) -> tuple[Image, str]:
    """Make an environment's image and bring it to the engine, unless it is there.

    Args:
        client: The engine.
        environment: What `images.resolving.resolve` gave.
        offline: Use only what is in uv's cache.
        report: Told of each step.

    Returns:
        The image and its tag, which is for people to read: a container is started by the image's id.

    Raises:
        EnvironmentException: A package cannot be had, or the disk is full.
        EngineException: The engine does not answer, or does not take it.
    """
    image = environment_image(client, environment, offline=offline, report=report)
    tag = f"mldeploy/environment:{environment.digest[:12]}"
    load(client, image, tag, report)
    return image, tag


def package_image(
    client: DockerClient,
    package: Package,
    serving: ServingSettings,
    *,
    labels: Mapping[str, str] | None = None,
    offline: bool = False,
    report: Report = silent,
) -> Image:
    """The image of a package: it needs nothing else to serve.

    Args:
        client: The engine.
        package: With an environment for an image.
        serving: How the scoring server behaves.
        labels: Further labels of the image.
        offline: Use only what is in uv's cache.
        report: Told of each step.

    Raises:
        EnvironmentException: A package cannot be had, or the disk is full.
        EngineException: The engine does not answer.
    """
    environment = package.environment
    assert isinstance(environment, ImageEnvironment)
    below = environment_image(client, environment, offline=offline, report=report)
    return serving_image(below, package, serving, labels).with_layers(*model_layers(package), source_layer(package))


def serving_image(
    below: Image, package: Package, serving: ServingSettings, labels: Mapping[str, str] | None = None
) -> Image:
    """An environment's image with the settings of a package's, and without its files.

    Args:
        below: The environment's.
        package: The package.
        serving: How the scoring server behaves.
        labels: Further labels of the image.
    """
    variables = package.server_variables(APP_ROOT, serving)
    ours = {
        "mldeploy.kind": "package",
        "mldeploy.package": package.digest,
        "mldeploy.models": ",".join(package.model_ids),
    }
    return below.with_layers(
        Env=[f"{name}={value}" for name, value in variables.items()],
        Cmd=command(serving.module),
        Labels={**ours, **(labels or {})},
    )


def command(module: str) -> list[str]:
    """What a container of an environment's image runs.

    Args:
        module: The scoring server.
    """
    return [f"{PREFIX}/bin/python", "-m", module, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - a container's own


def _settings(environment: ImageEnvironment, module: str) -> dict[str, Any]:
    base = dict(line.partition("=")[::2] for line in environment.foundation.image.config.get("Env") or ())
    variables = {
        "PATH": f"{PREFIX}/bin:{base.get('PATH', _PATH)}",
        "HOME": HOME,
        "LOGNAME": "mldeploy",  # a user that the image may have no name for has this one
        "LANG": "C.UTF-8",
        "AML_APP_ROOT": APP_ROOT,
    }
    if environment.conda is not None:
        variables["CONDA_PREFIX"] = PREFIX  # where conda's packages look for their own files
    return {
        "User": f"{USER}:{USER}",
        "WorkingDir": APP_ROOT,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Entrypoint": [],
        "Cmd": command(module),
        "StopSignal": "SIGTERM",
        "Healthcheck": {
            "Test": ["CMD", f"{PREFIX}/bin/python", "-I", "-S", "-c", _HEALTH],
            "Interval": 30 * _S,
            "Timeout": 5 * _S,
            "StartPeriod": 60 * _S,
            "Retries": 3,
        },
        "Labels": {
            "mldeploy.kind": "environment",
            "mldeploy.environment": environment.digest,
            "org.opencontainers.image.title": "mldeploy",
            "org.opencontainers.image.base.digest": environment.foundation.image.id,
        },
    }
