"""Wheels of what has none: source distributions built in a container, so that no compiler is in the service's image.

The host's uv fetches the sources and what their builds require, by its own indexes, credentials and cache; the
container that builds has no network, and sees no credentials. It is a foundation with a compiler, or the foundation
itself where there is nothing to compile.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from mldeploy.errors import EnvironmentException
from mldeploy.events import Output, Report, Step, silent
from mldeploy.images.builds import building, failures, sdists
from mldeploy.images.builds.sdists import BuildSystem, Source
from mldeploy.images.builds.throwaway import Ended, throwaway
from mldeploy.images.foundations import base
from mldeploy.packaging import explain, pythons, uv
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.foundation import Foundation
    from mldeploy.images.layers.layer import Layer

REPOSITORY = "mldeploy/builder"
KIND = "builder"

_LABEL = "mldeploy.builder"
_LAYOUT = "1"  # changes when the same source makes another wheel
_FOLDER = ".mldeploy-build"
_PROGRAM = Path(__file__).with_name("_build_wheel.py")
_MISSING = 3
_LAST_LINES = 20
_EPOCH_S = "315532800"


def build_wheels(
    client: DockerClient,
    foundation: Foundation,
    lock: str,
    *,
    options: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    offline: bool = False,
    report: Report = silent,
    timeout: float | None = None,
) -> dict[str, Path]:
    """Build the wheels that a lock needs and no index has.

    Args:
        client: The engine.
        foundation: What they are for.
        lock: Requirements with hashes.
        options: Arguments for uv about indexes and builds.
        layers: What is on the foundation besides its own layers.
        offline: Use only what uv and mldeploy have in their caches.
        report: Told of each step, and of each line that a build prints.
        timeout: Seconds for each build; None takes `MLDEPLOY_BUILD_TIMEOUT`, without that 1800.

    Returns:
        For each entry that has no wheel, by its canonical name, the one that was built now or earlier. Empty where
        all have one.

    Raises:
        EnvironmentException: A source cannot be had, has a wrong hash or does not build: which, and its last output.
        EngineException: The engine does not answer.
    """
    layers = (*foundation.layers, *layers)
    below = (_LAYOUT, foundation.image.id, foundation.interpreter, *(one.diff_id for one in layers))
    made = {}
    for source in sdists.without_wheels(lock, foundation.python, foundation.platform, options, offline=offline):
        key = hashlib.sha256("\0".join((*below, *sorted(source.hashes))).encode()).hexdigest()
        folder = cache_root() / "wheels" / key
        if (wheel := _kept(folder)) is None:
            with alone(folder, report, f"the wheel of {source}"):
                wheel = _kept(folder)
                if wheel is None:
                    work = _Work(client, foundation, layers, options, offline, report, building.allowed(timeout))
                    wheel = work.build(source, folder)
        made[source.name] = wheel
    return made


def substituted(lock: str, wheels: Mapping[str, Path]) -> str:
    r"""Put built wheels into a lock.

    Args:
        lock: Requirements with hashes.
        wheels: What `build_wheels` gave.

    Returns:
        A lock of this machine: those entries by their file and its hash.
    """

    def entry(match: re.Match[str]) -> str:
        wheel = wheels.get(canonicalize_name(match[1]))
        if wheel is None:
            return match[0]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        marker = re.search(r"\s;\s[^\n\\]*", match[0])
        return f"{match[1]} @ {wheel.as_uri()}{marker[0].rstrip() if marker else ''} \\\n    --hash=sha256:{digest}"

    return sdists.ENTRY.sub(entry, lock)


def _kept(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.whl"))
    return found[0] if found else None


class _Work:
    """What the builds of one environment have in common."""

    def __init__(
        self,
        client: DockerClient,
        foundation: Foundation,
        layers: Sequence[Layer],
        options: Sequence[str],
        offline: bool,
        report: Report,
        seconds: float,
    ) -> None:
        self._client = client
        self._foundation = foundation
        self._layers = layers
        self._options = options
        self._offline = offline
        self._report = report
        self._seconds = seconds

    def build(self, source: Source, folder: Path) -> Path:
        """Build one source, into a folder that appears with the wheel in it."""
        archive = sdists.fetched(source, offline=self._offline)
        system = sdists.build_system(archive, source)
        image = self._builder() if system.native else self._foundation.image.id
        self._report(Step("wheel", f"building a wheel of {source} from its source"))
        while True:
            with tempfile.TemporaryDirectory(prefix="mldeploy-wheel-") as scratch:
                environment = Path(scratch, "environment")
                self._install(system.requires, environment, source)
                ended, said, out = self._run(image, archive, system, environment)
            more = set(_asked_besides(out) if ended.code == _MISSING else ()).difference(system.requires)
            if more:
                system = replace(system, requires=(*system.requires, *sorted(more)))
            elif ended.code and not system.native and explain.NO_COMPILER.search(said):  # it writes native code itself
                system = replace(system, native=True)
                image = self._builder()
            else:
                break
        wheels = {name: content for name, content in out.items() if name.endswith(".whl")}
        if ended.code or len(wheels) != 1:
            raise self._failed(source, ended, said)
        ((name, content),) = wheels.items()
        _check(name, source)
        return _keep(folder, name, content)

    def _builder(self) -> str:
        """The foundation with a compiler: found by what it was made of, or made."""
        foundation = self._foundation
        text = (files("mldeploy.images.builds") / "builder" / "Dockerfile").read_text(encoding="utf-8")
        headers = foundation.python if foundation.interpreter.startswith("/usr/bin/") else ""
        key = hashlib.sha256("\0".join((text, foundation.image.id, headers)).encode()).hexdigest()
        tag = f"{REPOSITORY}:{key[:12]}"
        labels = {base.KIND: KIND, _LABEL: key}
        if found := base.labelled(self._client, labels, tag):
            return found.id
        if self._offline:
            raise EnvironmentException(
                "the image that compiles is not there, and offline it cannot be made",
                where=tag,
                hint="leave out --offline once: it is then kept",
            )
        with alone(cache_root() / "wheels" / f"builder-{key[:12]}", self._report, "the image that compiles"):
            if found := base.labelled(self._client, labels, tag):
                return found.id
            self._report(Step("image", f"building an image that compiles, on {foundation.image.reference}"))
            return building.build(
                self._client,
                text,
                tag=tag,
                labels=labels,
                arguments={"FOUNDATION": foundation.image.id, "HEADERS": headers},
                report=self._report,
                timeout=self._seconds,
                where="the Dockerfile of the image that compiles",
            )

    def _install(self, requires: Sequence[str], environment: Path, source: Source) -> None:
        """Lay out a virtual environment for the container, with what the build requires."""
        site = environment / "lib" / f"python{self._foundation.python}" / "site-packages"
        scripts = environment / "bin"
        site.mkdir(parents=True)
        scripts.mkdir()
        if requires:
            try:
                uv.run(
                    "pip", "install", "--quiet", "--target", str(site), "--python", pythons.own(),
                    "--python-version", self._foundation.python, "--python-platform", self._foundation.platform,
                    "--only-binary", ":all:", *sdists.index_options(self._options),
                    *(["--offline"] if self._offline else []), *requires,
                )  # fmt: skip
            except uv.UvFailure as failure:
                error = explain.installing(failure, pythons.own(), tuple(self._options), offline=self._offline)
                raise EnvironmentException(
                    f"what the build of {source} requires cannot be had",
                    where=f"{source.name}: {', '.join(requires)}",
                    reason=error.reason,
                    hint=error.hint,
                ) from None
        for script in site.glob("bin/*"):
            script.rename(scripts / script.name)
        (environment / "pyvenv.cfg").write_text(f"home = {Path(self._foundation.interpreter).parent}\n")
        for name in ("python", "python3"):
            (scripts / name).unlink(missing_ok=True)
            (scripts / name).symlink_to(self._foundation.interpreter)

    def _run(
        self, image: str, archive: Path, system: BuildSystem, environment: Path
    ) -> tuple[Ended, str, dict[str, bytes]]:
        """Build in a container; how it ended, the last that it said, and what it left."""
        last: deque[str] = deque(maxlen=_LAST_LINES)

        def said(line: str) -> None:
            last.append(uv.scrub(line))
            self._report(Output(last[-1]))

        python = f"/{_FOLDER}/env/bin/python"
        command = [python, f"/{_FOLDER}/build.py", f"/{_FOLDER}", str(int(self._seconds) + 60)]
        path = next(
            (line for line in self._foundation.image.config.get("Env") or () if line.startswith("PATH=")),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        variables = {
            "PATH": f"/{_FOLDER}/env/bin:{path.removeprefix('PATH=')}",
            "HOME": f"/{_FOLDER}",
            "SOURCE_DATE_EPOCH": _EPOCH_S,
            "PYTHONHASHSEED": "0",
        }
        with throwaway(self._client, image, command, kind="wheel", environment=variables) as container:
            for layer in self._layers:
                with layer.path.open("rb") as content:
                    container.put(content)
            with tempfile.TemporaryFile() as packed:
                with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    _pack(tar, archive, system, environment)
                packed.seek(0)
                container.put(packed)
            ended = container.follow(self._seconds, said)
            out = _unpacked(container.get(f"/{_FOLDER}/out")) if container.has(f"/{_FOLDER}/out") else {}
            return ended, "\n".join(last) or ended.err, out

    def _failed(self, source: Source, ended: Ended, last: str) -> EnvironmentException:
        if ended.code is None:
            return EnvironmentException(
                f"{source} was not built within {self._seconds:g} s",
                where=f"{source.name}=={source.version}",
                reason=last,
                hint=f"{building.TIMEOUT}=SECONDS allows more",
            )
        found = failures.cause(last)
        what = f": {found.what}" if found else ""
        hint = (
            "a version with a wheel needs no build; libraries and headers that it builds against come by a "
            "docker.baseDockerfile: FROM azureml/base:latest, RUN apt-get update && apt-get install -y LIBRARY-dev"
        )
        if found and found.is_unreached:
            what = ": its build fetches something by itself, and has no network"
            hint = "a version with a wheel; or build one where there is a network (`pip wheel`), and list the file"
        return EnvironmentException(
            f"{source} does not build{what}",
            where=f"{source.name}=={source.version}",
            reason=last or f"it ended with {ended.code}",
            hint=hint,
        )


def _pack(tar: tarfile.TarFile, archive: Path, system: BuildSystem, environment: Path) -> None:
    how = json.dumps({"backend": system.backend, "path": system.path, "requires": system.requires}).encode()
    for name, content in (("build.py", _PROGRAM.read_bytes()), ("system.json", how)):
        _add(tar, f"{_FOLDER}/{name}", content)
    tar.add(archive, f"{_FOLDER}/source/{archive.name}", filter=_roots)
    for path in sorted(environment.rglob("*")):
        name = f"{_FOLDER}/env/{path.relative_to(environment).as_posix()}"
        if path.parent.name == "bin" and path.is_file() and not path.is_symlink():
            _add(tar, name, _for_container(path.read_bytes()), 0o755)
        else:
            tar.add(path, name, recursive=False, filter=_roots)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _roots(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _for_container(script: bytes) -> bytes:
    """A script that names a Python of this machine, made to name the container's."""
    return re.sub(rb"\A#![^\n]*python[^\n]*", f"#!/{_FOLDER}/env/bin/python".encode(), script)


def _unpacked(blocks: Iterable[bytes]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
        return {
            Path(member.name).name: content.read()
            for member in archive
            if (content := archive.extractfile(member)) is not None
        }


def _asked_besides(out: Mapping[str, bytes]) -> tuple[str, ...]:
    return tuple(map(str, json.loads(out.get("requires.json", b"[]"))))


def _check(name: str, source: Source) -> None:
    """A build that makes something else than what the lock means is not taken."""
    made, version, _, _ = parse_wheel_filename(name)
    if made != source.name or (source.version and version != Version(source.version)):
        raise EnvironmentException(
            f"the source of {source} has built {name}",
            where=f"{source.name}=={source.version}",
            hint="pin another version of it",
        )


def _keep(folder: Path, name: str, content: bytes) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent) as scratch:
            whole = Path(scratch, "wheel")
            whole.mkdir()
            (whole / name).write_bytes(content)
            whole.rename(folder)
    except OSError as error:
        raise explain.disk(error, folder) from None
    return folder / name
