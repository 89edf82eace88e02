"""A real engine, our base image on it, and real registries."""

from __future__ import annotations

import io
import os
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import trustme
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

_HTPASSWD = "ada:$2b$05$.tM96gz6DWOTaii79DucdOEuxDvrcIr8pGZ.CcmUjlNe1voRoaviC\n"  # bcrypt
_SECONDS = 30


@pytest.fixture(scope="session")
def client() -> DockerClient:
    """The machine's engine."""
    from mldeploy.engines.connection import connect
    from mldeploy.errors import EngineException

    try:
        return connect()
    except EngineException as error:
        if "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(","):
            pytest.fail(f"docker is required by MLDEPLOY_REQUIRE: {error}")
        pytest.skip(f"no Docker engine: {error.message}")


@pytest.fixture(scope="session")
def base(client: DockerClient) -> BaseImage:
    """Our base image, made if it is not there."""
    from mldeploy.images.foundations.base import base

    return base(client)


@pytest.fixture(scope="session")
def registry_image(client: DockerClient, base: BaseImage) -> Iterator[str]:
    """Debian's docker-registry on the base image, which is gone again at the end."""
    lines = (
        f"FROM {base.reference}",
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-registry",
    )
    context, tag = io.BytesIO("\n".join(lines).encode()), "mldeploy-tests/registry:1"
    image, _ = client.images.build(fileobj=context, tag=tag, rm=True, forcerm=True)
    yield tag
    client.images.remove(str(image.id), force=True)


@dataclass(frozen=True)
class Registry:
    """A registry in a container, on a loopback port that it keeps when it is started again.

    Args:
        address: Its host and port.
        container: Docker's.
        url: Of its API.
        trust: Whose certificates are checked.
    """

    address: str
    container: Any
    url: str
    trust: ssl.SSLContext | None

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self.container.start()
        deadline = time.monotonic() + _SECONDS
        while self.status() is None:
            assert time.monotonic() < deadline, self.container.logs().decode()
            time.sleep(0.05)

    def status(self, path: str = "") -> int | None:
        """What it answers to `GET /v2/…` without credentials; None where it does not."""
        kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        asked = urllib.request.Request(f"{self.url}/v2/{path}", headers={"Accept": kinds})
        try:
            with urllib.request.urlopen(asked, timeout=5, context=self.trust) as answer:
                code: int = answer.status
                return code
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None


StartRegistry = Callable[..., Registry]


@pytest.fixture
def start_registry(registry_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartRegistry]:
    """Starts registries, plain, with TLS (`authority`) or with basic authentication (`guarded`)."""
    import socket

    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    started: list[Any] = []

    def start(authority: trustme.CA | None = None, names: tuple[str, ...] = (), guarded: bool = False) -> Registry:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        folder = tmp_path / f"registry-{port}"
        folder.mkdir()
        _write(folder, authority, names, guarded)
        container = DockerContainer(registry_image).with_command("docker-registry serve /etc/registry/config.yml")
        container.with_volume_mapping(str(folder), "/etc/registry", "ro")
        container.ports["5000/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]  # the SDK takes an address too
        started.append(container.start())
        trust = None
        if authority is not None:
            trust = ssl.create_default_context()
            authority.configure_trust(trust)
        url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        registry = Registry(f"127.0.0.1:{port}", container.get_wrapped_container(), url, trust)
        registry.start()
        return registry

    yield start
    for container in started:
        container.stop()


def _write(folder: Path, authority: trustme.CA | None, names: tuple[str, ...], guarded: bool) -> None:
    import yaml

    http: dict[str, Any] = {"addr": ":5000"}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": "/var/lib/docker-registry"}},
        "http": http,
    }
    if authority is not None:
        certificate = authority.issue_cert("127.0.0.1", *names)
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        http["tls"] = {"certificate": "/etc/registry/server.pem", "key": "/etc/registry/server.pem"}
    if guarded:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": "/etc/registry/htpasswd"}}
    (folder / "config.yml").write_text(yaml.safe_dump(config))


@pytest.fixture
def registry(start_registry: StartRegistry) -> Registry:
    """A registry that speaks HTTP and asks nobody who they are."""
    return start_registry()


@pytest.fixture
def image(client: DockerClient) -> Iterator[str]:
    """The id of a small image of one layer, which no other test has; what came to be called so is gone at the end."""
    yield from _image(client, 20_000)


@pytest.fixture
def larger_image(client: DockerClient) -> Iterator[str]:
    """The same, of 24 MB that cannot be made smaller."""
    yield from _image(client, 24_000_000)


def _image(client: DockerClient, size: int) -> Iterator[str]:
    from docker.errors import ImageNotFound

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("content")
        member.size = size
        tar.addfile(member, io.BytesIO(os.urandom(size)))
    made = client.api.import_image_from_data(archive.getvalue(), f"mldeploy-tests/{uuid.uuid4().hex}", "1")
    found = client.images.get(_status(made))
    yield str(found.id)
    with suppress(ImageNotFound):
        client.images.remove(str(found.id), force=True)


def _status(answer: str) -> str:
    import json

    return str(json.loads(answer.splitlines()[-1])["status"])


@pytest.fixture
def image_name(client: DockerClient) -> Iterator[str]:
    """A name that no image has; all that have it at the end are gone then."""
    from docker.errors import ImageNotFound

    name = f"mldeploy-tests/{uuid.uuid4().hex}"
    yield name
    for one in client.api.images():
        # what was pulled by its digest has no tag; not by its id, for our base image may have the name too
        for called in (*(one["RepoTags"] or ()), *(one["RepoDigests"] or ())):
            if name in called:
                with suppress(ImageNotFound):  # an image's last tag takes its digests along
                    client.images.remove(called, force=True)


StartContainer = Callable[..., tuple[Any, dict[int, int]]]


@pytest.fixture
def start_container(client: DockerClient) -> Iterator[StartContainer]:
    """Starts containers as `docker run --publish` does; gives each, and its ports by those inside."""
    started: list[Any] = []

    def start(image: str, *ports: int, **more: Any) -> tuple[Any, dict[int, int]]:
        # a port that the engine chooses; types-docker does not know that
        published: Any = {f"{port}/tcp": ("127.0.0.1", None) for port in ports or (5001,)}
        container = client.containers.run(image, detach=True, ports=published, **more)
        started.append(container)
        container.reload()
        bound = container.attrs["NetworkSettings"]["Ports"]
        return container, {int(port.partition("/")[0]): int(bound[port][0]["HostPort"]) for port in published}

    yield start
    for container in started:
        container.remove(force=True, v=True)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Polls a condition until it is true, and gives its value."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return value

    return wait
