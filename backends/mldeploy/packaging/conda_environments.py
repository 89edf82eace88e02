"""Where a conda environment of this machine has its interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from mldeploy.errors import EnvironmentException


def interpreter_of(environment: str) -> str:
    """Find a conda environment's Python.

    Args:
        environment: Its name, or its folder.

    Returns:
        The interpreter's path.

    Raises:
        EnvironmentException: There is no conda, no such environment, or no Python in it.
    """
    folders = [Path(environment)] if os.sep in environment else _folders()
    found = [folder for folder in folders if folder.name == environment or str(folder) == environment]
    for folder in found:
        if (python := folder / "bin" / "python").is_file():
            return str(python)
    raise EnvironmentException(
        f"there is no conda environment {environment} with a Python in it",
        where=f"conda environment {environment}",
        hint=f"there are: {', '.join(folder.name for folder in folders) or 'none'}",
    )


def _folders() -> list[Path]:
    command = os.environ.get("CONDA_EXE") or next(
        filter(None, map(shutil.which, ("conda", "mamba", "micromamba"))), None
    )
    if command is None:
        raise EnvironmentException(
            "conda was not found",
            where="Environment.from_existing_conda_environment",
            reason="there is no conda, mamba or micromamba on PATH, and CONDA_EXE is not set",
            hint="set python.user_managed_dependencies and python.interpreter_path to a Python's path instead",
        )
    done = subprocess.run([command, "env", "list", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentException("conda does not list its environments", where=command, reason=done.stderr.strip())
    return [Path(folder) for folder in json.loads(done.stdout)["envs"]]
