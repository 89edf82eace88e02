"""What conda brings is in the image: a container of it runs the packages' programs, at the image's own prefix."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import py_compile
import shutil
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.environment import Environment
from mldeploy.errors import EnvironmentException
from mldeploy.images import conda, loading
from mldeploy.images.assemble import environment_image
from mldeploy.images.foundations.foundation import Foundation
from mldeploy.images.image import Image
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Entry
from mldeploy.images.resolving import resolve
from mldeploy.packaging.requirements import CondaWanted

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

    # the fixtures' classes are conftest.py's, which cannot be imported
    Channel = Any
    Serve = Callable[..., Any]

ENV = "opt/mldeploy/env"


@pytest.fixture
def foundation(base: BaseImage) -> Foundation:
    return Foundation(base, "3.11", "/usr/bin/python3.11", "x86_64-manylinux_2_36")


def solved(foundation: Foundation, *packages: str, channel: str, **more: Any) -> conda.CondaLock:
    return conda.solve(CondaWanted(packages, channels=(channel,), **more), foundation)


def contents(made: layer.Layer) -> dict[str, bytes]:
    with tarfile.open(made.path) as archive:
        return {
            member.name.removeprefix(f"{ENV}/"): content.read()
            for member in archive
            if member.isfile() and (content := archive.extractfile(member)) is not None
        }


class Run:
    """Runs programs in containers of the base image with a layer of conda's on it."""

    def __init__(self, client: DockerClient, foundation: Foundation) -> None:
        self._client = client
        self._foundation = foundation
        self._made: list[str] = []

    def __call__(self, conda_layer: layer.Layer, *command: str) -> str:
        links = [
            Entry(f"{ENV}/pyvenv.cfg", b"home = /usr/bin\n"),
            *(Entry(f"{ENV}/bin/{name}", link="/usr/bin/python3.11") for name in ("python", "python3.11")),
        ]
        whole = _has(conda_layer, f"{ENV}/bin/python")
        layers = (conda_layer,) if whole else (layer.write("test's links", "test", links), conda_layer)
        image = Image(self._foundation.image, layers, {"Labels": {"mldeploy.kind": "test"}, "User": "1000"})
        self._made.append(image.id)
        loading.load(self._client, image)
        container = self._client.containers.create(image.id, list(command), network_mode="none")
        try:
            container.start()
            status = container.wait()["StatusCode"]
            said = container.logs().decode().strip()  # all of it only when it has ended
        finally:
            container.remove(force=True)
        assert status == 0, said
        return str(said)

    def close(self) -> None:
        for made in set(self._made):
            self._client.images.remove(made, force=True)


def _has(made: layer.Layer, path: str) -> bool:
    with tarfile.open(made.path) as archive:
        return path in archive.getnames()


@pytest.fixture
def run(client: DockerClient, foundation: Foundation) -> Any:
    runner = Run(client, foundation)
    yield runner
    runner.close()


def test_programs_find_their_prefix_in_a_container(
    client: DockerClient, foundation: Foundation, serve: Serve, run: Run
) -> None:
    lock = solved(foundation, "teller", "greeter", channel=serve().url)
    made = conda.layer(client, foundation, lock)
    assert made.created_by == "conda: greeter 0.3, shapes 1.2, teller 2.0"
    assert run(made, f"/{ENV}/bin/teller") == f"/{ENV}/share/shapes", "a prefix in a binary"
    assert run(made, f"/{ENV}/bin/teller-reads") == "four sides", "in a script, and through a link"
    assert run(made, f"/{ENV}/bin/greet") == f"hello from /{ENV}", "an entry point"
    files = contents(made)
    assert files["etc/teller.conf"] == f"root = /{ENV}/share\n".encode()
    assert b"placehold_" not in files["bin/teller"]
    code = "import greeter; print(greeter.__cached__)"
    place = f"/{ENV}/lib/python3.11/site-packages/greeter/__pycache__/__init__.cpython-311.pyc"
    assert run(made, f"/{ENV}/bin/python", "-c", code) == place
    assert place.removeprefix(f"/{ENV}/") in files, "it is compiled already"


