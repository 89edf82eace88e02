"""The same on Podman, by its Docker API: one that Debian packages, in a container of its own."""

from __future__ import annotations

import io
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.engines import connection
from mldeploy.engines.connection import connect, facts
from mldeploy.errors import EngineException
from mldeploy.events import Event, Output
from mldeploy.images import loading
from mldeploy.images.foundations.base import base, inspect, reference
from mldeploy.images.image import Image
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Entry
from mldeploy.images.registries.registry import pull, push
from mldeploy.images.stock import judge, remove, stock

if TYPE_CHECKING:
    from docker import DockerClient

SECONDS = 60
# without a machine's systemd, and on a file system that needs no other below it
DOCKERFILE = f"""
FROM {reference()}
RUN apt-get update -qq \\
    && apt-get install -y -qq --no-install-recommends podman crun iptables >/dev/null \\
    && rm -rf /var/lib/apt/lists/*
RUN printf '[storage]\\ndriver = "vfs"\\nrunroot = "/run/containers"\\ngraphroot = "/var/lib/containers"\\n' \\
        >/etc/containers/storage.conf \\
    && printf '[containers]\\ncgroups = "disabled"\\n' >/etc/containers/containers.conf \\
    && printf '[engine]\\ncgroup_manager = "cgroupfs"\\nevents_logger = "file"\\n' \\
        >>/etc/containers/containers.conf
CMD ["podman", "system", "service", "--time=0", "tcp:0.0.0.0:9977"]
"""


@pytest.fixture(scope="module")
def podman_image(docker_client: DockerClient) -> Iterator[str]:
    """Podman on our base image; gone at the end."""
    base(docker_client)
    tag = f"mldeploy-tests/podman:{uuid.uuid4().hex[:12]}"
    labels = {"mldeploy.kind": "test"}
    image, _ = docker_client.images.build(
        fileobj=io.BytesIO(DOCKERFILE.encode()), tag=tag, labels=labels, rm=True, forcerm=True
    )
    yield tag
    docker_client.images.remove(str(image.id), force=True)


@pytest.fixture(scope="module")
def address(docker_client: DockerClient, podman_image: str) -> Iterator[str]:
    """Where Podman listens."""
    container = docker_client.containers.run(
        podman_image,
        detach=True,
        privileged=True,  # it runs containers in a container
        ports={"9977/tcp": ("127.0.0.1", 0)},
        tmpfs={"/var/lib/containers": "size=2g"},
    )
    try:
        container.reload()
        (published,) = container.attrs["NetworkSettings"]["Ports"]["9977/tcp"]
        yield f"tcp://127.0.0.1:{published['HostPort']}"
    finally:
        container.remove(force=True, v=True)


@pytest.fixture
def podman(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerClient]:
    """Podman as our engine, with a cache of its own."""
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            client = connect()
            break
        except EngineException:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield client
    client.close()
    connection._clients.clear()


def _brought(name: str, source: DockerClient, target: DockerClient) -> None:
    """The same image on another engine."""
    with tempfile.TemporaryFile() as file:
        for block in source.api.get_image(name):
            file.write(block)
        file.seek(0)
        list(target.api.load_image(file) or ())


def test_base_and_images_on_podman(docker_client: DockerClient, podman: DockerClient, mark: str) -> None:
    seen = facts(podman)
    assert (seen.name, seen.storage_driver, seen.local) == ("Podman", "vfs", False)
    assert seen.version[0].isdigit()
    _brought(reference(), docker_client, podman)
    found = base(podman, offline=True)
    there = inspect(docker_client, reference())
    assert there is not None
    assert (found.id, found.diff_ids) == (there.id, there.diff_ids)

    image = Image(
        found,
        (layer.write("x", "x", [Entry(f"opt/{mark}", mark.encode())]),),
        {"Labels": {"mldeploy.kind": "environment"}},
    )
    loading.load(podman, image, f"mldeploy/environment:{mark[:12]}")
    assert loading.is_there(podman, image.id)
    said: bytes = podman.containers.run(image.id, ["cat", f"/opt/{mark}"], remove=True, network_mode="none")
    assert said.decode() == mark

    kinds = {each.kind: each for each in stock(podman)}
    assert set(kinds) == {"base", "environment"}
    assert kinds["environment"].stands_on(kinds["base"])
    assert [verdict.goes for verdict in judge(list(kinds.values()))] == [True, False]
    assert [remove(podman, each) for each in stock(podman)] == ["", ""]
    assert stock(podman) == []


@pytest.fixture
def mark() -> str:
    """Something that no image has had before."""
    return uuid.uuid4().hex


def test_a_dockerfile_is_built_on_podman(docker_client: DockerClient, podman: DockerClient, mark: str) -> None:
    from mldeploy.images.builds.building import build

    _brought(reference(), docker_client, podman)
    told: list[Event] = []
    dockerfile = f"FROM {reference()}\nRUN echo {mark} | tee /opt/{mark}\n"
    made = build(podman, dockerfile, tag=None, labels={"mldeploy.kind": "test"}, report=told.append, timeout=SECONDS)
    assert Output(mark) in told
    found = inspect(podman, made)
    assert found is not None
    assert found.labels["mldeploy.kind"] == "test"
    assert len(found.diff_ids) == 3


def test_a_registry_by_podman(docker_client: DockerClient, podman_image: str, registry: Any, mark: str) -> None:
    from docker import DockerClient

    with tempfile.TemporaryDirectory(prefix="mldeploy-tests-") as folder:
        conf = Path(folder, "registries.conf")
        conf.write_text('[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n')
        container = docker_client.containers.run(
            podman_image,
            ["podman", "system", "service", "--time=0", "unix:///shared/s"],
            detach=True,
            privileged=True,
            network_mode=f"container:{registry.container.id}",  # the registry is on its loopback too
            tmpfs={"/var/lib/containers": "size=200m"},
            volumes={folder: {"bind": "/shared"}, str(conf): {"bind": "/etc/containers/registries.conf"}},
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not Path(folder, "s").exists():
                assert time.monotonic() < deadline, container.logs().decode()
                time.sleep(0.1)
            podman = DockerClient(f"unix://{folder}/s")
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                member = tarfile.TarInfo(mark)
                tar.addfile(member)
            podman.api.import_image_from_data(archive.getvalue(), repository=mark)
            pushed = push(podman, f"{mark}:latest", "127.0.0.1:5000/app:1")
            assert registry.status(f"app/manifests/{pushed.partition('@')[2]}") == 200
            before = podman.images.get("127.0.0.1:5000/app:1").id
            podman.images.remove(str(before), force=True)
            assert pull(podman, pushed) == before
            with pytest.raises(EngineException, match="it is not there"):
                pull(podman, "127.0.0.1:5000/app:2")
            with pytest.raises(EngineException, match="nothing answers at the registry's address"):
                push(podman, pushed, "127.0.0.1:1/app:1")
            podman.close()
        finally:
            container.remove(force=True, v=True)
