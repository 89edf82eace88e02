"""`mldeploy images …` on a real engine, among images of its own."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.images import stock as module
from mldeploy.images.image import CREATED
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import Entry
from mldeploy.images.stock import Stocked, judge

if TYPE_CHECKING:
    from docker import DockerClient

    from tests.mldeploy.runner.conftest import Project

Make = Callable[..., str]


@pytest.fixture
def make(docker_client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    """Puts small images on the engine; the command sees these only, whatever else is there.

    One stands on another by `below`; what an image is made of is in `layers`.
    """
    from docker.errors import ImageNotFound

    made: list[str] = []
    layers: dict[str, list[bytes]] = {}

    def one(name: str | None, kind: str, *, created: str = CREATED, below: str | None = None) -> str:
        archives = [*layers.get(below or "", []), _layer(uuid.uuid4().hex)]
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": created,
                "config": {"Labels": {"mldeploy.kind": kind}, "Cmd": ["x"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(each).hexdigest()}" for each in archives]},
            }
        ).encode()
        identity = f"sha256:{sha256(config).hexdigest()}"
        manifest = [
            {
                "Config": "config.json",
                "RepoTags": [name] if name else None,
                "Layers": [f"{number}.tar" for number in range(len(archives))],
            }
        ]
        files = {f"{number}.tar": each for number, each in enumerate(archives)}
        for _ in (
            docker_client.api.load_image(
                _tar({"manifest.json": json.dumps(manifest).encode(), "config.json": config, **files})
            )
            or ()
        ):
            pass
        made.append(identity)
        layers[identity] = archives
        return identity

    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))  # prune sweeps after builds: not after others'
    real = module.stock
    monkeypatch.setattr(module, "stock", lambda client: [image for image in real(client) if image.id in made])
    yield one
    for identity in reversed(made):
        with suppress(ImageNotFound):
            docker_client.api.remove_image(identity, force=True)


def _layer(text: str) -> bytes:
    return _tar({"content": text.encode()})


def _tar(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def named(kind: str) -> str:
    return f"mldeploy/{kind}:test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def container(docker_client: DockerClient) -> Iterator[Callable[..., None]]:
    """Makes containers, which are never started."""
    made: list[str] = []

    def one(image: str, **labels: str) -> None:
        made.append(docker_client.api.create_container(image, labels=labels)["Id"])

    yield one
    for identity in made:
        docker_client.api.remove_container(identity)


def actions(records: list[dict[str, Any]]) -> dict[str | None, tuple[str, str]]:
    return {record["reference"]: (record["action"], record["reason"]) for record in records}


def test_list_says_what_each_is_and_who_uses_it(project: Project, make: Make, container: Callable[..., None]) -> None:
    base = named("base")
    identity = make(base, "base", created="2026-01-02T03:04:05.678Z")
    make("theirs:1", "package")
    container(identity, **{"mldeploy.service": "first"})
    container(identity, **{"mldeploy.service": "second"})
    container(identity)
    package, found = project.ok("images", "list")
    assert (package["reference"], package["kind"], package["services"], package["usedBy"]) == (
        "theirs:1",
        "package",
        [],
        "",
    )
    assert {name: found[name] for name in ("reference", "names", "kind", "id", "containers", "services", "usedBy")} == {
        "reference": base,
        "names": [base],
        "kind": "base",
        "id": identity,
        "containers": 3,
        "services": ["first", "second"],
        "usedBy": "first, second",
    }
    assert found["size"] > 0
    assert found["created"].endswith("+00:00")
    assert project.run("images", "list", "-o", "table").out.splitlines()[0].split() == [
        "Reference",
        "Kind",
        "Megabytes",
        "Created",
        "UsedBy",
    ]


def test_what_others_built_on_ours_is_theirs(project: Project, make: Make) -> None:
    """A label is inherited: neither name nor date is."""
    make("theirs:base", "base")
    make(None, "base", created="2026-01-02T03:04:05Z")
    make("theirs:package", "package", created="2026-01-02T03:04:05Z")
    make(named("environment"), "environment", created="2026-01-02T03:04:05Z")
    make("mldeploy/strange:1", "strange")
    assert project.ok("images", "list") == []
    assert project.ok("images", "prune", "--all") == []


def test_prune_takes_what_is_made_again(
    project: Project, docker_client: DockerClient, make: Make, container: Callable[..., None]
) -> None:
    from docker.errors import ImageNotFound

    base, builder, debian = named("base"), named("builder"), named("debian")
    below = make(debian, "debian")
    make(base, "base", below=below)
    make(builder, "builder")
    unused, used = named("environment"), named("environment")
    gone = make(unused, "environment")
    container(make(used, "environment"))
    nameless = make(None, "package")
    make("package:20260102030405", "package")
    expected = {
        "package:20260102030405": ("kept", "--all removes it"),
        nameless.removeprefix("sha256:")[:12]: ("removed", ""),  # a name that `docker rmi` takes
        unused: ("removed", ""),
        used: ("kept", "used by 1 container"),
        builder: ("kept", "--all removes it"),
        base: ("removed", ""),  # it is not the one in use
        debian: ("kept", "--all removes it"),
    }
    dry = project.ok("images", "prune", "--dry-run")
    assert actions(dry) == {
        name: ("would be removed" if action == "removed" else action, reason)
        for name, (action, reason) in expected.items()
    }
    assert docker_client.api.inspect_image(gone)
    assert actions(project.ok("images", "prune")) == expected
    for identity in (gone, nameless):
        with pytest.raises(ImageNotFound):
            docker_client.api.inspect_image(identity)
    assert docker_client.api.inspect_image(below)


def test_all_takes_the_rest_but_not_what_something_stands_on(
    project: Project, make: Make, container: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, other = named("base"), named("base")
    monkeypatch.setattr(module, "reference", lambda: base)
    used, package, builder = named("environment"), "package:x", named("builder")
    identity = make(base, "base")
    container(make(used, "environment", below=identity))
    make(other, "base")
    make(package, "package", below=identity)
    make(builder, "builder")
    stands = (f"{used} stands on it",)
    assert actions(project.ok("images", "prune", "--all")) == {
        package: ("removed", ""),
        used: ("kept", "used by 1 container"),
        builder: ("removed", ""),
        base: ("kept", *stands),
        other: ("removed", ""),
    }


def test_prune_all_takes_layers_that_nothing_asked_for_within_the_hour(project: Project, make: Make) -> None:
    kept, old = (layer.write(key, "test", [Entry(key, bytes(2_000_000))]) for key in ("kept", "old"))
    os.utime(old.path, (0, 0))
    assert "1 layer in the cache would be removed: 2 MB" in project.run("images", "prune", "--all", "--dry-run").err
    project.ok("images", "prune")
    assert old.path.exists()
    assert "1 layer in the cache removed: 2 MB" in project.run("images", "prune", "--all").err
    assert (old.path.exists(), kept.path.exists()) == (False, True)


def test_an_image_with_two_names_loses_both(
    project: Project, docker_client: DockerClient, make: Make, free_port: int
) -> None:
    from docker.errors import ImageNotFound

    identity = make("package:x", "package")
    docker_client.api.tag(identity, f"127.0.0.1:{free_port}/x", "1")
    assert actions(project.ok("images", "prune", "--all")) == {f"127.0.0.1:{free_port}/x:1": ("removed", "")}
    with pytest.raises(ImageNotFound):
        docker_client.api.inspect_image(identity)


def test_the_base_in_use_stays_for_the_next_deployment(
    project: Project, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = named("base")
    monkeypatch.setattr(module, "reference", lambda: base)
    make(base, "base")
    ((action, reason),) = actions(project.ok("images", "prune")).values()
    assert action == "kept"
    assert "--all removes it" in reason
    assert actions(project.ok("images", "prune", "--all")) == {base: ("removed", "")}


def test_an_image_that_stays_keeps_all_below_it() -> None:
    def image(kind: str, *layers: str, containers: int = 0) -> Stocked:
        return Stocked((f"mldeploy/{kind}:1",), kind, f"sha256:{kind}", 1, None, (), containers, layers)

    images = [
        image("environment", "a", "b", "c", containers=1),
        image("builder", "a", "x"),
        image("base", "a", "b"),
        image("debian", "a"),
    ]
    assert [verdict.goes for verdict in judge(images, everything=True)] == [False, True, False, False]


def test_build_finds_or_makes_the_base(project: Project, docker_client: DockerClient) -> None:
    from mldeploy.images.foundations.base import reference

    (record,) = project.ok("images", "build")
    assert record["reference"] == reference()
    assert record["id"] == docker_client.api.inspect_image(reference())["Id"]
    assert 0 < record["megabytes"] < 130
    assert project.ok("images", "build", "base") == [record]


def test_build_of_a_name_that_is_none(project: Project) -> None:
    outcome = project.run("images", "build", "bse")
    assert outcome.code == 2
    assert "there is no image 'bse', but " in outcome.err
    assert "base" in outcome.err


@pytest.mark.parametrize("words", [("list",), ("build",), ("prune",), ("prune", "--dry-run")], ids=" ".join)
def test_without_an_engine_it_is_one_line_and_what_to_type(
    words: tuple[str, ...], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    outcome = project.run("images", *words)
    assert (outcome.code, outcome.out) == (8, "")
    assert outcome.err.startswith("Error: no Docker engine answers\n")
    assert "  next:  start that engine" in outcome.err
