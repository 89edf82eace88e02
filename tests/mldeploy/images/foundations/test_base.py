"""The base image: found, made, never taken from somebody else, never half."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mldeploy.engines.connection import connect
from mldeploy.errors import EngineException, EnvironmentException
from mldeploy.events import Event, Notice, Output, Step
from mldeploy.images.foundations import base as module
from mldeploy.images.foundations import debian
from mldeploy.images.foundations.base import base, inspect
from mldeploy.packaging.alone import alone

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

FORK = get_context("fork")
SECONDS = 60
REAL_ROOTS = (debian.OURS, debian.OFFICIAL)


@pytest.fixture(scope="session")
def ours(docker_client: DockerClient) -> BaseImage:
    """The base image that everybody uses."""
    return base(docker_client)


@pytest.fixture
def another(docker_client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A name for a base image and for Debian's root that only this test uses, and a cache of its own."""
    from docker.errors import ImageNotFound

    name = f"{uuid.uuid4().hex[:12]}"
    monkeypatch.setattr(module, "reference", lambda: f"mldeploy/base:{name}")
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    yield f"mldeploy/base:{name}"
    for image in (f"mldeploy/base:{name}", f"mldeploy/debian:{name}"):
        with suppress(ImageNotFound):
            docker_client.api.remove_image(image)


