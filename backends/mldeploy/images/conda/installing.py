"""Conda packages in a folder as they will be in the image, and the layer that is made of it.

py-rattler writes the image's prefix into the files while it installs them elsewhere, so no container is needed for
that, and none of the packages' programs runs here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mldeploy.errors import EnvironmentException
from mldeploy.events import Report, Step, silent
from mldeploy.images.conda import failures, rattling
from mldeploy.images.conda.locks import CondaLock, Inside
from mldeploy.images.layers import bytecode, layer
from mldeploy.images.layers.layer import Entry, Layer
from mldeploy.images.resolving import PREFIX
from mldeploy.packaging import conda_specs
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.foundation import Foundation

_LAYOUT = 1  # changes when the same lock makes another layer
_SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
_OF_THIS_MACHINE = {"extracted_package_dir", "package_tarball_full_path", "link"}
_SCRIPT = re.compile(r"bin/\.[^/]+-(?:post-link|pre-link)\.sh|etc/conda/activate\.d/[^/]+\.sh")
_METADATA = re.compile(r"lib/python[^/]*/site-packages/[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)")
_TIMED = bytes(4)  # PEP 552: a bytecode file that is good for a source of a certain time and size
_UNCHECKED = (1).to_bytes(4, "little")  # and one that is good for whatever source there is


def subdir(foundation: Foundation) -> str:
    """Conda's name of a foundation's platform.

    Raises:
        EnvironmentException: Conda has none.
    """
    machine = foundation.platform.partition("-")[0]
    if machine not in _SUBDIRS:
        raise EnvironmentException(f"conda has no packages for {foundation.platform}", where="condaDependencies")
    return _SUBDIRS[machine]


def look(records: list[dict[str, Any]], prefix: Path, foundation: Foundation, report: Report) -> dict[str, Inside]:
    """Fetch and install, to see what is in the packages.

    Args:
        records: What was decided.
        prefix: A folder that does not exist yet.
        foundation: What it is for.
        report: Told how many packages are there.

    Returns:
        For each name, the Python distributions in it, and its link and activation scripts.

    Raises:
        EnvironmentException: A package cannot be had, or is another one than its channel's index says.
    """
    _install(records, prefix, foundation, report)
    found: dict[str, Inside] = {}
    for noted in sorted((prefix / "conda-meta").glob("*.json")):
        said = json.loads(noted.read_text(encoding="utf-8"))
        files = sorted(said["files"])
        distributions = dict(one for file in files if _METADATA.fullmatch(file) and (one := _provided(prefix / file)))
        found[said["name"]] = (distributions, tuple(file for file in files if _SCRIPT.fullmatch(file)))
    return found


def layer_of(
    client: DockerClient,
    foundation: Foundation,
    lock: CondaLock,
    *,
    offline: bool = False,
    report: Report = silent,
) -> Layer:
    """Make the layer of an image's conda packages, unless it is in the cache.

    Args:
        client: The engine, whose containers compile what has no bytecode yet.
        foundation: What it stands on.
        lock: The packages.
        offline: Use only packages that are on this machine.
        report: Told of the step, if there is one, and of what the packages would need besides.

    Returns:
        The layer: everything below the environment's prefix, with the records in `conda-meta`. Without a Python in
        the lock there is none in the layer.

    Raises:
        EnvironmentException: A package cannot be had, or the disk is full; nothing half made is left.
    """
    named = f"conda {_LAYOUT} {lock.digest} {foundation.image.id} {foundation.interpreter}"
    if known := layer.cached(named):
        return known
    with alone(cache_root() / "layers" / "conda" / lock.digest, report), layer.staging() as folder:
        if known := layer.cached(named):
            return known
        report(Step("install", f"installing {len(lock.records)} conda packages"))
        prefix = folder / "env"
        records = [dict(one.record) for one in lock.records]
        _install(records, prefix, foundation, report, offline=offline)
        entries = {entry.path: entry for entry in _entries(prefix, lock)}
        created_by = f"conda: {', '.join(f'{one.name} {one.version}' for one in lock.records)}"
        code = _compiled(client, foundation, lock, entries, created_by)
        return layer.write(named, created_by, [*entries.values(), *code])


def _install(
    records: list[dict[str, Any]],
    prefix: Path,
    foundation: Foundation,
    report: Report,
    *,
    offline: bool = False,
) -> None:
    question = {
        "records": records,
        "python": foundation.python,
        "subdir": subdir(foundation),
        "prefix": str(prefix),
        "final_prefix": PREFIX,
        "offline": offline,
    }
    try:
        answer = rattling.ask(question, report)
    except rattling.RattlerFailure as failure:
        raise failures.failed(failure) from None
    if far := answer.get("far"):
        raise EnvironmentException(
            "conda packages are not on this machine, and no channel may be asked",
            where=f"condaDependencies: {', '.join(far)}",
            hint="leave out --offline once, so that they are fetched",
        )


def _entries(prefix: Path, lock: CondaLock) -> Iterator[Entry]:
    for folder, folders, files in os.walk(prefix):
        for name in sorted([*files, *(one for one in folders if Path(folder, one).is_symlink())]):
            here = Path(folder, name)
            inside = here.relative_to(prefix).as_posix()
            there = f"{PREFIX[1:]}/{inside}"
            if inside in {"CACHEDIR.TAG", "conda-meta/history"}:
                continue
            if here.is_symlink():
                yield Entry(there, link=str(here.readlink()))
            elif inside.startswith("conda-meta/"):
                yield Entry(there, _noted(here, lock))
            elif name.endswith(".pyc") and here.parent.name == "__pycache__":
                if code := _timeless(here):
                    yield Entry(there, code)
            else:
                yield Entry(there, here, 0o755 if os.access(here, os.X_OK) else 0o644)
    yield Entry(f"{PREFIX[1:]}/conda-meta/history", _history(lock))


def _noted(record: Path, lock: CondaLock) -> bytes:
    """A package's record without what is true of this machine only, and with what was asked for."""
    said = json.loads(record.read_text(encoding="utf-8"))
    kept = {key: value for key, value in said.items() if key not in _OF_THIS_MACHINE}
    kept["requested_specs"] = [spec for spec in lock.specs if conda_specs.name(spec) == said["name"]]
    return (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode()


def _history(lock: CondaLock) -> bytes:
    """The file by which conda tells an environment from a folder."""
    installed = [
        f"+{one.channel.rstrip('/')}/{one.subdir}::{one.name}-{one.version}-{one.build}" for one in lock.records
    ]
    specs = f"# update specs: {json.dumps(list(lock.specs))}"
    return "\n".join(["==> 1980-01-01 00:00:00 <==", *installed, specs, ""]).encode()


def _timeless(code: Path) -> bytes | None:
    """A package's own bytecode, good for a source whatever its time is; None if it was not made of that source."""
    content = code.read_bytes()
    source = code.parent.parent / f"{code.name.partition('.')[0]}.py"
    if content[4:8] != _TIMED or len(content) < 16:
        return content  # it goes by a hash already
    if not source.is_file() or source.stat().st_size != int.from_bytes(content[12:16], "little"):
        return None
    return content[:4] + _UNCHECKED + bytes(8) + content[16:]


def _compiled(
    client: DockerClient, foundation: Foundation, lock: CondaLock, entries: Mapping[str, Entry], created_by: str
) -> list[Entry]:
    """Bytecode for the modules that have none, by the environment's own Python."""
    version = ".".join((lock.python or foundation.python).split(".")[:2])
    sources = {
        path: entry.content
        for path, entry in entries.items()
        if path.endswith(".py")
        and isinstance(entry.content, Path)
        and f"/python{version}/" in path
        and bytecode.place(path, version) not in entries
        and not bytecode.needs_none(path)
    }
    if not sources:
        return []
    if lock.python is None:
        made = bytecode.compiled(client, foundation.image.id, foundation.interpreter, sources, below=foundation.layers)
    else:
        plain = layer.write(f"conda {_LAYOUT} without bytecode {lock.digest}", created_by, entries.values())
        try:
            made = bytecode.compiled(client, foundation.image.id, f"{PREFIX}/bin/python", sources, below=[plain])
        finally:
            plain.path.unlink(missing_ok=True)
    return [Entry(path, code) for path, code in sorted(made.items())]


def _provided(metadata: Path) -> tuple[str, list[str]] | None:
    """`NAME==VERSION` of a Python distribution and the lines about its extras; None where its metadata do not say."""
    said = HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"), headersonly=True)
    try:
        pin = f"{canonicalize_name(said['Name'])}=={Version(said['Version'])}"
    except (InvalidVersion, TypeError, AttributeError):
        return None
    optional = [line for line in said.get_all("Requires-Dist", []) if re.search(r";.*\bextra\b", line, re.DOTALL)]
    extras = [f"Provides-Extra: {line}" for line in said.get_all("Provides-Extra", [])]
    return pin, [*extras, *(f"Requires-Dist: {' '.join(line.split())}" for line in optional)]
