"""Pins that no longer install moved to the nearest versions that do, in the file as its author wrote it.

Only the versions change: comments, order and spelling of everything else stay.
"""

from __future__ import annotations

import difflib
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from mldeploy.errors import EnvironmentException
from mldeploy.packaging import conda_specs, locking, pins, pythons, requirements, uv
from mldeploy.packaging.requirement_files import read_mapping, read_requirements, whole_conda

if TYPE_CHECKING:
    from collections.abc import Iterable

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9_][\w.-]*)(?P<extras>\[[^\]]*\])?\s*(?P<operator>===|==|=|~=|<=|<|\s)\s*\d")


@dataclass(frozen=True)
class Modernized:
    """A conda or requirements file, mended.

    Args:
        text: The new text; the old one if nothing had to change.
        diff: From the old to the new, unified; empty if nothing had to change.
    """

    text: str
    diff: str


@dataclass(frozen=True)
class _Pin:
    """A pinned package as it stands in the file.

    Args:
        written: Its text there.
        line: The requirement that pip would read.
        conda: Whether it is a conda specification.
    """

    written: str
    line: str
    conda: bool


def modernize(path: str | Path, *, offline: bool = False) -> Modernized:
    """Mend a conda or requirements file.

    Args:
        path: The file; it is not written. A conda file (`.yml`, `.yaml`), a config file with an environment in it
            (`.json`, or YAML too), or a requirements file (`.txt`, `.in`).
        offline: Use only what uv has in its cache.

    Returns:
        The new text and a unified diff.

    Raises:
        EnvironmentException: The file cannot be read, is none of these, or no versions of its packages go together.
    """
    path = Path(path)
    lines = _lines(path)
    python, changes = _python(lines, offline=offline)
    found = list(_pins(line for line in lines if line[0] not in changes))
    indexes = [requirements.read_pip_line(line).options for line, conda in lines if not conda and line.startswith("-")]
    options = (*itertools.chain(*indexes), *(["--offline"] if offline else []))
    changes |= _mended(found, python, options)
    old = path.read_text(encoding="utf-8-sig")
    new = _replaced(old, changes)
    diff = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), str(path), f"{path} (modernized)"
    )
    return Modernized(new, "".join(diff))


def _lines(path: Path) -> list[tuple[str, bool]]:
    """The requirements of a file, and whether each is conda's."""
    if path.suffix in {".txt", ".in"}:
        return [(line, False) for line in read_requirements(path)]
    if path.suffix not in {".yml", ".yaml", ".json"}:
        raise EnvironmentException(
            "this is neither a conda file nor a requirements file", where=str(path), hint="a .yml, .json or .txt file"
        )
    return _conda_lines(_conda(path))


def _conda(path: Path) -> dict[str, Any]:
    """The conda mapping of a file, or of the environment that a config file describes."""
    content = read_mapping(path)
    environment = content.get("environment", content)
    python = environment.get("python") if isinstance(environment, dict) else None
    if not isinstance(python, dict):
        elsewhere = content.get("condaFile")
    elif isinstance(python.get("condaDependencies"), dict):
        return whole_conda(python["condaDependencies"], path.absolute().parent, str(path))
    else:
        elsewhere = python.get("condaDependenciesFile")
    if elsewhere:
        raise EnvironmentException(
            "the packages are in another file", where=str(path), hint=f"mldeploy environment modernize {elsewhere}"
        )
    return whole_conda(content, path.absolute().parent, str(path))


def _conda_lines(conda: dict[str, Any]) -> list[tuple[str, bool]]:
    lines: list[tuple[str, bool]] = []
    for entry in conda["dependencies"]:
        if isinstance(entry, dict):
            lines += [(line, False) for line in entry.get("pip") or []]
        else:
            lines.append((str(entry), True))
    return lines


