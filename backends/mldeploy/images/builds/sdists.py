"""Source distributions of a lock: which entries have nothing else, the archives, and how they say they are built."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name

from mldeploy.errors import EnvironmentException
from mldeploy.packaging import explain, pythons, uv
from mldeploy.store.places import cache_root

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
"""An entry of a lock with its continued lines; the group is its name."""

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NATIVE = re.compile(r"\.(?:c|cc|cpp|cxx|cu|pyx|pxd|f|f90|f95|for|rs|go|s|asm|m|mm|swg|i)$", re.IGNORECASE)
_ABOUT_BUILDS = ("--no-binary", "--only-binary")
_INDEXES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_SECONDS = 120.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """An entry of a lock that has to be built.

    Args:
        name: Its canonical name.
        version: Its version.
        url: Where the archive is: `https:`, `file:`, or a path.
        hashes: The SHA-256 sums that the lock allows.
    """

    name: str
    version: str
    url: str
    hashes: tuple[str, ...]

    @property
    def file(self) -> str:
        """The archive's name."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class BuildSystem:
    """How an archive says that it is built (PEP 517, PEP 518).

    Args:
        requires: The requirements of its build.
        backend: `module:object`.
        path: Folders of the backend in the source itself.
        native: It has sources that a compiler is needed for.
    """

    requires: tuple[str, ...]
    backend: str
    path: tuple[str, ...]
    native: bool


def without_wheels(
    lock: str, python: str, platform: str, options: Sequence[str] = (), *, offline: bool = False
) -> list[Source]:
    """The entries of a lock that no wheel satisfies; uv is asked once for each lock.

    Args:
        lock: Requirements with hashes.
        python: The minor version, `3.11`.
        platform: In uv's words: `x86_64-manylinux_2_36`.
        options: Arguments for uv about indexes and builds; with `--no-binary` a source is taken where there are wheels.
        offline: Use only what uv has in its cache.

    Raises:
        EnvironmentException: uv cannot tell; the lock and the indexes do not fit.
    """
    key = hashlib.sha256(json.dumps([lock, python, platform, *options]).encode()).hexdigest()
    memory = cache_root() / "sdists" / f"{key}.json"
    try:
        return [Source(**{**one, "hashes": tuple(one["hashes"])}) for one in json.loads(memory.read_bytes())]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    allowed = {canonicalize_name(one[1]): tuple(_HASH.findall(one[0])) for one in ENTRY.finditer(lock)}
    found = [
        Source(name, str(package.get("version", "")), url, allowed.get(name, ()))
        for package in _asked(lock, python, platform, options, offline=offline)
        if (name := canonicalize_name(package["name"])) and (url := _place(package))
    ]
    with _written(memory) as file:
        file.write(json.dumps([asdict(one) for one in found]).encode())
    return found


def _asked(lock: str, python: str, platform: str, options: Sequence[str], *, offline: bool) -> list[Mapping[str, Any]]:
    """The packages of a lock in the form of PEP 751, which lists the wheels that fit."""
    with tempfile.TemporaryDirectory(prefix="mldeploy-sdists-") as scratch:
        asked, answer = Path(scratch, "lock.txt"), Path(scratch, "pylock.toml")
        asked.write_text(lock, encoding="utf-8")
        try:
            uv.run(
                "pip", "compile", str(asked), "--no-deps", "--quiet", "--output-file", str(answer),
                "--python", pythons.own(), "--python-version", python, "--python-platform", platform,
                *options, *(["--offline"] if offline else []),
            )  # fmt: skip
        except uv.UvFailure as failure:
            raise explain.installing(failure, pythons.own(), tuple(options), offline=offline) from None
        packages: list[Mapping[str, Any]] = tomllib.loads(answer.read_text(encoding="utf-8")).get("packages", [])
        return packages


def _place(package: Mapping[str, Any]) -> str:
    """Where a package's source is; nothing for one that has a wheel."""
    if package.get("wheels"):
        return ""
    one = package.get("sdist") or package.get("archive") or {}
    place = str(one.get("url") or one.get("path") or "")
    return "" if urlsplit(place).path.endswith(".whl") else place


