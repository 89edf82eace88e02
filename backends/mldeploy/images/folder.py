"""A package as a folder that plain `docker build` makes an image of, on whichever machine.

What Azure ML v1's `ModelPackage.save` wrote: a Dockerfile, the models, the entry script and the environment. Models and
source are folders that can be read and changed; the environment is our own layers, which need nothing to be installed.
What is below them is a build argument, and is made what it has to be by the steps that make our base image.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy.config.environment import is_stock_image
from mldeploy.errors import UserErrorException
from mldeploy.events import Progress, Report, Step, silent
from mldeploy.images.builds import dockerfile
from mldeploy.images.foundations import base
from mldeploy.images.layers.environment import APP_ROOT, USER
from mldeploy.images.resolving import ImageEnvironment
from mldeploy.packaging.source import MODELS_FOLDER

if TYPE_CHECKING:
    from mldeploy.config.environment import DockerDefinition
    from mldeploy.images.image import Image
    from mldeploy.packaging.package import Package

_MARK = "# A package of mldeploy"
_DEBIAN = "debian:bookworm-slim"
_SOURCE = "azureml-app"
_LAYERS = "layers"
_ARGUMENT = "${BASE_IMAGE}"
_BLOCK = 1 << 20
_DIRECTIVE = re.compile(r"#\s*(?:syntax|escape|check)\s*=.*\n?")


def write(
    image: Image,
    package: Package,
    docker: DockerDefinition,
    folder: Path,
    *,
    name: str,
    report: Report = silent,
) -> None:
    """Write the folder; one that was written earlier is replaced.

    Args:
        image: The environment's layers, with the settings of the package's image.
        package: What is served.
        docker: What the environment says of the image below it.
        folder: Where to; made if it is not there.
        name: What the image is to be called, in the folder's own instructions.
        report: Told the step and the bytes.

    Raises:
        UserErrorException: Something else is in the folder, a variable cannot be in a Dockerfile, or the disk is full;
            nothing half written is left.
    """
    _check(folder)
    report(Step("package", f"Writing {folder}"))
    try:
        folder = folder.resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        try:
            layers = list(_compressed(image, partial / _LAYERS, report))
            _lay_out(package, partial)
            text = "\n".join(_lines(image, package, docker, layers, name)) + "\n"
            (partial / "Dockerfile").write_text(text, encoding="utf-8")
            _replace(folder, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserErrorException(
            "the package cannot be written",
            where=str(error.filename or folder),
            reason=error.strerror or str(error),
            hint="make room there, or give another folder",
        ) from None


def _check(folder: Path) -> None:
    """A folder that is full of something else stays as it is."""
    if folder.exists() and not folder.is_dir():
        raise UserErrorException(f"Error, output path is not a directory: {folder}", hint="give another folder")
    written = folder / "Dockerfile"
    ours = written.is_file() and _MARK in written.read_text(encoding="utf-8", errors="replace")
    if folder.is_dir() and not ours and any(folder.iterdir()):
        raise UserErrorException(
            "the folder is not empty",
            where=str(folder),
            reason="what is there is no package of mldeploy's, and would go into the image",
            hint="give a folder that is empty, or not there yet",
        )


def _replace(folder: Path, new: Path) -> None:
    """Put a folder's new content into it; it may be a mount point, or the folder that somebody is in."""
    folder.mkdir(exist_ok=True)
    # the Dockerfile tells whose it is: the last to go, and the first to come
    for old in sorted(folder.iterdir(), key=lambda path: path.name == "Dockerfile"):
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for one in sorted(new.iterdir(), key=lambda path: path.name != "Dockerfile"):
        shutil.move(one, folder / one.name)


def _compressed(image: Image, folder: Path, report: Report) -> Iterator[str]:
    """The layers as archives that `ADD` unpacks; yields their names."""
    folder.mkdir()
    done, total = 0, image.size_above_base
    for number, layer in enumerate(image.layers, 1):
        words = re.sub(r"[^a-z0-9]+", "-", layer.created_by.lower()).strip("-")[:40]
        archive = folder / f"{number:02}-{words}.tar.gz"
        with (
            layer.path.open("rb") as source,
            archive.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as target,
        ):
            while block := source.read(_BLOCK):
                target.write(block)
                done += len(block)
                report(Progress("package", done, total))
        yield archive.name