def imported(client: DockerClient, reference: str, **files: str) -> None:
    """Give a name to an image of a few files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    repository, tag = reference.split(":")
    client.api.import_image_from_data(archive.getvalue(), repository, tag)


def run(client: DockerClient, image: str, *command: str, **more: Any) -> str:
    """What a command prints in a container without a network."""
    out: bytes = client.containers.run(image, list(command), remove=True, network_disabled=True, **more)
    return out.decode()


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_it_is_found_without_a_word(docker_client: DockerClient, ours: BaseImage) -> None:
    told: list[Event] = []
    assert base(docker_client, report=told.append) == ours
    assert base(docker_client, report=told.append, offline=True) == ours
    assert told == []
    assert ours.reference == module.reference()
    assert ours.id.startswith("sha256:")
    assert ours.labels["mldeploy.kind"] == "base"
    assert (ours.os, ours.architecture) in {("linux", "amd64"), ("linux", "arm64")}
    assert len(ours.diff_ids) == 2
    assert ours.size < 130e6


def test_what_is_in_it(docker_client: DockerClient, ours: BaseImage) -> None:
    code = (
        "import ctypes, distutils.core, json, os, platform, pwd, shutil, sqlite3, ssl, stat\n"
        "ctypes.CDLL('libgomp.so.1')\n"
        "folders = ('/home/mldeploy', '/opt/mldeploy', '/var/azureml-app')\n"
        "stats = {each: os.stat(each) for each in folders}\n"
        "print(json.dumps({\n"
        "    'python': platform.python_version(), 'user': list(pwd.getpwnam('mldeploy'))[2:],\n"
        "    'modes': {each: oct(stat.S_IMODE(found.st_mode)) for each, found in stats.items()},\n"
        "    'owners': {each: found.st_uid for each, found in stats.items()},\n"
        "    'programs': [each for each in ('gcc', 'cc', 'make', 'pip', 'curl', 'wget') if shutil.which(each)],\n"
        "    'lists': os.listdir('/var/lib/apt/lists'),\n"
        "    'authorities': os.path.getsize('/etc/ssl/certs/ca-certificates.crt') > 0,\n"
        "    'host': [each for each in ('/etc/machine-id',) if os.path.exists(each) and os.path.getsize(each)],\n"
        "}))"
    )
    seen = json.loads(run(docker_client, ours.id, module.INTERPRETER, "-W", "ignore", "-c", code))
    assert seen.pop("python").startswith(f"{module.PYTHON}.")
    assert seen == {
        "user": [1000, 1000, "", "/home/mldeploy", "/usr/sbin/nologin"],
        "modes": {"/home/mldeploy": "0o1777", "/opt/mldeploy": "0o755", "/var/azureml-app": "0o755"},
        "owners": {"/home/mldeploy": 0, "/opt/mldeploy": 0, "/var/azureml-app": 1000},
        "programs": [],
        "lists": [],
        "authorities": True,
        "host": [],
    }


def test_anybody_can_write_at_home(docker_client: DockerClient, ours: BaseImage) -> None:
    said = run(docker_client, ours.id, "sh", "-c", "cd /home/mldeploy && touch x && echo written", user="12345:0")
    assert said == "written\n"


def test_an_image_that_is_not_there(docker_client: DockerClient) -> None:
    assert inspect(docker_client, f"mldeploy-tests/{uuid.uuid4().hex}:1") is None
    with pytest.raises(EngineException, match="refuses"):
        inspect(docker_client, "No Name")


def test_offline_it_is_not_made(docker_client: DockerClient, another: str) -> None:
    with pytest.raises(EnvironmentException, match="offline") as caught:
        base(docker_client, offline=True)
    assert caught.value.where == another
    assert "mldeploy images build" in caught.value.hint


def test_the_first_who_needs_it_makes_it_and_says_so(
    docker_client: DockerClient, ours: BaseImage, another: str
) -> None:
    told: list[Event] = []
    made = base(docker_client, report=told.append)
    assert made.reference == another
    assert [event.text for event in told if isinstance(event, Step)] == [f"building the base image {another}"]
    assert any(isinstance(event, Output) and "apt-get install" in event.text for event in told)
    assert told[-1] == Notice(f"base image {another}: {made.size / 1e6:.0f} MB")
    assert base(docker_client).id == made.id


def test_a_foreign_image_under_our_name_is_refused(docker_client: DockerClient, another: str) -> None:
    imported(docker_client, another, python="foreign")
    with pytest.raises(EnvironmentException, match="is not mldeploy's") as caught:
        base(docker_client)
    assert caught.value.hint == f"docker rmi {another}"
    assert inspect(docker_client, another) is not None, "it is theirs"


def test_a_foreign_root_under_our_name_is_not_used(
    docker_client: DockerClient, another: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = another.replace("/base", "/debian")
    imported(docker_client, root, root="foreign")
    monkeypatch.setattr(debian, "OURS", root)
    monkeypatch.setattr(debian, "OFFICIAL", f"127.0.0.1:1/{uuid.uuid4().hex}:1")
    monkeypatch.setenv("PATH", str(tmp_path))  # no debootstrap either
    with pytest.raises(EnvironmentException, match="can neither be pulled nor made here"):
        base(docker_client)


def test_another_process_is_waited_for(docker_client: DockerClient, ours: BaseImage, another: str) -> None:
    from mldeploy.store.places import cache_root

    told = FORK.Queue()
    second = FORK.Process(target=lambda: base(connect(), report=told.put))
    with alone(cache_root() / "base-image", lambda event: None):
        second.start()
        assert told.get(timeout=SECONDS) == Notice("another process makes the base image: waiting for it")
        made = module._made(docker_client, lambda event: None, refresh=False)
    second.join(SECONDS)
    assert second.exitcode == 0
    assert told.empty(), "it found the image of the first"
    assert inspect(docker_client, another) == made


def test_a_build_that_is_killed_leaves_no_base(
    docker_client: DockerClient, ours: BaseImage, another: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mldeploy.images.builds.building import sweep

    slow = b"ARG DEBIAN\nFROM ${DEBIAN}\nLABEL mldeploy.kind=base\nRUN echo it has begun && sleep 600\n"
    whole = module._file
    monkeypatch.setattr(module, "_file", lambda name: slow if name == "Dockerfile" else whole(name))
    told = FORK.Queue()
    first = FORK.Process(target=lambda: base(connect(), report=told.put))
    first.start()
    while told.get(timeout=SECONDS) != Output("it has begun"):
        pass
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join(SECONDS)
    assert inspect(docker_client, another) is None
    assert eventually(lambda: not _sleeping(docker_client)), "the engine stops what nobody waits for"
    monkeypatch.setattr(module, "_file", whole)
    assert base(docker_client).reference == another
    sweep(docker_client)


def _sleeping(client: DockerClient) -> list[Any]:
    return [one for one in client.api.containers() if "it has begun" in one["Command"]]


def test_neither_pulled_nor_made(
    docker_client: DockerClient, another: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "OURS", another.replace("/base", "/debian"))
    monkeypatch.setattr(debian, "OFFICIAL", f"127.0.0.1:1/{uuid.uuid4().hex}:1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentException) as caught:
        base(docker_client)
    pulled, made = caught.value.reason.splitlines()
    assert "nothing answers at the registry's address" in pulled
    assert made == "debootstrap is not installed here"
    assert "docker pull" in caught.value.hint
    assert "apt-get install debootstrap" in caught.value.hint


def program(folder: Path, name: str, script: str) -> None:
    """A program of that name, found before others."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def no_registry(another: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Debian's root can only be made; returns the name that it gets."""
    if os.geteuid() != 0:
        pytest.skip("only root can make it")
    root = another.replace("/base", "/debian")
    monkeypatch.setattr(debian, "OURS", root)
    monkeypatch.setattr(debian, "OFFICIAL", f"127.0.0.1:1/{uuid.uuid4().hex}:1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return root


def test_debootstrap_that_fails_is_told_by_its_last_lines(
    docker_client: DockerClient, no_registry: str, tmp_path: Path
) -> None:
    program(tmp_path, "debootstrap", "echo 'E: Failed getting release file' >&2; exit 7")
    with pytest.raises(EnvironmentException) as caught:
        base(docker_client)
    assert caught.value.message == "debootstrap cannot make Debian's root"
    assert "E: Failed getting release file" in caught.value.reason
    assert "it ended with 7" in caught.value.reason
    assert not list((tmp_path / "cache").rglob("root*")), "nothing of it stays"


def test_debootstrap_ends_with_who_wanted_it(docker_client: DockerClient, no_registry: str, tmp_path: Path) -> None:
    program(tmp_path, "debootstrap", f"echo $$ >{tmp_path}/pid; sleep 611; true")
    first = FORK.Process(target=lambda: base(connect()))
    first.start()
    assert eventually(lambda: (tmp_path / "pid").exists() and _sleepers())
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join(SECONDS)
    assert eventually(lambda: not _sleepers())
    assert inspect(docker_client, no_registry) is None


def _sleepers() -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "611"]]


