"""Requirements and conda files read into an environment that is whole by itself.

`-r` and `-c` are followed and relative paths made absolute, so that nothing has to lie beside the environment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mldeploy.errors import EnvironmentException

_INCLUDE = re.compile(r"^(-r|--requirement|-c|--constraint)(?:\s+|=|(?<=-[rc]))(?P<path>\S.*)$")
_LINKS = re.compile(r"^(?P<option>-f|--find-links)(?:\s+|=)(?P<path>\S.*)$")
_RELATIVE_FILE = re.compile(
    r"^(?!\w[\w+.-]*:|/)(?P<path>[^\s@;\[]*\.(?:whl|zip|tar\.gz)|\.{1,2}/[^\s;\[]*)(?P<rest>.*)$"
)


def read_requirements(path: Path) -> list[str]:
    """Read a requirements file with all it includes.

    Args:
        path: The file.

    Returns:
        Its lines without comments; the lines of a constraints file as `--constraint SPEC`.

    Raises:
        EnvironmentException: It, or a file it includes, cannot be read, or it includes itself.
    """
    return flatten(_lines(path), path.absolute().parent, (path.absolute(),))


def flatten(lines: list[str], base: Path, opened: tuple[Path, ...] = ()) -> list[str]:
    """Follow `-r` and `-c` in pip lines and make their relative paths absolute.

    Args:
        lines: Lines of a requirements file or of a conda file's `pip`.
        base: The folder that relative paths are relative to.
        opened: The files that are being read, outermost first.

    Returns:
        Lines that need no other file, but for wheels.

    Examples:
        >>> flatten(["numpy", "./wheels/mine-1.0-py3-none-any.whl"], Path("/home/me"))
        ['numpy', '/home/me/wheels/mine-1.0-py3-none-any.whl']
    """
    whole: list[str] = []
    for line in lines:
        include = _INCLUDE.match(line)
        if include and (not _bounds(include[1]) or (base / include["path"]).is_file()):
            whole += _included(include[1], base / include["path"], opened)
        else:
            whole.append(_absolute(line, base))
    return whole


def read_conda(path: Path) -> dict[str, Any]:
    """Read a conda environment file, its pip lines made whole.

    Args:
        path: A YAML (or JSON) file with `dependencies`.

    Returns:
        The mapping in it, as `CondaDefinition` takes it.

    Raises:
        EnvironmentException: It cannot be read, or is no conda file.
    """
    return whole_conda(read_mapping(path), path.absolute().parent, str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file with a mapping in it.

    Raises:
        EnvironmentException: It cannot be read, or is none.
    """
    import yaml

    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise EnvironmentException("this is not YAML", where=str(path), reason=str(error)) from None
    if not isinstance(content, dict):
        raise EnvironmentException(
            "this is no conda file: it has no mapping with a list 'dependencies'",
            where=str(path),
            hint="for a requirements file, Environment.from_pip_requirements",
        )
    return content


def whole_conda(content: Any, base: Path, where: str = "condaDependencies") -> dict[str, Any]:
    """Make the pip lines of a conda mapping whole.

    Args:
        content: What was read from a conda file.
        base: The folder that relative paths are relative to.
        where: What an error is about.

    Returns:
        A new mapping.

    Raises:
        EnvironmentException: It is no conda mapping.
    """
    if not isinstance(content, dict) or not isinstance(content.get("dependencies"), list):
        raise EnvironmentException(
            "this is no conda file: it has no mapping with a list 'dependencies'",
            where=where,
            hint="for a requirements file, Environment.from_pip_requirements",
        )
    dependencies = [
        {"pip": flatten([str(line) for line in entry["pip"]], base)}
        if isinstance(entry, dict) and entry.get("pip")
        else entry
        for entry in content.get("dependencies") or []
        if entry != {"pip": None}
    ]
    return {**content, "dependencies": dependencies}


def _included(option: str, path: Path, opened: tuple[Path, ...]) -> list[str]:
    if path in opened:
        raise EnvironmentException("this requirements file includes itself", where=str(path))
    lines = flatten(_lines(path), path.parent, (*opened, path))
    return [f"--constraint {line}" for line in lines] if _bounds(option) else lines


def _bounds(option: str) -> bool:
    return option in {"-c", "--constraint"}


def _absolute(line: str, base: Path) -> str:
    if links := _LINKS.match(line):
        return line if "://" in links["path"] else f"--find-links {(base / links['path']).as_posix()}"
    if local := _RELATIVE_FILE.match(line):
        return f"{(base / local['path']).as_posix()}{local['rest']}"
    return line


def _lines(path: Path) -> list[str]:
    joined = re.sub(r"\s*\\\r?\n\s*", " ", _text(path))
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EnvironmentException(
            f"{path} cannot be read", where=str(path), reason=error.strerror or str(error)
        ) from None
    except UnicodeDecodeError as error:
        raise EnvironmentException("this file is not UTF-8 text", where=str(path), reason=str(error)) from None
