"""Asking py-rattler, in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mldeploy.errors import EnvironmentException
from mldeploy.events import Progress, Report
from mldeploy.images.conda.channels import scrub
from mldeploy.store.places import cache_root

_PROGRAM = Path(__file__).with_name("_rattler.py")
PATIENCE_S = 180.0
"""How long an index may take to come, or a package to go on coming."""
_ABANDONED_S = 24 * 3600.0
INSTALL = "pip install 'pytest-mldeploy[conda]'"


class RattlerFailure(Exception):
    """py-rattler refused or failed.

    Args:
        kind: The name of its exception.
        text: Its words, without credentials.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


def ask(question: dict[str, Any], report: Report) -> dict[str, Any]:
    """Ask it, and wait for the answer.

    Args:
        question: What `_rattler.py` takes.
        report: Told how many packages are installed.

    Raises:
        EnvironmentException: py-rattler is not installed.
        RattlerFailure: It could not.
    """
    if find_spec("rattler") is None:
        raise EnvironmentException(
            "conda packages need py-rattler, which is not installed", where="condaDependencies", hint=INSTALL
        )
    _sweep(cache_root() / "conda" / "packages")
    asked = json.dumps({**question, "cache": str(cache_root() / "conda"), "patience": PATIENCE_S})
    # a file, for a pipe that nobody reads would stop it when it is full
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            answer = _heard(process, asked, report)
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError), process:
                pass
        if answer is not None:
            return answer
        complaints.seek(0)
        why = scrub(complaints.read()).strip() or f"it ended with {process.returncode}, without an answer"
        raise RattlerFailure("Ended", why)


def _heard(process: subprocess.Popen[str], asked: str, report: Report) -> dict[str, Any] | None:
    """The answer; None if it ends without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it ended at once: what it said is read by the caller
        process.stdin.write(f"{asked}\n")
        process.stdin.flush()  # and kept open: it ends when its stdin does
    for line in process.stdout:
        said = json.loads(line)
        if "error" in said:
            raise RattlerFailure(said["error"], scrub(said["text"]).strip())
        if "answer" in said:
            answer: dict[str, Any] = said["answer"]
            return answer
        report(Progress("install", said["done"], said["total"]))
    return None


def _sweep(packages: Path) -> None:
    """Remove what killed processes left half unpacked; py-rattler itself takes no notice of it."""
    for half in packages.glob(".*"):
        with suppress(OSError):
            if half.is_dir() and time.time() - half.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(half, ignore_errors=True)