def test_conda_finds_its_records(client: DockerClient, foundation: Foundation, serve: Serve) -> None:
    served = serve()
    made = contents(conda.layer(client, foundation, solved(foundation, "teller >=1", channel=served.url)))
    assert sorted(name for name in made if name.startswith("conda-meta/")) == [
        "conda-meta/history",
        "conda-meta/shapes-1.2-0.json",
        "conda-meta/teller-2.0-0.json",
    ]
    teller = json.loads(made["conda-meta/teller-2.0-0.json"])
    assert teller["url"] == f"{served.url}/linux-64/teller-2.0-0.conda"
    assert teller["requested_specs"] == ["teller >=1"]
    said = {path["_path"]: path for path in teller["paths_data"]["paths"]}
    assert said["bin/teller"]["sha256_in_prefix"] == hashlib.sha256(made["bin/teller"]).hexdigest()
    assert b"/cache/" not in b"".join(content for name, content in made.items() if name.startswith("conda-meta/"))


def test_the_same_lock_gives_the_same_layer_from_an_empty_cache_too(
    client: DockerClient, foundation: Foundation, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = solved(foundation, "teller", "greeter", channel=serve().url)
    first = conda.layer(client, foundation, lock)
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "another"))
    second = conda.layer(client, foundation, conda.CondaLock.parse(lock.text))
    assert second.diff_id == first.diff_id
    assert second.path != first.path


def test_a_layer_is_made_once_and_without_a_network(
    client: DockerClient, foundation: Foundation, serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    lock = solved(foundation, "teller", "greeter", channel=served.url)
    count = len(served.asked)
    made = conda.layer(client, foundation, lock, offline=True)
    assert len(served.asked) == count, "the packages were fetched when they were decided"
    told: list[Any] = []
    assert conda.layer(client, foundation, lock, report=told.append) == made
    assert told == []
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(EnvironmentException, match="not on this machine") as caught:
        conda.layer(client, foundation, lock, offline=True)
    assert "teller-2.0-0.conda" in caught.value.where
    assert list((tmp_path / "cache" / "layers").glob("partial-*")) == []


def test_two_that_make_the_same_layer_wait_for_each_other(
    client: DockerClient, foundation: Foundation, channel: Channel
) -> None:
    lock = solved(foundation, "teller", "greeter", channel=str(channel.folder))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: conda.layer(client, foundation, lock), range(4)))
    assert len(set(made)) == 1


