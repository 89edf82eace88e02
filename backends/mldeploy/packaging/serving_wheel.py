"""The scoring server's own wheel, which mldeploy carries and every environment gets."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from mldeploy.errors import EnvironmentException

NAME = "mldeploy-serving"


@dataclass(frozen=True)
class ServingWheel:
    """The wheel as it lies in this installation of mldeploy.

    Args:
        path: The file.
        sha256: Of its bytes.
        requires: Its `Requires-Dist` lines: what a lock depends on.
    """

    path: Path
    sha256: str
    requires: tuple[str, ...]

    def requirement(self, *, filled: bool = False) -> str:
        """The line that asks for it.

        Args:
            filled: With what `azureml-defaults` brought to an entry script.
        """
        return f"{NAME}{'[azureml-defaults]' if filled else ''} @ {self.path.as_uri()}"


def serving_wheel() -> ServingWheel:
    """Find the wheel.

    Raises:
        EnvironmentException: This installation of mldeploy is broken: there is no wheel in it.
    """
    folder = files("mldeploy") / "_serving"
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name.startswith("mldeploy_serving-") and entry.name.endswith(".whl"):
            with as_file(entry) as path:
                return _read(path, path.stat().st_mtime_ns)
    raise EnvironmentException(
        "this installation of mldeploy lacks its scoring server",
        where=str(folder),
        hint="install it anew: uv pip install --reinstall pytest-mldeploy",
    )


@cache
def _read(path: Path, _changed: int) -> ServingWheel:
    with zipfile.ZipFile(path) as wheel:
        metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        text = wheel.read(metadata).decode()
    requires = tuple(line for line in text.splitlines() if line.startswith("Requires-Dist:"))
    return ServingWheel(path, hashlib.sha256(path.read_bytes()).hexdigest(), requires)
