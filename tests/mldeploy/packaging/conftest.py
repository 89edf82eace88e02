"""Small packages made on the fly, and an index on this machine: resolving and installing without a network."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pytest

from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.environment import Environment
from mldeploy.events import Event
from mldeploy.packaging.serving_wheel import serving_wheel


class Wheels:
    """A folder of packages, which `uv` sees as its only index.

    Args:
        folder: The folder.

    Attributes:
        stack: What the scoring server needs, version 1.0 of each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def wheel(self, name: str, version: str, requires: Iterable[str] = (), size: int = 0) -> Path:
        """Make a wheel with one module, which knows its version."""
        info = f"{name}-{version}.dist-info"
        content = {
            f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(),
            f"{info}/METADATA": "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
                + [f"Requires-Dist: {line}" for line in requires]
                + [""]
            ).encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if size:
            content[f"{name}/data.bin"] = bytes(size)
        path = self.folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, data in content.items():
                archive.writestr(file, data)
            archive.writestr(f"{info}/RECORD", "".join(_record(file, data) for file, data in content.items()))
        return path

    def source(self, name: str, version: str, on_build: str) -> Path:
        """Make a source archive whose build runs some lines of Python, needing nothing else to build."""
        root = f"{name}-{version}"
        body = "\n".join(f"    {line}" for line in on_build.splitlines())
        files = {
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
            "pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            f'[project]\nname = "{name}"\nversion = "{version}"\n',
            "backend.py": f"def build_wheel(folder, config_settings=None, metadata_directory=None):\n{body}\n",
        }
        path = self.folder / f"{root}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file, text in files.items():
                entry = tarfile.TarInfo(f"{root}/{file}")
                entry.size = len(text.encode())
                archive.addfile(entry, BytesIO(text.encode()))
        return path


def _record(file: str, data: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{file},sha256={digest},{len(data)}\n"


class Locks(dict[str, str]):
    """A workspace's locks, in memory."""

    def put(self, key: str, text: str) -> None:
        """Keep a lock."""
        self[key] = text


class Told(list[Event]):
    """A `Report` that remembers."""

    def __call__(self, event: Event) -> None:
        """Remember an event."""
        self.append(event)

    def steps(self) -> list[str]:
        """The names of the steps told."""
        return [event.name for event in self if type(event).__name__ == "Step"]  # type: ignore[union-attr]

    def notices(self) -> str:
        """The notices told, as one text."""
        return "\n".join(event.text for event in self if type(event).__name__ == "Notice")  # type: ignore[union-attr]


class MakeEnvironment(Protocol):
    """Describes an environment by conda and pip lines."""

    def __call__(self, *pip: str, conda: Iterable[str] = ()) -> Environment:
        """Describe it."""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Wheels:
    """An index with what the scoring server needs, a cache of our own, and no other index."""
    made = Wheels(tmp_path / "index")
    for line in serving_wheel().requires:
        name = re.sub(r"^Requires-Dist: ([\w.-]+).*$", r"\1", line).replace("-", "_")
        made.wheel(name, "1.0")
        if "extra ==" not in line:
            made.stack.append(name)
    config = tmp_path / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = ['{made.folder}']\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(config))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture
def uv_cache(tmp_path: Path) -> Path:
    """A cache of uv's of its own, for the packages made here exist nowhere else."""
    return tmp_path / "uv"


@pytest.fixture
def locks() -> Locks:
    """An empty workspace's locks."""
    return Locks()


@pytest.fixture
def new_locks() -> Callable[[], Locks]:
    """Makes empty locks, as a throwaway workspace has them."""
    return Locks


@pytest.fixture
def told() -> Told:
    """Remembers what a step reports."""
    return Told()


@pytest.fixture
def described() -> MakeEnvironment:
    """Describes an environment by pip lines and conda packages."""

    def describe(*pip: str, conda: Iterable[str] = ()) -> Environment:
        dependencies = [*conda, {"pip": list(pip)}]
        definition = {"name": "test", "python": {"condaDependencies": {"dependencies": dependencies}}}
        return Environment.from_definition(EnvironmentDefinition.model_validate(definition))

    return describe