def _lay_out(package: Package, folder: Path) -> None:
    source = folder / _SOURCE
    # as in a service: nothing of the source's takes the models' place
    (source / MODELS_FOLDER).mkdir(parents=True)
    package.source.copy_to(source)
    (source / MODELS_FOLDER).rmdir()
    for model in package.models:
        model.download(folder / MODELS_FOLDER / model.name / str(model.version))
    for path in (*source.rglob("*"), *(folder / MODELS_FOLDER).rglob("*")):
        if not path.is_symlink():
            # whoever runs the container has to read it, and whoever has the folder may change it
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _lines(image: Image, package: Package, docker: DockerDefinition, layers: list[str], name: str) -> Iterator[str]:
    """The Dockerfile."""
    environment = package.environment
    assert isinstance(environment, ImageEnvironment)
    config: dict[str, Any] = json.loads(image.config)["config"]
    directives, below = _below(docker, environment.foundation.image.reference)
    yield from directives.splitlines()
    yield from _head(environment, name)
    yield from below.splitlines()
    yield ""
    yield "# the environment, as it was locked"
    yield "USER root"
    yield from (f"ADD {_LAYERS}/{layer} /" for layer in layers)
    yield ""
    yield "# models and source: change them here, and build again"
    if package.models:
        yield f"COPY --chown=0:0 {MODELS_FOLDER}/ {APP_ROOT}/{MODELS_FOLDER}/"
    yield f"COPY --chown={USER}:{USER} {_SOURCE}/ {APP_ROOT}/"
    yield ""
    yield from _settings(config, _escape(directives))


def _head(environment: ImageEnvironment, name: str) -> Iterator[str]:
    image = environment.foundation.image
    yield f"{_MARK}: models, entry script and environment; an image of it is made anywhere by"
    yield f"#   docker build --tag {name} ."
    yield f"#   docker run --rm --publish 127.0.0.1:8890:5001 {name}"
    yield f"# The environment is for {image.os}/{image.architecture} and Python {environment.python}."


def _below(docker: DockerDefinition, reference: str) -> tuple[str, str]:
    """Parser directives, which stand first, and the instructions of what is below."""
    theirs = docker.base_dockerfile
    if not theirs:
        ours = not docker.base_image or _is_ours(docker.base_image)
        theirs = f"FROM {base.reference() if ours else reference}\n"
    directives = ""
    while found := _DIRECTIVE.match(theirs):
        directives, theirs = directives + found[0], theirs[found.end() :]
    on_ours = any(map(_is_ours, dockerfile.bases(theirs)))
    if docker.base_dockerfile and not on_ours:
        return directives, theirs  # all of it is the user's
    replaced = dockerfile.with_bases(theirs, lambda image: _ARGUMENT if _is_ours(image) or not on_ours else image)
    steps = list(_steps(_escape(directives))) if on_ours else []
    lines = [f"ARG BASE_IMAGE={_DEBIAN if on_ours else reference}"]
    for line in replaced.splitlines():
        lines += [line, *steps] if _ARGUMENT in line else [line]
    return directives, "\n".join(lines)


def _escape(directives: str) -> str:
    return "`" if re.search(r"escape\s*=\s*`", directives) else "\\"


def _is_ours(image: str) -> bool:
    return is_stock_image(image) or image == base.reference()


def _steps(escape: str) -> Iterator[str]:
    """What makes a Debian our base image; nothing where it is that already."""
    text = (files("mldeploy.images.foundations") / "base" / "Dockerfile").read_text(encoding="utf-8")
    for instruction in dockerfile.instructions(text):
        if instruction.word == "ENV":
            yield instruction.text
        elif instruction.word == "RUN":
            script = instruction.text.split(None, 1)[1]
            done = "if [ -d /opt/mldeploy ]; then exit 0; fi"
            yield "RUN " + f"; {escape}\n    ".join((done, *script.split("; ")))


def _settings(config: Mapping[str, Any], escape: str) -> Iterator[str]:
    """The container's configuration, as it is in the image of the package."""
    for line in config.get("Env") or ():
        name, _, value = line.partition("=")
        yield f"ENV {name}={_quoted(value, name, escape)}"
    for name, value in sorted((config.get("Labels") or {}).items()):
        if name == "org.opencontainers.image.base.digest":
            continue  # what is below is decided by whoever builds it
        yield f"LABEL {_quoted(name, name, escape)}={_quoted(value, name, escape)}"
    for port in sorted(config.get("ExposedPorts") or {}):
        yield f"EXPOSE {port}"
    yield f"WORKDIR {config['WorkingDir']}"
    yield f"USER {config['User']}"
    yield f"STOPSIGNAL {config['StopSignal']}"
    if health := config.get("Healthcheck"):
        kind, *test = health["Test"]
        times = (
            f"--interval={health['Interval'] // 10**9}s --timeout={health['Timeout'] // 10**9}s "
            f"--start-period={health['StartPeriod'] // 10**9}s --retries={health['Retries']}"
        )
        yield f"HEALTHCHECK {times} {kind} {json.dumps(test)}"
    yield f"ENTRYPOINT {json.dumps(config.get('Entrypoint') or [])}"
    yield f"CMD {json.dumps(config['Cmd'])}"


def _quoted(value: str, name: str, escape: str) -> str:
    if "\n" in value:
        raise UserErrorException(
            f"the value of {name} has several lines",
            where="Dockerfile",
            reason="an instruction of a Dockerfile has one line",
            hint="make an image without a Dockerfile, which can have it",
        )
    return '"' + re.sub(rf'(["$]|{re.escape(escape)})', lambda found: escape + found[1], value) + '"'
