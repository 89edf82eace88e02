"""Running `uv`: the user's configuration honoured, no credentials in what it is heard to say.

`uv.toml`, `UV_*` variables, netrc and keyring all keep their meaning, for nothing of the surroundings is
taken away from the process.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_USERINFO = re.compile(r"(?<=//)[^/@\s'\"]+@")
_SECRET_NAMES = re.compile(r"^UV_.*(PASSWORD|TOKEN|USERNAME)")


class UvFailure(Exception):
    """`uv` ended with an error.

    Args:
        output: What it said on stderr, without credentials.
    """

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


def scrub(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Take credentials out of a text.

    Args:
        text: What may have an URL with a user and a password in it.
        environ: Where `UV_*` passwords and tokens are known from; None takes the process' own.

    Returns:
        The text with `***` where there was one.

    Examples:
        >>> scrub("cannot fetch https://me:secret@index.example/simple", {})
        'cannot fetch https://***@index.example/simple'
        >>> scrub("401 for token s3cr3t-t0ken", {"UV_INDEX_TEAM_PASSWORD": "s3cr3t-t0ken"})
        '401 for token ***'
    """
    text = _USERINFO.sub("***@", text)
    for name, value in (os.environ if environ is None else environ).items():
        if _SECRET_NAMES.match(name) and len(value) > 3:
            text = text.replace(value, "***")
    return text


def run(*arguments: str, cwd: Path | None = None, timeout: float | None = None, **environ: str) -> str:
    """Run `uv` to its end.

    Args:
        arguments: Its command line, without the program.
        cwd: The folder it runs in, which relative paths in a requirements file refer to.
        timeout: Seconds after which it is stopped.
        environ: Variables it sees besides the process' own.

    Returns:
        Its stdout.

    Raises:
        UvFailure: It ended with an error, or not in time.
    """
    from uv import find_uv_bin

    process = subprocess.Popen(
        [find_uv_bin(), *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": _search_path(), "NO_COLOR": "1", "UV_NO_PROGRESS": "1", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException as error:
            process.kill()
            process.wait()  # subprocess.run would not: uv could go on writing where its caller sweeps
            if isinstance(error, subprocess.TimeoutExpired):
                raise UvFailure(f"uv {arguments[0]} was not done within {timeout:g} s") from None
            raise
    if process.returncode:
        raise UvFailure(scrub(err).strip())
    return out


def _search_path() -> str:
    """`PATH` with pyenv's interpreters ahead of its shims: uv stops at a shim whose version is not selected."""
    from pathlib import Path

    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    versions = [str(folder) for folder in sorted(root.glob("versions/*/bin"))]
    return os.pathsep.join([*versions, os.environ.get("PATH", os.defpath)])
