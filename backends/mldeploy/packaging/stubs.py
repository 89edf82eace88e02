"""Wheels that only say that a distribution is there, for what uv cannot look up at an index.

What conda has installed may be nowhere on PyPI, or with other requirements there. A constraint on such a wheel's URL
makes uv take it for the one version there is: requirements of others are checked against it, and of its own only
those of its extras count.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

Provided = tuple[str, Sequence[str]]
"""`NAME==VERSION`, and the lines of its metadata about extras."""

_WHEEL = "Wheel-Version: 1.0\nGenerator: mldeploy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def written(folder: Path, provided: Iterable[Provided]) -> tuple[str, ...]:
    """Write the wheels.

    Args:
        folder: Where to.
        provided: What is there; names in their canonical form.

    Returns:
        A line for a constraints file each.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (line,) = written(Path(folder), [("gree-ter==0.3", [])])
        >>> line.split("://")[0], line.split("/")[-1]
        ('gree-ter @ file', 'gree_ter-0.3-py3-none-any.whl')
    """
    return tuple(f"{pin.partition('==')[0]} @ {_stub(folder, pin, lines).as_uri()}" for pin, lines in provided)


def _stub(folder: Path, pin: str, lines: Sequence[str]) -> Path:
    name, _, version = pin.partition("==")
    stem = f"{name.replace('-', '_')}-{version}"
    wheel = folder / f"{stem}-py3-none-any.whl"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *lines, ""]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata))
        archive.writestr(f"{stem}.dist-info/WHEEL", _WHEEL)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return wheel
