"""What uv installed, told apart by distribution: one part of an environment's layers each.

A part's digest follows from what the wheel's own RECORD says, so it is known before anything is copied. Left out is
what uv noted about this machine; scripts are written anew, for the interpreter that they find in the image.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution as Metadata
from importlib.metadata import distributions
from pathlib import Path, PurePath, PurePosixPath

from packaging.utils import canonicalize_name

from mldeploy.images.layers.layer import Entry

_NOTES = {"direct_url.json", "uv_cache.json", "RECORD", "REQUESTED", "INSTALLER"}
_SCRIPTS = {"console_scripts", "gui_scripts"}
# uv starts an interpreter by a shell where its path is too long, or has a space
_SHEBANG = re.compile(rb"\A#!(?:/bin/sh\n'''exec' .*\n' '''|.*python.*)")
_SCRIPT = """\
#!{python}
import sys
from {module} import {function}

sys.exit({call}())
"""


@dataclass(frozen=True)
class Distribution:
    """A distribution as it will be in an image.

    Args:
        name: In its canonical form.
        version: Its version.
        requires: The canonical names of what it may require.
        files: All of its files but RECORD.
        record: The path of that.
        size: Their bytes.
        digest: SHA-256 over their paths, contents and permissions, hexadecimal.
    """

    name: str
    version: str
    requires: frozenset[str]
    files: tuple[Entry, ...]
    record: str
    size: int
    digest: str

    def entries(self) -> Iterator[Entry]:
        """All of its files, with a RECORD that is true of them."""
        yield from self.files
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        site = PurePosixPath(self.record).parent.parent
        for entry in sorted(self.files, key=lambda entry: entry.path):
            writer.writerow([os.path.relpath(entry.path, site), f"sha256={_hash(entry)}", _size(entry)])
        writer.writerow([os.path.relpath(self.record, site), "", ""])
        yield Entry(self.record, rows.getvalue().encode())


@dataclass(frozen=True)
class _Place:
    prefix: PurePath
    site: PurePath


def installed(prefix: Path, site: Path, image_prefix: str, image_site: str) -> list[Distribution]:
    """The distributions in a folder that uv installed into, by name.

    Args:
        prefix: The folder.
        site: Its site-packages.
        image_prefix: What the folder will be called in the image, without a leading slash.
        image_site: Its site-packages there.
    """
    here, there = _Place(prefix, site), _Place(PurePosixPath(image_prefix), PurePosixPath(image_site))
    found = [_distribution(metadata, here, there) for metadata in distributions(path=[str(site)])]
    return sorted(found, key=lambda distribution: distribution.name)


def by_need(all_of_them: list[Distribution]) -> list[Distribution]:
    """Those that others require first, so that a change at the top leaves what is below as it was."""
    known = {distribution.name: distribution for distribution in all_of_them}
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            heights[name] = tallest = 0  # that is what a circle comes back to
            for below in sorted((known[name].requires & known.keys()) - {name}):
                tallest = max(tallest, 1 + height(below))
            heights[name] = tallest
        return heights[name]

    # by name first: where a circle begins must not depend on the order that they came in
    return sorted((known[name] for name in sorted(known)), key=lambda one: (height(one.name), one.name))


def _distribution(metadata: Metadata, here: _Place, there: _Place) -> Distribution:
    scripts = {point.name: point.value for point in metadata.entry_points if point.group in _SCRIPTS}
    files, record = [], ""
    digest = hashlib.sha256()
    for listed in sorted(metadata.files or (), key=str):
        file = Path(os.path.normpath(here.site / listed))
        path = str(
            there.site / file.relative_to(here.site)
            if file.is_relative_to(here.site)
            else there.prefix / file.relative_to(here.prefix)
        )
        if listed.parent.name.endswith(".dist-info"):
            if listed.name == "RECORD":
                record = path
            if listed.name in _NOTES:
                continue
        entry = _entry(file, path, scripts) if file.parent == here.prefix / "bin" else Entry(path, file, _mode(file))
        known = listed.hash.value if listed.hash and isinstance(entry.content, Path) else _hash(entry)
        digest.update(f"{path}\0{entry.mode:o}\0{known}\0".encode())
        files.append(entry)
    # by its name alone: old packages have versions in it that no standard allows
    required = {name[0] for line in metadata.requires or () if (name := re.match(r"[\w.-]*\w", line))}
    return Distribution(
        canonicalize_name(metadata.metadata["Name"]),
        metadata.version,
        frozenset(map(canonicalize_name, required)),
        tuple(files),
        record,
        sum(map(_size, files)),
        digest.hexdigest(),
    )


def _entry(file: Path, path: str, scripts: dict[str, str]) -> Entry:
    """A command, written for the interpreter beside it in the image."""
    python = f"/{PurePosixPath(path).parent}/python"
    if point := scripts.get(file.name):
        module, _, function = point.split("[")[0].strip().partition(":")
        text = _SCRIPT.format(python=python, module=module, function=function.split(".")[0], call=function)
        return Entry(path, text.encode(), 0o755)
    return Entry(path, _SHEBANG.sub(f"#!{python}".encode(), file.read_bytes()), _mode(file))


def _mode(file: Path) -> int:
    return 0o755 if os.access(file, os.X_OK) else 0o644


def _hash(entry: Entry) -> str:
    content = entry.content if isinstance(entry.content, bytes) else _path(entry).read_bytes()
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _size(entry: Entry) -> int:
    return len(entry.content) if isinstance(entry.content, bytes) else _path(entry).stat().st_size


def _path(entry: Entry) -> Path:
    assert isinstance(entry.content, Path)
    return entry.content