def test_a_full_disk_leaves_nothing(
    client: DockerClient, foundation: Foundation, channel: Channel, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.add("large", "1.0", {"share/large": bytes(4_000_000)})
    lock = solved(foundation, "large", channel=str(channel.folder))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    with pytest.raises(EnvironmentException, match="the disk is full"):
        conda.layer(client, foundation, lock)
    assert list((small_disk / "layers").glob("*.tar")) == []


def python_package(channel: Channel) -> None:
    """A Python of conda's: the base's own under another roof, which is as good as one where nothing is imported."""
    channel.add(
        "python",
        "3.11.9",
        {
            "bin/python3.11": "/usr/bin/python3.11",
            "bin/python": "python3.11",
            "pyvenv.cfg": b"home = /usr/bin\n",  # so that it knows its prefix although it lives elsewhere
        },
        depends=("__glibc >=2.17",),
    )


def test_conda_s_own_python_is_the_interpreter(
    client: DockerClient, foundation: Foundation, channel: Channel, run: Run
) -> None:
    python_package(channel)
    lock = solved(foundation, "greeter", channel=str(channel.folder))
    assert lock.python == "3.11.9"
    made = conda.layer(client, foundation, lock)
    assert "lib/python3.11/site-packages/greeter/__pycache__/__init__.cpython-311.pyc" in contents(made)
    assert run(made, f"/{ENV}/bin/greet") == f"hello from /{ENV}"


@pytest.mark.skipif(
    importlib.util.cache_from_source("x.py") != "__pycache__/x.cpython-311.pyc", reason="the base has Python 3.11"
)
def test_a_package_s_own_bytecode_is_good_in_the_image(
    client: DockerClient, foundation: Foundation, channel: Channel, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "compiled.py"
    source.write_text("VALUE = 1\n")
    code = Path(py_compile.compile(str(source), cfile=str(tmp_path / "c.pyc"), doraise=True) or "").read_bytes()
    site = "lib/python3.11/site-packages"
    files = {
        f"{site}/compiled.py": source.read_bytes(),
        f"{site}/__pycache__/compiled.cpython-311.pyc": code,
        f"{site}/changed.py": b"VALUE = 'a longer source than that of the bytecode'\n",
        f"{site}/__pycache__/changed.cpython-311.pyc": code,
    }
    channel.add("compiled", "1.0", files, depends=("python",))
    made = conda.layer(client, foundation, solved(foundation, "compiled", channel=str(channel.folder)))
    kept = contents(made)[f"{site}/__pycache__/compiled.cpython-311.pyc"]
    assert (kept[:4], kept[4:16], kept[16:]) == (code[:4], b"\x01" + bytes(11), code[16:])
    check = "import compiled, changed; print(compiled.VALUE, len(changed.VALUE) > 1)"
    assert run(made, f"/{ENV}/bin/python", "-c", check) == "1 True"


def test_an_interpreter_in_a_layer_of_its_own_compiles(
    client: DockerClient, foundation: Foundation, channel: Channel
) -> None:
    entries = [Entry("opt/elsewhere/python3.11", link="/usr/bin/python3.11")]
    elsewhere = replace(
        foundation,
        interpreter="/opt/elsewhere/python3.11",
        layers=(layer.write("test's interpreter", "test", entries),),
    )
    made = conda.layer(client, elsewhere, solved(elsewhere, "greeter", channel=str(channel.folder)))
    assert "lib/python3.11/site-packages/greeter/__pycache__/__init__.cpython-311.pyc" in contents(made)


class Locks(dict[str, str]):
    def put(self, key: str, text: str) -> None:
        self[key] = text


@pytest.mark.parametrize("own_python", [False, True])
def test_a_service_s_environment_has_what_conda_and_what_pip_brings(
    client: DockerClient,
    base: BaseImage,
    channel: Channel,
    serve: Serve,
    outside: None,
    tmp_path: Path,
    own_python: bool,
) -> None:
    file = tmp_path / "environment.yml"
    served = serve()
    if own_python:
        python_package(channel)
    file.write_text(
        f"channels: ['{served.url}']\ndependencies: [python=3.11, teller, greeter, six, {{pip: [gree.ter>=0.1]}}]\n"
    )
    environment, locks = Environment.from_conda_specification("both", file), Locks()
    resolved = resolve(environment, locks)
    assert resolved.conda is not None
    assert {one.name for one in resolved.conda.records} - {"python"} == {"greeter", "shapes", "teller"}
    assert (resolved.interpreter == f"/{ENV}/bin/python") is own_python
    assert "gree-ter" not in resolved.lock, "conda brings it: uv does not install it a second time"
    assert "six==" in resolved.lock
    count = len(served.asked)
    assert resolve(environment, locks, offline=True) == resolved
    image = environment_image(client, resolved)
    assert len(served.asked) == count
    code = (
        "import os, subprocess, greeter, six, mldeploy_serving, importlib.metadata as m;"
        "print(subprocess.run('teller', capture_output=True, text=True).stdout, m.version('gree.ter'),"
        " os.environ['CONDA_PREFIX'])"
    )
    loading.load(client, image)
    container = client.containers.create(image.id, ["python", "-c", code], network_mode="none", user="1000")
    try:
        container.start()
        container.wait()
        said = container.logs().decode().strip()
    finally:
        container.remove(force=True)
        client.images.remove(image.id, force=True)  # the channel's URL is in it: no later run has the same
    assert said == f"/{ENV}/share/shapes 0.3 /{ENV}"


def test_what_pip_asks_of_a_package_that_conda_brings_is_checked(
    client: DockerClient, base: BaseImage, serve: Serve, outside: None, tmp_path: Path
) -> None:
    file = tmp_path / "environment.yml"
    file.write_text(f"channels: ['{serve().url}']\ndependencies: [greeter, {{pip: [gree.ter>=9]}}]\n")
    with pytest.raises(EnvironmentException, match="cannot be resolved") as caught:
        resolve(Environment.from_conda_specification("both", file), Locks())
    assert caught.value.hint.startswith("conda brings gree-ter==0.3: ask conda for another version of it")