def _python(lines: Iterable[tuple[str, bool]], *, offline: bool) -> tuple[pythons.Python, dict[str, str]]:
    """The Python that is had, and the change to the line that asks for another."""
    for line, conda in lines:
        if conda and (spec := conda_specs.parse(line)).name == "python":
            asked = requirements.python_version(spec.version)
            try:
                return pythons.choose(asked, offline=offline), {}
            except EnvironmentException:
                near = pythons.nearest(asked or "3")
                return pythons.choose(near, offline=offline), {line: f"python={near}"}
    return pythons.choose(None, offline=offline), {}


def _pins(lines: Iterable[tuple[str, bool]]) -> Iterable[_Pin]:
    for line, conda in lines:
        if not _PINNED.match(line):
            continue
        if not conda:
            read = requirements.read_pip_line(line)
            if read.requirement:
                yield _Pin(line, read.requirement, conda=False)
            continue
        spec = conda_specs.parse(line)
        if pip_name := conda_specs.table().get(spec.name):
            yield _Pin(line, pip_name + spec.version, conda=True)


def _mended(found: list[_Pin], python: pythons.Python, options: tuple[str, ...]) -> dict[str, str]:
    """New text for each pin that has to change; together they resolve."""
    runs_from = pins.floors(pin.line for pin in found)
    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(lambda pin: pins.mend(pin.line, python.interpreter, options, runs_from), found))
    moved = {pin: line for pin, line in zip(found, new, strict=True) if line}
    kept = [pin.line for pin in found if pin not in moved]
    if _together((*kept, *moved.values()), python, options) is None:
        moved = _moved_together(found, moved, python, options)
    return {pin.written: _respelled(pin, line) for pin, line in moved.items()}


def _moved_together(
    found: list[_Pin], moved: dict[_Pin, str], python: pythons.Python, options: tuple[str, ...]
) -> dict[_Pin, str]:
    """Pins that install one by one but not together: first those that had to move float upwards, then all."""
    for floating in (list(moved), found):
        asked = [_floor(pin.line) if pin in floating else pin.line for pin in found]
        lock = _together(tuple(asked), python, options)
        if lock is not None:
            return {pin: f"{_bare(pin.line)}=={_version(lock, pin.line)}" for pin in floating}
    raise EnvironmentException(
        "no versions of these packages go together",
        where=", ".join(pin.written for pin in found),
        hint="leave out the pins that do not matter, and run this again",
    )


def _together(lines: tuple[str, ...], python: pythons.Python, options: tuple[str, ...]) -> str | None:
    try:
        return locking.compile_requirements(
            lines, (), python.interpreter, "--no-build", "--no-header", "--no-annotate", "--quiet", *options
        )
    except uv.UvFailure:
        return None


def _bare(line: str) -> str:
    requirement = Requirement(line)
    return requirement.name + (f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else "")


def _floor(line: str) -> str:
    versions = [specifier.version.removesuffix(".*") for specifier in Requirement(line).specifier]
    return f"{_bare(line)}>={versions[0]}" if versions else _bare(line)


def _version(lock: str, line: str) -> str:
    name = re.sub(r"[-_.]+", "[-_.]+", Requirement(line).name)
    match = re.search(rf"^{name}==(\S+)", lock, re.MULTILINE | re.IGNORECASE)
    return match[1] if match else ""


def _respelled(pin: _Pin, line: str) -> str:
    """A mended requirement, spelled as the file spelled it."""
    version = next(iter(Requirement(line).specifier)).version
    match = _PINNED.match(pin.written)
    if match is None:
        return line
    if pin.conda:
        return f"{match['name']}={version}"
    marker = pin.written.partition(";")[2]
    return f"{match['name']}{match['extras'] or ''}=={version}" + (f" ;{marker}" if marker else "")


def _replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        text, times = re.subn(rf"(?<![\w.\-\[]){re.escape(old)}(?![\w.*=])", new, text)
        if not times:
            raise EnvironmentException(
                f"{old} has to become {new}, but it is in a file that this one includes",
                where=old,
                hint="modernize that file first",
            )
    return text
