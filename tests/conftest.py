"""What all tests share: a store of their own, and one small environment that services run in."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