def test_made_anew_by_debootstrap(
    docker_client: DockerClient,
    ours: BaseImage,
    no_registry: str,
    another: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The long way, all of it: a minute."""
    if shutil.which("debootstrap") is None:
        why = "debootstrap is not installed"
        (pytest.fail if "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(",") else pytest.skip)(why)
    whole = module._file
    with monkeypatch.context() as earlier:
        earlier.setattr(debian, "OURS", REAL_ROOTS[0])
        earlier.setattr(debian, "OFFICIAL", REAL_ROOTS[1])
        earlier.setattr(module, "_file", lambda name: whole(name) + (b"ENV X=1\n" if name == "Dockerfile" else b""))
        before = base(docker_client)
    told: list[Event] = []
    made = base(docker_client, report=told.append, refresh=True)
    assert made.id != before.id
    assert inspect(docker_client, before.id) is None, "the one before is not kept"
    assert (made.reference, made.labels["mldeploy.kind"]) == (another, "base")
    assert made.size < 130e6
    steps = [event.text for event in told if isinstance(event, Step)]
    assert steps[-2:] == ["making Debian by debootstrap: about a minute, once", f"building the base image {another}"]
    root = inspect(docker_client, no_registry)
    assert root is not None
    assert root.labels["mldeploy.kind"] == "debian"
    assert root.size < 80e6
    assert made.diff_ids[:1] == root.diff_ids
    listing = run(
        docker_client,
        root.id,
        "sh",
        "-c",
        "ls /usr/share/man /usr/share/locale /var/lib/apt/lists; cat /etc/apt/sources.list.d/*",
    )
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" in listing
    assert "@" not in listing
    assert not (tmp_path / "cache" / "debian").exists()
    assert base(docker_client) == made
