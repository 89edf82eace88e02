"""Runs in a container: builds `FOLDER/source/*` as PEP 517 says, with the standard library alone.

`python build.py FOLDER SECONDS` writes the wheel to `FOLDER/out`, or ends with 3 and `FOLDER/out/requires.json`, where
the build asks for packages that are not there yet. Each hook gets a process of its own: a build changes its process.
"""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path

FOLDER = Path(sys.argv[1])
OUT = FOLDER / "out"
MISSING = 3


def main(seconds: int) -> int:
    """Unpack, ask what the build requires, and build."""
    # whoever started this may be dead by then; the first process of a container has no other end
    signal.signal(signal.SIGALRM, lambda *_: os._exit(124))
    signal.alarm(seconds)
    OUT.mkdir()
    unpack(next((FOLDER / "source").iterdir()), FOLDER / "unpacked")
    code = hook("get_requires_for_build_wheel")
    if code:
        return code
    there = {normal(one.metadata["Name"]) for one in distributions() if one.metadata["Name"]}
    # what was asked for already and is not there is for another Python, as its marker says
    asked_before = json.loads((FOLDER / "system.json").read_text())["requires"]
    besides = [line for line in json.loads(asked().read_text()) if line not in asked_before]
    if any(normal(re.split(r"[^\w.-]", line.strip())[0]) not in there for line in besides):
        return MISSING
    asked().unlink()
    return hook("build_wheel")


def asked() -> Path:
    """Where the packages stand that a build asks for besides."""
    return OUT / "requires.json"


def normal(name: str) -> str:
    """A name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a source distribution."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)  # noqa: S202 - it is built anyway, alone in a container
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(folder)  # noqa: S202 - it is built anyway, alone in a container


def hook(name: str) -> int:
    """Call one of the backend's functions in a process of its own."""
    return subprocess.run([sys.executable, __file__, str(FOLDER), "hook", name], check=False).returncode


def call(name: str) -> None:
    """Call one of the backend's functions; the current folder is the source's."""
    system = json.loads((FOLDER / "system.json").read_text())
    (source,) = (path for path in (FOLDER / "unpacked").iterdir() if path.is_dir())
    os.chdir(source)
    sys.path[:1] = [str(source / path) for path in system["path"]]  # this program's own folder is none of the build's
    module, _, attribute = system["backend"].partition(":")
    backend = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        backend = getattr(backend, part)
    if name == "build_wheel":
        backend.build_wheel(str(OUT), {}, None)
    else:
        asked().write_text(json.dumps(getattr(backend, name, lambda _: [])({})))


if __name__ == "__main__":
    if sys.argv[2] == "hook":
        call(sys.argv[3])
    else:
        sys.exit(main(int(sys.argv[2])))
