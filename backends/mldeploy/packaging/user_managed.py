"""An interpreter that the user manages: used as it is, with only what the scoring server lacks put beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mldeploy.errors import EnvironmentException
from mldeploy.packaging.pythons import SUPPORTED, Python

PTH = "_user_managed.pth"
"""The file in an environment's site-packages that names those of the interpreter which its user manages."""

_INSPECT = """
import importlib.metadata, json, sys
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "base": getattr(sys, "_base_executable", sys.executable),
    "site": [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))],
    "packages": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]},
}))
"""


@dataclass(frozen=True)
class UserManaged:
    """What was found behind `interpreterPath`.

    Args:
        python: Its version, and the interpreter below it if it is a virtual environment's.
        site_packages: The folders its packages are in.
        present: `NAME==VERSION` of each package.
    """

    python: Python
    site_packages: tuple[str, ...]
    present: tuple[str, ...]


def inspect(interpreter_path: str) -> UserManaged:
    """Ask an interpreter what it has.

    Args:
        interpreter_path: `python.interpreterPath`: a path, or a name looked up on `PATH`.

    Returns:
        Version, folders and packages.

    Raises:
        EnvironmentException: There is no such interpreter, it does not run, or the scoring server does not run on it.
    """
    where = f"python.interpreterPath: {interpreter_path}"
    path = shutil.which(str(Path(interpreter_path).expanduser()))
    if path is None:
        raise EnvironmentException(
            f"the interpreter {interpreter_path} does not exist",
            where=where,
            hint="with userManagedDependencies, interpreterPath has to name a Python on this machine",
        )
    done = subprocess.run([path, "-c", _INSPECT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentException(
            f"the interpreter {interpreter_path} cannot be used",
            where=where,
            reason=done.stderr.strip()[-2000:],
            hint=f"a service runs on Python {', '.join(SUPPORTED)}",
        )
    found = json.loads(done.stdout)
    if tuple(map(int, found["version"].split("."))) < (3, 10):
        raise EnvironmentException(
            f"the interpreter {interpreter_path} is Python {found['version']}",
            where=where,
            hint=f"a service runs on Python {', '.join(SUPPORTED)}",
        )
    # two environments with equal packages are still two
    present = sorted(f"{name}=={version}" for name, version in found["packages"].items())
    return UserManaged(Python(found["version"], found["base"]), tuple(found["site"]), tuple(present))


def link(python: Path, site_packages: tuple[str, ...]) -> None:
    """Let an environment see the packages of another interpreter, after its own.

    Args:
        python: The environment's Python.
        site_packages: The folders; their `.pth` files (editable installs) count as well.
    """
    (own,) = python.parent.parent.glob("lib/python*/site-packages")
    (own / PTH).write_text(pth(site_packages), encoding="utf-8")


def pth(site_packages: tuple[str, ...]) -> str:
    r"""What `PTH` says in the site-packages of an environment that sees those of another interpreter.

    Examples:
        >>> pth(("/opt/theirs",))
        "import site; site.addsitedir('/opt/theirs')\n"
    """
    return "".join(f"import site; site.addsitedir({folder!r})\n" for folder in site_packages)
