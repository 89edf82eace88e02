"""One question to `uv` (what was asked, for which Python and machine) and the lock that answers it."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.packaging import serving_wheel, stubs, uv
from mldeploy.packaging.requirements import local_files

if TYPE_CHECKING:
    from mldeploy.packaging.pythons import Python
    from mldeploy.packaging.requirements import Wanted
    from mldeploy.packaging.stubs import Provided

_HASH = re.compile(r"--hash=(\w+:[0-9a-f]+)")
_PLAIN_OUTPUT = (
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--quiet",
)


@dataclass(frozen=True)
class Question:
    """What is resolved once.

    Args:
        wanted: The packages asked for.
        python: The interpreter they are for.
        machine: Operating system and processor.
        present: `NAME==VERSION` of what the interpreter has already and keeps.
        platform: Where it is to be installed, as uv names it (`x86_64-manylinux_2_36`), if that is not this machine:
            the interpreter may be of another version then.
        sources: For another platform, whether source distributions will do where there is no wheel.
        provided: What is there too, and need not be at any index.
    """

    wanted: Wanted
    python: Python
    machine: str
    present: tuple[str, ...] = ()
    platform: str = ""
    sources: bool = False
    provided: tuple[Provided, ...] = ()

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """What tells uv of the platform; no arguments for this machine."""
        if not self.platform:
            return ()
        return (
            *("--python-version", self.python.version),
            *("--python-platform", self.platform),
            *(() if self.sources else ("--only-binary", ":all:")),
        )

    @property
    def key(self) -> str:
        """The lock's name in the workspace and in the cache: 64 hexadecimal digits.

        The interpreter's path is not in it, the bytes of local wheels are.
        """
        wheel = serving_wheel.serving_wheel()
        parts = [
            self.python.version,
            self.machine,
            self.wanted.requirements,
            self.wanted.constraints,
            self.wanted.options,
            self.wanted.filled,
            self.present,
            *(["sources"] if self.sources else []),
            *([self.provided] if self.provided else []),
            wheel.requires,
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in local_files(self.wanted)],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def answer(question: Question, *, offline: bool = False, refresh: bool = False) -> str:
    """Ask `uv` for the lock.

    Args:
        question: What to resolve.
        offline: Use only what uv has in its cache.
        refresh: Look at the indexes anew, whatever the cache says.

    Returns:
        Requirements with hashes: no index, no credentials, and not our own wheel.

    Raises:
        uv.UvFailure: It has no solution, or an index cannot be reached.
    """
    wheel = serving_wheel.serving_wheel()
    there = (*question.present, *(pin for pin, _ in question.provided))
    kept_out = [serving_wheel.NAME, *(pin.split("==")[0] for pin in there)]
    with tempfile.TemporaryDirectory(prefix="mldeploy-provided-") as folder:
        lock = compile_requirements(
            (*question.wanted.requirements, wheel.requirement(filled=question.wanted.filled)),
            (*question.wanted.constraints, *question.present, *stubs.written(Path(folder), question.provided)),
            question.python.interpreter,
            *_PLAIN_OUTPUT,
            *(argument for name in kept_out for argument in ("--no-emit-package", name)),
            *question.elsewhere,
            *question.wanted.options,
            *(["--offline"] if offline else []),
            *(["--refresh"] if refresh else []),
        )
    # an own `emit-…` in uv.toml must not carry an index into the lock
    plain = "".join(line for line in lock.splitlines(keepends=True) if not re.match(r"-|\s*#", line))
    return kept_to_hashes(plain, question.wanted.requirements)


def kept_to_hashes(lock: str, requirements: tuple[str, ...]) -> str:
    r"""Drop the hashes that the requirements do not allow; uv itself does not look at theirs when it resolves.

    Args:
        lock: Requirements with hashes.
        requirements: What was asked for.

    Returns:
        The lock; what was asked for without a hash is as it was.

    Raises:
        uv.UvFailure: None of a package's hashes is allowed.

    Examples:
        >>> lock = "a==1 \\\n    --hash=sha256:0a \\\n    --hash=sha256:0b\nb==1 \\\n    --hash=sha256:0c\n"
        >>> print(kept_to_hashes(lock, ("a==1 --hash=sha256:0b", "b")))
        a==1 \
            --hash=sha256:0b
        b==1 \
            --hash=sha256:0c
        <BLANKLINE>
    """
    for line in requirements:
        allowed = set(_HASH.findall(line))
        name = re.match(r"[\w.-]+", line)
        if not allowed or name is None:
            continue
        entry = re.compile(rf"^{_loose(name[0])}\b[^\n]*\\\n(?:    --hash=[^\n]*\n?)+", re.MULTILINE | re.IGNORECASE)
        if (found := entry.search(lock)) is None:
            continue
        kept = [digest for digest in _HASH.findall(found[0]) if digest in allowed]
        if not kept:
            raise uv.UvFailure(f"no file of {found[0].split()[0]} has a hash that the requirement allows: {line}")
        head = found[0].split(" \\\n")[0]
        lock = lock.replace(found[0], " \\\n".join([head, *(f"    --hash={digest}" for digest in kept)]) + "\n")
    return lock


def _loose(name: str) -> str:
    return re.sub(r"[-_.]+", "[-_.]+", name)


def compile_requirements(
    requirements: tuple[str, ...], constraints: tuple[str, ...], interpreter: str, *arguments: str
) -> str:
    """Run `uv pip compile`.

    Args:
        requirements: Lines to resolve.
        constraints: Lines that bound them.
        interpreter: The Python they are for.
        arguments: Further arguments.

    Returns:
        The lock.

    Raises:
        uv.UvFailure: It ended with an error.
    """
    with tempfile.TemporaryDirectory(prefix="mldeploy-resolve-") as scratch:
        asked, bounds, lock = (Path(scratch, name) for name in ("requirements.in", "constraints.in", "lock.txt"))
        asked.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        bounds.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        files = (str(asked), "--constraints", str(bounds), "--output-file", str(lock))
        uv.run("pip", "compile", *files, "--python", interpreter, *arguments)
        return lock.read_text(encoding="utf-8")