def fetched(source: Source, *, offline: bool = False) -> Path:
    """The archive, downloaded unless it is in the cache; its hash is one that the lock allows.

    Raises:
        EnvironmentException: It cannot be had, or is not what the lock means.
    """
    folder = cache_root() / "sdists" / hashlib.sha256("\0".join(sorted(source.hashes)).encode()).hexdigest()
    path = folder / source.file
    if path.exists() and _allowed(path, source):
        return path
    local = _local(source.url)
    if offline and local is None:
        raise EnvironmentException(
            f"the source of {source} is not in the cache, and offline it is not downloaded",
            where=f"{source.name}=={source.version}",
            hint="leave out --offline once: it is then kept",
        )
    with _written(path) as file:
        _copy(source, local, file)
        file.flush()
        if not _allowed(Path(file.name), source):
            raise EnvironmentException(
                f"the source of {source} is not what the lock means: its hash is another one",
                where=uv.scrub(source.url),
                reason=f"sha256 {_sha256(Path(file.name))}, allowed: {', '.join(source.hashes) or 'none'}",
                hint="somebody has changed the file; `mldeploy environment build --refresh` decides anew",
            )
    return path


def _local(url: str) -> Path | None:
    if url.startswith("file:"):
        return Path(url2pathname(urlsplit(url).path))
    return None if "://" in url else Path(url)


def _copy(source: Source, local: Path | None, file: IO[bytes]) -> None:
    import requests

    try:
        if local is not None:
            with local.open("rb") as content:
                while block := content.read(_BLOCK):
                    file.write(block)
            return
        authorities = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        answer = requests.get(
            source.url, stream=True, timeout=_SECONDS, verify=authorities, auth=_credentials(source.url)
        )
        with answer:
            answer.raise_for_status()
            for block in answer.iter_content(_BLOCK):
                file.write(block)
    except OSError as error:  # requests' own are of that class too
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        denied = isinstance(error, requests.HTTPError) and error.response.status_code in {401, 403}
        raise EnvironmentException(
            f"the source of {source} cannot be had",
            where=uv.scrub(source.url),
            reason=uv.scrub(str(error)),
            hint="netrc or UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD have the credentials for that host"
            if denied
            else "see whether that file is still there, and whether this machine reaches it",
        ) from None


def _credentials(url: str) -> tuple[str, str] | None:
    """What uv was given for the index on that host; without it netrc is asked."""
    for variable in _INDEXES:
        for entry in os.environ.get(variable, "").split():
            name, _, address = entry.rpartition("=") if re.match(r"[\w-]+=", entry) else ("", "", entry)
            parts = urlsplit(address)
            if parts.hostname != urlsplit(url).hostname:
                continue
            prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}" if name else ""
            user = os.environ.get(f"{prefix}_USERNAME") or unquote(parts.username or "")
            password = os.environ.get(f"{prefix}_PASSWORD") or unquote(parts.password or "")
            if user or password:
                return user, password
    return None


def build_system(archive: Path, source: Source) -> BuildSystem:
    """Read how an archive is built.

    Raises:
        EnvironmentException: It is no source distribution.
    """
    try:
        names, text = _contents(archive)
        table = tomllib.loads(text).get("build-system", {}) if text else {}
        native = any(_NATIVE.search(name) for name in names)
        # PEP 518: what was there before it is built by setuptools
        requires = table.get("requires", ["setuptools>=40.8.0"])
        backend = table.get("build-backend", "setuptools.build_meta:__legacy__")
        return BuildSystem(tuple(map(str, requires)), str(backend), tuple(table.get("backend-path", ())), native)
    except (tarfile.TarError, zipfile.BadZipFile, ValueError, OSError, AttributeError, TypeError) as error:
        raise EnvironmentException(
            f"{source} has a source that cannot be read", where=source.file, reason=str(error), hint="another version"
        ) from None


def _contents(archive: Path) -> tuple[list[str], str]:
    """The names in an archive, and the text of its `pyproject.toml`."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            project = next((name for name in names if _is_project(name)), "")
            return names, packed.read(project).decode() if project else ""
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        project = next((name for name in names if _is_project(name)), "")
        content = packed.extractfile(project) if project else None
        return names, content.read().decode() if content else ""


def _is_project(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/pyproject.toml")


def index_options(options: Sequence[str]) -> list[str]:
    """Those of the arguments for uv that are about indexes."""
    kept: list[str] = []
    skip = False
    for one in options:
        if skip or one in _ABOUT_BUILDS:
            skip = not skip
        elif not one.startswith(tuple(f"{name}=" for name in _ABOUT_BUILDS)):
            kept.append(one)
    return kept


def _allowed(path: Path, source: Source) -> bool:
    return _sha256(path) in source.hashes


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="partial-", dir=path.parent, delete=False) as file:
            try:
                yield file
                file.flush()
                Path(file.name).replace(path)
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise explain.disk(error, path) from None
