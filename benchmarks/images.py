"""Images for containers, against `docker build`: side by side in one run, on a Docker engine.

    python benchmarks/images.py [--rounds 5] [--packages numpy scikit-learn pandas] [--download] [--model-gb 1.0]

A changed requirement: both sides have made the image with one pandas before, and have the wheels of another on disk.
`docker build` gets a Dockerfile that copies them and installs them with `--no-index`; with `--download`, also the plain
one that lets pip download. Everything made here is removed again; the cache is one of the benchmark's own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy import Environment, InferenceConfig, LocalWebservice, Model, Workspace
from mldeploy.config.harness import ServingSettings
from mldeploy.engines.connection import connect
from mldeploy.images import loading
from mldeploy.images.assemble import environment_image, package_image
from mldeploy.images.layers import layer
from mldeploy.images.resolving import ImageEnvironment, resolve
from mldeploy.packaging.package import package

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.image import Image

BEFORE, AFTER = "pandas==2.2.3", "pandas==2.3.3"
SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return {number}\n"
DOCKERFILE = """\
FROM {base}
USER root
COPY wheels /wheels
RUN PYTHONPATH=$(echo /wheels/pip-*.whl) python3 -m pip install --quiet --no-index --no-deps --no-cache-dir \\
    --root-user-action=ignore --break-system-packages /wheels/*.whl
"""
DOWNLOADING = """\
FROM {base}
USER root
COPY ca.pem pip.whl /
ENV PIP_CERT=/ca.pem
RUN PYTHONPATH=/pip.whl python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore \\
    --break-system-packages {packages}
"""


MADE: set[str] = set()  # images of ours, to be removed in the end


class Locks(dict[str, str]):
    """A workspace's locks, in memory."""

    put = dict.__setitem__


def main() -> None:
    parser = argparse.ArgumentParser(description="Images for containers, against docker build.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packages", nargs="+", default=["numpy", "scikit-learn"], help="besides pandas")
    parser.add_argument("--download", action="store_true", help="time a docker build that downloads, too")
    parser.add_argument("--model-gb", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    arguments = parser.parse_args()
    client = connect()
    folder = Path(tempfile.mkdtemp(prefix="bench-images-", dir=arguments.folder)).absolute()
    os.environ["MLDEPLOY_CACHE"], os.environ["MLDEPLOY_STORE"] = str(folder / "cache"), str(folder / "store")
    try:
        print(f"{os.cpu_count()} cores; medians of {arguments.rounds} rounds (lowest to highest)")
        changed_requirement(client, folder, arguments)
        size(client, folder, arguments.packages)
        services(client, folder, arguments)
    finally:
        for name in [*MADE, "bench-old", "bench-new", "bench-plain"]:
            forget(name)
        shutil.rmtree(folder)


def environment(*packages: str) -> ImageEnvironment:
    asked = Environment("bench")
    assert asked.python.conda_dependencies is not None
    asked.python.conda_dependencies.set_pip_requirements([*packages])
    return resolve(asked, Locks())


def changed_requirement(client: DockerClient, folder: Path, arguments: argparse.Namespace) -> None:
    """From the changed requirement, resolved, to the image on the engine."""
    old, new = (environment(*arguments.packages, pandas) for pandas in (BEFORE, AFTER))
    bring(client, environment_image(client, old))
    base = new.foundation.image.reference
    contexts = {name: context(folder / name, lock, base) for name, lock in (("old", old), ("new", new))}
    build(contexts["old"])
    target = environment_image(client, new)
    fresh = {one.diff_id for one in target.layers} - {one.diff_id for one in environment_image(client, old).layers}

    def ours() -> None:
        bring(client, environment_image(client, new))

    def forget_ours() -> None:
        if loading.is_there(client, target.id):
            client.api.remove_image(target.id, force=True)
        for note in (layer.root() / "keys").iterdir():
            if any(diff_id in note.read_text() for diff_id in fresh):
                note.unlink()

    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "docker build": (lambda: build(contexts["new"]), lambda: forget("bench-new")),
        "mldeploy": (ours, forget_ours),
    }
    if arguments.download:
        plain = downloading(folder / "plain", contexts["new"], base, [*arguments.packages, AFTER])
        ways["docker build, downloading"] = (lambda: build(plain), lambda: forget("bench-plain"))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (way, forgotten) in ways.items():
            forgotten()
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    say("changed requirement", seconds, "docker build", to_reach=0.5)


def bring(client: DockerClient, image: Image) -> Image:
    MADE.add(image.id)
    loading.load(client, image)
    return image


def context(folder: Path, resolved: ImageEnvironment, base: str) -> Path:
    """A Docker context with the wheels of a lock, and pip's own."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    lock = folder / "lock.txt"
    lock.write_text(resolved.lock)
    pip = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(wheels)]
    platform = ["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--platform", "any"]
    platform += ["--platform", "manylinux_2_27_x86_64", "--platform", "manylinux_2_24_x86_64", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory(dir=folder) as venv:
        python = f"{venv}/bin/python"
        subprocess.run(["uv", "venv", "--quiet", "--seed", "--allow-existing", venv], check=True)
        subprocess.run([python, "-m", *pip, *platform, "--python-version", "3.11", "-r", str(lock)], check=True)
        subprocess.run([python, "-m", *pip, "pip"], check=True)
    lock.unlink()
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    return folder


def downloading(folder: Path, wheels: Path, base: str, packages: list[str]) -> Path:
    folder.mkdir()
    shutil.copy(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), folder / "ca.pem")
    shutil.copy(next((wheels / "wheels").glob("pip-*.whl")), folder / "pip.whl")
    (folder / "Dockerfile").write_text(DOWNLOADING.format(base=base, packages=" ".join(packages)))
    return folder


def build(folder: Path) -> None:
    name = f"bench-{folder.name}"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, str(folder)],
        check=True,
        capture_output=True,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )


def forget(name: str) -> None:
    """Remove an image and the layers that building it has cached."""
    subprocess.run(["docker", "image", "rm", "--force", name], check=False, capture_output=True)


def size(client: DockerClient, folder: Path, packages: list[str]) -> None:
    """Bytes above the base, against what pip installs with the official stack."""
    ours = environment_image(client, environment(*packages, AFTER))
    alone = environment_image(client, environment())
    venv = folder / "official"
    subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", str(venv)], check=True)
    install = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy", "--python", str(venv)]
    subprocess.run([*install, "azureml-defaults>=1.57", *packages, AFTER], check=True)
    official = sum(file.lstat().st_size for file in (venv / "lib").rglob("*"))
    print(
        f"image above the base: {ours.size_above_base / 1e6:.0f} MB; azureml-defaults and the same packages by pip: "
        f"{official / 1e6:.0f} MB; ratio {ours.size_above_base / official:.2f} (to reach: 0.8); "
        f"the scoring server alone: {alone.size_above_base / 1e6:.1f} MB"
    )


def services(client: DockerClient, folder: Path, arguments: argparse.Namespace) -> None:
    workspace = Workspace.create("bench")
    script = folder / "score.py"
    script.write_text(SCRIPT.format(number=0))
    asked = Environment("bench")
    assert asked.python.conda_dependencies is not None
    asked.python.conda_dependencies.set_pip_requirements([*arguments.packages, AFTER])
    config = InferenceConfig(str(script), environment=asked)
    service = Model.deploy(workspace, "bench", [], config, LocalWebservice.deploy_configuration(), engine="docker")
    assert isinstance(service, LocalWebservice)
    service.wait_for_deployment()
    MADE.add(environment_image(client, environment(*arguments.packages, AFTER)).id)
    try:
        changed_script(service, script, arguments.rounds)
        unchanged_package(client, workspace, config, arguments.rounds)
        second_service(client, workspace, config)
        large_model(client, workspace, config, folder, arguments.model_gb)
    finally:
        for one in LocalWebservice.list(workspace):
            one.delete()


def changed_script(service: LocalWebservice, script: Path, rounds: int) -> None:
    seconds = []
    for number in range(1, rounds + 1):
        script.write_text(SCRIPT.format(number=number))
        began = time.perf_counter()
        service.reload(wait=True)
        seconds.append(time.perf_counter() - began)
        assert service.run("{}") == number
    print(f"changed entry script, edit to Healthy: {spread(seconds)} s (to reach: below 3)")


def unchanged_package(client: DockerClient, workspace: Workspace, config: InferenceConfig, rounds: int) -> None:
    def image() -> Image:
        made = package(workspace, (), config, engine="docker", offline=True)
        return bring(client, package_image(client, made, ServingSettings(), offline=True))

    image()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        image()
        seconds.append(time.perf_counter() - began)
    print(f"unchanged package to image known, offline: {spread(seconds)} s (to reach: below 0.5)")


def second_service(client: DockerClient, workspace: Workspace, config: InferenceConfig) -> None:
    before = client.df()
    Model.deploy(workspace, "bench-second", [], config, engine="docker").wait_for_deployment()
    after = client.df()
    layers = after["LayersSize"] - before["LayersSize"]
    print(f"second service of the same environment: {layers / 1e6:.1f} MB of image layers")


def large_model(
    client: DockerClient, workspace: Workspace, config: InferenceConfig, folder: Path, gigabytes: float
) -> None:
    file = folder / "model.bin"
    with file.open("wb") as stream:
        for _ in range(int(gigabytes * 1000)):
            stream.write(os.urandom(1_000_000))
    model = Model.register(workspace, str(file), "large")
    bytes_ = file.stat().st_size

    def running() -> None:
        Model.deploy(workspace, "bench-large", [model], config, engine="docker").wait_for_deployment()

    def imaged() -> None:
        made = package(workspace, (model,), config, engine="docker", offline=True)
        bring(client, package_image(client, made, ServingSettings()))

    for name, way, least in (("local service", running, 0), ("image on the engine", imaged, bytes_)):
        before = written()
        way()
        print(
            f"model of {bytes_ / 1e9:.1f} GB to a {name}: {(written() - before) / 1e9:.2f} GB written to disks "
            f"(least possible: {least / 1e9:.1f})"
        )


def written() -> int:
    """Bytes that all disks have been told to write, once nothing waits."""
    os.sync()
    lines = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    return sum(int(fields[9]) * 512 for fields in lines if not re.search(r"\d$|^loop|^ram|^dm", fields[2]))


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def say(what: str, seconds: dict[str, list[float]], against: str, to_reach: float) -> None:
    for name, times in seconds.items():
        print(f"{what}, {name}: {spread(times)} s")
    ratios = [ours / theirs for ours, theirs in zip(seconds["mldeploy"], seconds[against], strict=True)]
    print(f"mldeploy / {against}: {spread(ratios)} (to reach: {to_reach})")


if __name__ == "__main__":
    main()
