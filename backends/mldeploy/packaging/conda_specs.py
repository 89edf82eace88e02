"""Conda packages that pip can satisfy, by a table; the others need an image.

A conda package is often more than the pip package of its name (compiled libraries, another name, nothing
on PyPI), so a name is taken only if the table has it. `docs/environments.md` shows the table.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mldeploy.errors import EnvironmentException

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPEC = re.compile(
    r"""^ (?:(?P<channel>[^\s:]+)::)?
        (?P<name>[A-Za-z0-9_][\w.-]*?) \s*
        (?: \[ \s* version \s*=\s* ['"]? (?P<bracket>[^'"\]]+) ['"]? \s* \]
          | (?P<version> [=<>!~\s] .*)? ) $""",
    re.VERBOSE,
)
_LEADING = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_][\w.-]*?)(?=[\s=<>!~\[]|$)")
_EXACT = re.compile(r"^={1,2}\s*(?P<version>[\w.!+*-]+)(?:=(?P<build>\S+))?$")


@dataclass(frozen=True)
class CondaSpec:
    """One line of a conda file's `dependencies`.

    Args:
        name: The package's name in conda.
        version: A pip version specifier; empty for any version.
        dropped: What has no counterpart in pip and was left out: a channel, a build string.
    """

    name: str
    version: str
    dropped: tuple[str, ...] = ()


def parse(line: str) -> CondaSpec:
    """Read one conda package specification.

    Args:
        line: As in a conda file: `numpy=1.26`, `numpy=1.26.4=py311h1`, `conda-forge::numpy>=1.2,<2`, `numpy 1.26`.

    Returns:
        Name and version as pip spells it. Conda's `=1.2` means any 1.2, its `==1.2` that one.

    Raises:
        EnvironmentException: The line is no package specification, or one that pip cannot say (`1.2|1.3`).

    Examples:
        >>> parse("numpy=1.26")
        CondaSpec(name='numpy', version='==1.26.*', dropped=())
        >>> parse("conda-forge::pandas=2.1.4=py311h1")
        CondaSpec(name='pandas', version='==2.1.4.*', dropped=('channel conda-forge', 'build py311h1'))
        >>> parse("scipy >=1.10,<2").version
        '>=1.10,<2'
    """
    match = _SPEC.match(line.strip())
    if match is None:
        raise _unreadable(line)
    version, build = _version(match["bracket"] or match["version"] or "")
    name = match["name"].lower()
    try:
        Requirement(f"x{version}")
    except InvalidRequirement:
        raise _unreadable(line) from None
    kinds = (("channel", match["channel"]), ("build", build))
    return CondaSpec(name, version, tuple(f"{kind} {value}" for kind, value in kinds if value))


def name(line: str) -> str:
    """Read only the name, also where pip could not say the rest.

    Args:
        line: One conda package specification.

    Returns:
        The package's name in lower case; empty where there is none.

    Examples:
        >>> name("conda-forge::RDKit[version='>=2020|2019.3']"), name("https://host.example/x.conda")
        ('rdkit', '')
    """
    match = _LEADING.match(line.strip())
    return match["name"].lower() if match else ""


def bounds(requirements: Iterable[str]) -> tuple[str, ...]:
    """What conda may not contradict where pip has asked for a version.

    Args:
        requirements: Lines of pip's.

    Returns:
        A conda specification for each conda package of the table that is the same; nothing of what cannot be said to
        conda: a URL, a marker, a name with nothing asked of its version. A package outside the table may be another
        one in conda under the same name (`cmake`).

    Examples:
        >>> bounds(["scipy>=1.10,<2 --hash=sha256:0a", "torch==2.5.1", "six", "cmake==3.31"])
        ('scipy >=1.10,<2', 'pytorch ==2.5.1', 'pytorch-cpu ==2.5.1')
    """
    found = []
    for line in requirements:
        try:
            asked = Requirement(re.split(r"\s--", line)[0])
        except InvalidRequirement:
            continue
        if asked.url or asked.marker or not asked.specifier or "===" in str(asked.specifier):
            continue
        pip_name = canonicalize_name(asked.name)
        names = {conda for conda, pip in table().items() if pip and canonicalize_name(pip) == pip_name}
        version = ",".join(sorted(map(str, asked.specifier), reverse=True))
        found += [f"{conda} {version}" for conda in sorted(names)]
    return tuple(found)


@cache
def table() -> dict[str, str]:
    """The pip package for each conda package that pip can satisfy.

    Returns:
        From conda's name to pip's; an empty text where nothing is to be installed (`pip`, `nomkl`).

    Examples:
        >>> table()["pytorch"], table()["numpy"], table()["pip"]
        ('torch', 'numpy', '')
    """
    data = json.loads((files("mldeploy.packaging") / "conda_packages.json").read_text(encoding="utf-8"))
    renamed: dict[str, str] = data["renamed"]
    return {name: name for name in data["equal"]} | renamed


def _version(text: str) -> tuple[str, str]:
    """Conda's version part in pip's spelling, and the build string that is left over."""
    text = text.strip()
    if not text or text == "*":
        return "", ""
    version, _, build = text.partition(" ")
    if text[0] in "=0123456789":
        exact = _EXACT.match(version if version[0] == "=" else f"={version}")
        if exact is None:
            return text, ""
        return _equal(exact["version"], loose=not version.startswith("==")), exact["build"] or build.strip()
    return "".join(text.split()), ""


def _equal(version: str, *, loose: bool) -> str:
    if version == "*":
        return ""
    if loose and not version.endswith("*"):
        return f"=={version}.*"
    return f"=={re.sub(r'[.]?[*]$', '.*', version)}"


def _unreadable(line: str) -> EnvironmentException:
    return EnvironmentException(
        f"{line!r} cannot be read as a conda package that pip could install",
        where=f"condaDependencies: {line}",
        hint="write NAME, NAME=VERSION or NAME>=VERSION",
    )
