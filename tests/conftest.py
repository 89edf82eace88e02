"""What all tests share: a store of their own, and one small environment that services run in."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from docker import DockerClient

# a machine under load is slow; that says nothing about a property
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class NoLocks:
    """Environment locks that nobody keeps; the cache keeps them all the same."""

    def get(self, key: str) -> str | None:
        """Nothing is known."""
        return None

    def put(self, key: str, text: str) -> None:
        """Nothing is kept."""


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test touches a person's own workspaces; commands started by tests inherit the setting."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLDEPLOY_") and name not in _KEPT]:
            patch.delenv(name)
        patch.setenv("MLDEPLOY_STORE", str(folder))
        yield folder


_KEPT = {"MLDEPLOY_CACHE", "MLDEPLOY_REQUIRE", "MLDEPLOY_WHEEL"}


@pytest.fixture(scope="session")
def serving_python() -> Path:
    """The interpreter of an environment that has the scoring server and nothing else of ours."""
    from mldeploy.packaging.environments import install, resolve

    return install(resolve(None, NoLocks()))


@pytest.fixture(scope="session")
def official_python() -> Path:
    """The interpreter of an environment that has the official server too."""
    from mldeploy.config.harness import ServingSettings
    from mldeploy.packaging.environments import install, resolve

    return install(resolve(None, NoLocks(), besides=ServingSettings(serving="azmlinfsrv").requirements))


_CACHED = {"base", "builder", "debian", "environment"}  # kinds of images that stay for the next run, as caches do


@pytest.fixture(scope="session")
def docker_client(request: pytest.FixtureRequest) -> Iterator[DockerClient]:
    """The machine's Docker engine, on which nothing is left behind; only for what needs no engine of its own.

    What is left fails the run where Docker is required. On a person's own machine it is told only: they may have
    started a container of theirs meanwhile.
    """
    from mldeploy.engines.connection import connect
    from mldeploy.errors import EngineException

    required = "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(",")
    try:
        client = connect()
    except EngineException as error:
        if required:
            pytest.fail(f"docker is required by MLDEPLOY_REQUIRE: {error}")
        pytest.skip(f"no Docker engine: {error.message}")
    before = _census(client)
    yield client
    left = [text for key, text in sorted(_census(client).items()) if key not in before]
    if not left or hasattr(request.config, "workerinput"):  # other workers are not at their end yet
        return
    told = "left behind by the tests, or started by others meanwhile:\n  " + "\n  ".join(left)
    if required:
        pytest.fail(told, pytrace=False)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        request.config.get_terminal_writer().line(f"\n{told}")


def _census(client: DockerClient) -> dict[str, str]:
    """What is on the engine, and what Python's `tempfile` made on this machine; a line for each."""
    images = client.api.images()
    kinds = {image["Id"]: (image.get("Labels") or {}).get("mldeploy.kind") for image in images}
    temporary = [path for pattern in ("tmp*", "mldeploy*") for path in Path(tempfile.gettempdir()).glob(pattern)]
    return {
        **{each["Id"]: f"container {each['Names']} of {each['Image']}" for each in client.api.containers(all=True)},
        **{
            each["Id"]: f"image {each['RepoTags'] or each['Id']} {each.get('Labels') or ''}"
            for each in images
            if kinds[each["Id"]] not in _CACHED
        },
        **{each["Name"]: f"volume {each['Name']}" for each in client.api.volumes()["Volumes"] or []},
        **{each["Id"]: f"network {each['Name']}" for each in client.api.networks()},
        **{str(path): f"temporary {path}" for path in temporary},
    }


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; only root can mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        why = f"no tmpfs can be mounted: {mounted.stderr.strip()}"
        (pytest.fail if "tmpfs" in os.environ.get("MLDEPLOY_REQUIRE", "").split(",") else pytest.skip)(why)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
