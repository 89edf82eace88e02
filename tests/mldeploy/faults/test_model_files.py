"""Models of every shape, served on Docker: mounted into the environment's image, and as a layer of a package."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mldeploy import Environment, InferenceConfig, LocalWebservice, Model, Workspace

MEGABYTE = 1_000_000
Deploy = Callable[..., LocalWebservice]
Make = Callable[[Path], None]

# Says of each of the model's files how it reads; and that none can be written.
LISTS = """
import hashlib, os

def init():
    global found
    found = {}
    root = os.path.join(os.environ["AZUREML_MODEL_DIR"], os.environ.get("BELOW", ""))
    for above, folders, files in os.walk(root):
        for name in files:
            path = os.path.join(above, name)
            try:
                open(path, "ab").close()
                raise SystemExit("it can be written: " + path)
            except OSError:
                pass
            with open(path, "rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            found[os.path.relpath(path, root)] = [os.path.getsize(path), digest.hexdigest()]

def run(data):
    return found
"""


def many(folder: Path) -> None:
    """10,000 files in 100 folders."""
    for number in range(10_000):
        path = folder / f"{number % 100:02}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))


def names(folder: Path) -> None:
    """Whatever a name may be: in every script, with spaces, as long as it can be."""
    for name in (
        "with spaces  and more ",
        "Gewichte für Straße",
        "模型.bin",
        "модель",
        "e\u0301 and \u00e9",
        "👍🏽.bin",
        "-n",
        "a'b\"c$d`e\\f;g*h?.bin",
        "x" * 255,
        ".hidden",
    ):
        (folder / name).write_text(name)
        if len(name) < 100:
            (folder / "in folders" / name).mkdir(parents=True)
            (folder / "in folders" / name / name).write_text(name)


def links(folder: Path) -> None:
    """Links inside of the model, to a file and to a folder; and two names of one file."""
    (folder / "weights").mkdir()
    (folder / "weights" / "a.bin").write_bytes(os.urandom(1000))
    (folder / "latest.bin").symlink_to("weights/a.bin")
    (folder / "best").symlink_to("weights")
    (folder / "same.bin").hardlink_to(folder / "weights" / "a.bin")


def sparse(folder: Path) -> None:
    """A file of 100 MB with 8 bytes in it, at both ends and in the middle."""
    with (folder / "sparse.bin").open("wb") as file:
        for place in (0, 50 * MEGABYTE, 100 * MEGABYTE):
            file.seek(place)
            file.write(b"weight")


def odd(folder: Path) -> None:
    """Nothing in a file, nothing in a folder, a program, and one that only its owner can read."""
    (folder / "empty.bin").touch()
    (folder / "empty").mkdir()
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o755)
    (folder / "mine").write_text("mine")
    (folder / "mine").chmod(0o600)


def read(folder: Path) -> dict[str, list[Any]]:
    """Of each file its size and hash, links followed, as the script tells them."""
    return {
        str(Path(above, name).relative_to(folder)): [
            Path(above, name).stat().st_size,
            hashlib.sha256(Path(above, name).read_bytes()).hexdigest(),
        ]
        for above, _, files in os.walk(folder, followlinks=True)
        for name in files
    }


def shapes(folder: Path) -> None:
    """All of these."""
    for make in (names, links, odd):
        (folder / make.__name__).mkdir()
        make(folder / make.__name__)


@pytest.mark.parametrize("make", [many, shapes, sparse])
def test_mounted_and_layered(
    make: Make, engine: Any, workspace: Workspace, deploy: Deploy, script: Path, own_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    make(folder)
    expected = read(folder)
    model = Model.register(workspace, str(folder), "net")
    script.write_text(LISTS)

    environment = Environment("lists")
    environment.environment_variables["BELOW"] = "net"
    service = deploy(models=[model], inference_config=InferenceConfig(str(script), environment=environment))
    service.wait_for_deployment()
    assert service.run({}) == expected
    service.delete()

    package = Model.package(workspace, [model], InferenceConfig(str(script), environment=environment))
    assert package.location
    with engine.asked() as client:
        assert answer(client, package.location) == expected
        client.api.remove_image(package.location, force=True)


def answer(client: Any, image: str) -> Any:
    """What a container of an image answers, as anybody runs it who has the image alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    container = client.containers.run(image, detach=True, ports={"5001/tcp": ("127.0.0.1", port)})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/score", data=b"{}")
                with urllib.request.urlopen(request, timeout=30) as response:
                    return json.load(response)
            except OSError:
                container.reload()
                assert container.status == "running", container.logs().decode()
                assert time.monotonic() < deadline, container.logs().decode()
                time.sleep(0.05)
    finally:
        container.remove(force=True)
