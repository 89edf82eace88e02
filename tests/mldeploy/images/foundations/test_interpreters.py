"""Another Python than the image's: fetched by uv from an index that the test makes, of this machine's interpreters."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.config.environment import EnvironmentDefinition
from mldeploy.errors import EnvironmentException
from mldeploy.events import Event, Notice, Step
from mldeploy.images.builds.throwaway import throwaway
from mldeploy.images.foundations.foundation import Foundation, found
from mldeploy.packaging import uv

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

_SKIPPED = {"test", "tests", "site-packages", "__pycache__", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo"}
OTHERS = [minor for minor in ("3.12", "3.10", "3.13") if minor != "3.11"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched yet, and nothing but the test's index is asked."""
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", (tmp_path / "none.json").as_uri())
    (tmp_path / "none.json").write_text("{}")


@pytest.fixture(scope="session")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A version, and an index of uv's that offers it."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("an interpreter of this machine does not run in the image")
    folder = tmp_path_factory.mktemp("offered")
    for minor in OTHERS:
        if (home := _home(minor)) is not None:
            yield minor, _offer(folder, minor, home)
            return
    pytest.skip(f"there is no Python {' or '.join(OTHERS)} on this machine to make an archive of")


def _home(minor: str) -> Path | None:
    try:
        path = uv.run("python", "find", "--no-project", "--system", "--no-python-downloads", minor).strip()
    except uv.UvFailure:
        return None
    code = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_config_var('DESTDIRS') or '')"
    home = Path(subprocess.run([path, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[0])
    # a distribution's own (/usr) cannot be moved
    return home if home != Path("/usr") and (home / "bin" / f"python{minor}").exists() else None


def _offer(folder: Path, minor: str, home: Path) -> Path:
    archive = folder / "python.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for path in (home, *sorted(home.rglob("*"))):
            name = path.relative_to(home)
            if _SKIPPED.intersection(name.parts) or path.suffix == ".a" or name.parts[:1] == ("share",):
                continue
            if path.is_file() and not path.is_symlink() and (path.parent.name == "bin" or ".so" in path.name):
                # it finds its library beside it wherever it is put
                content = path.read_bytes()
                rpath = f"{home}/lib".encode()
                content = content.replace(rpath + b"\0", b"$ORIGIN/../lib".ljust(len(rpath), b"\0") + b"\0")
                info = packed.gettarinfo(path, f"python/{name}")
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
            else:
                packed.add(path, f"python/{name}", recursive=False)
        idle = tarfile.TarInfo("python/share/man/man1/python3.1")
        packed.addfile(idle, io.BytesIO())
    offer = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": 3,
        "minor": int(minor.split(".")[1]),
        "patch": 77,
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20261101",
    }
    index = folder / "downloads.json"
    index.write_text(json.dumps({f"cpython-{minor}.77-linux-x86_64-gnu": offer}))
    return index


@dataclass(frozen=True)
class Had:
    """What was made of it once, and the cache that has it."""

    minor: str
    foundation: Foundation
    told: tuple[Event, ...]
    cache: Path


@pytest.fixture(scope="session")
def had(
    client: DockerClient, base: BaseImage, offered: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Had:
    """A foundation with that interpreter."""
    minor, index = offered
    told: list[Event] = []
    cache = tmp_path_factory.mktemp("had")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLDEPLOY_CACHE", str(cache))
        patch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", index.as_uri())
        foundation = found(client, EnvironmentDefinition(), asked=f"{minor}.5", report=told.append)
    return Had(minor, foundation, tuple(told), cache)


def test_another_python_is_a_layer(
    client: DockerClient, base: BaseImage, had: Had, monkeypatch: pytest.MonkeyPatch
) -> None:
    minor, foundation = had.minor, had.foundation
    path = f"/opt/mldeploy/python/cpython-{minor}.77/bin/python{minor}"
    assert (foundation.python, foundation.interpreter) == (minor, path)
    assert (foundation.image, foundation.platform) == (base, "x86_64-manylinux_2_36")
    assert had.told == (
        Notice(f"python={minor}.5 was asked for; any {minor} is taken"),
        Step("image", f"fetching Python {minor} for the image, which has 3.11"),
    )

    (layer,) = foundation.layers
    assert f"{minor}.77" in layer.created_by
    with tarfile.open(layer.path) as archive:
        names = archive.getnames()
    assert all(name in "opt/mldeploy/python" or name.startswith("opt/mldeploy/python/cpython-") for name in names)
    assert not [name for name in names if re.search(r"/(test|ensurepip|site-packages|share|idlelib)(/|$)", name)]
    code = "import json, sqlite3, ssl, ctypes, sys; print(sys.version_info[:2], sys.prefix, json.__cached__)"
    with throwaway(client, base.id, [path, "-B", "-v", "-c", code], kind="test", user="1000:1000") as container:
        with layer.path.open("rb") as content:
            container.put(content)
        ended = container.run(60)
    assert ended.out.startswith(f"(3, {minor.split('.')[1]}) /opt/mldeploy/python/cpython-{minor}.77 "), ended.err[
        -2000:
    ]
    assert "__pycache__/__init__.cpython-3" in ended.err
    assert "wrote" not in ended.err
    assert not re.search(r"code object from '[^']*/json/__init__.py'", ended.err), "its bytecode is in the layer"

    # unchanged, nobody is asked
    monkeypatch.setenv("MLDEPLOY_CACHE", str(had.cache))
    told: list[Event] = []
    assert found(client, EnvironmentDefinition(), asked=minor, report=told.append, offline=True) == foundation
    assert told == []


def test_the_same_interpreter_is_the_same_layer(
    client: DockerClient, had: Had, offered: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    minor, index = offered
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", index.as_uri())
    again = found(client, EnvironmentDefinition(), asked=minor)
    assert again.layers[0].path != had.foundation.layers[0].path
    assert again.layers[0].diff_id == had.foundation.layers[0].diff_id


def test_the_images_own_is_taken_where_it_is_what_is_asked_for(client: DockerClient, base: BaseImage) -> None:
    for asked in ("3.11", "3.11.4", ">=3.9", ">=3.10,<3.12", "3.11.*"):
        foundation = found(client, EnvironmentDefinition(), asked=asked, offline=True)
        assert (foundation.interpreter, foundation.layers) == ("/usr/bin/python3.11", ())


def test_one_that_cannot_be_had_is_refused_naming_those_that_there_are(
    client: DockerClient, base: BaseImage, had: Had, monkeypatch: pytest.MonkeyPatch
) -> None:
    minor = had.minor
    other = next(one for one in OTHERS if one != minor)
    with pytest.raises(EnvironmentException, match=rf"Python {minor} cannot be had for the image") as caught:
        found(client, EnvironmentDefinition(), asked=minor)
    assert caught.value.where == f"python={minor}"
    assert caught.value.reason
    assert caught.value.hint.startswith("there are 3.11; or docker.baseImage")
    with pytest.raises(EnvironmentException, match=rf"Python {minor} cannot be had") as caught:
        found(client, EnvironmentDefinition(), asked=minor, offline=True)
    assert "leave out --offline" in caught.value.hint

    monkeypatch.setenv("MLDEPLOY_CACHE", str(had.cache))
    with pytest.raises(EnvironmentException, match=rf"Python {other} cannot be had") as caught:
        found(client, EnvironmentDefinition(), asked=other)
    assert caught.value.hint.startswith(f"there are {' and '.join(sorted(('3.11', minor)))}")


def test_a_mirror_that_cannot_be_reached(
    client: DockerClient, base: BaseImage, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL")
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", f"http://127.0.0.1:{free_port}/python")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentException, match=r"Python 3\.12 cannot be had") as caught:
        found(client, EnvironmentDefinition(), asked="3.12")
    assert f"127.0.0.1:{free_port}" in caught.value.reason
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.hint


@pytest.mark.parametrize("asked", ["3.6.2", "<3.9", "3.99"])
def test_one_that_no_service_runs_on(client: DockerClient, base: BaseImage, asked: str) -> None:
    with pytest.raises(EnvironmentException, match=re.escape(f"Python {asked} cannot be had")) as caught:
        found(client, EnvironmentDefinition(), asked=asked)
    assert caught.value.reason == "a service runs on Python 3.10, 3.11, 3.12, 3.13"
    assert caught.value.hint.startswith("python=3.11, which the image has")
