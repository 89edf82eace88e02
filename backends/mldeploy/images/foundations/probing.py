"""Which Python an image has: looked for in its files, then asked itself, in a container that needs no shell.

What was seen is kept by the image's id, so that a deployment that changed nothing starts no container for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mldeploy.errors import EnvironmentException
from mldeploy.images.builds.throwaway import Throwaway, throwaway
from mldeploy.packaging.pythons import PREFERRED, SUPPORTED
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.foundations.base import BaseImage

SECONDS = 60.0
"""What an interpreter may take to say what it is."""

USER = "1000:1000"
"""Who asks it: the user that services run as."""

_USUAL = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/conda/bin")
_LAST_LINES = 10

# old Pythons have to be able to run it too, to say that they are old
_PROGRAM = """
import json, os, platform, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    libc = ""
try:
    from importlib.metadata import distributions
    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
except ImportError:
    packages = {}
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "interpreter": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "libc": libc,
    "machine": platform.machine(),
    "site_packages": [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))],
    "present": sorted("%s==%s" % one for one in packages.items()),
}))
"""


@dataclass(frozen=True)
class Seen:
    """A Python of an image.

    Args:
        version: Its minor version, `3.11`.
        interpreter: Its path, links and virtual environments resolved.
        libc: `glibc 2.36`; empty where it is another one.
        machine: `x86_64`.
        site_packages: The folders of its packages.
        present: `NAME==VERSION` of each.
    """

    version: str
    interpreter: str
    libc: str
    machine: str
    site_packages: tuple[str, ...]
    present: tuple[str, ...]


def python_in(client: DockerClient, image: BaseImage, where: str, *, minor: str = "", managed: str = "") -> Seen:
    """Find the Python of an image.

    Args:
        client: The engine.
        image: The image.
        where: What it is called in errors.
        minor: The version to prefer, if there are several.
        managed: The interpreter that the user manages (`python.interpreterPath`): a path, or a name looked up on
            the image's `PATH`. Empty takes the first that the scoring server runs on.

    Returns:
        The Python; it may be of another version than `minor`.

    Raises:
        EnvironmentException: There is none, it does not run, or it is too old.
        EngineException: The engine does not answer.
    """
    memory = _memory(image.id, minor, managed)
    if seen := _recall(memory):
        return seen
    seen = _looked_for(client, image, where, minor, managed)
    _keep(memory, seen)
    return seen


def _looked_for(client: DockerClient, image: BaseImage, where: str, minor: str, managed: str) -> Seen:
    found: list[Seen] = []
    failed: list[tuple[str, str]] = []
    with throwaway(client, image.id, ["python"], kind="probe") as files:
        for path in _there(files, image, minor, managed):
            if any(path == one.interpreter for one in found):
                continue
            answer = _ask(client, image, path)
            if isinstance(answer, str):
                failed.append((path, answer))
            else:
                found.append(answer)
                if _fits(answer, minor):
                    return answer
    if good := next((one for one in found if _new_enough(one)), None):
        return good
    if found:
        raise _too_old(found[0], where)
    if failed:
        raise _broken(*failed[0], where)
    raise _none(image, where, managed)


def _fits(seen: Seen, minor: str) -> bool:
    return seen.version == minor if minor else _new_enough(seen)


def _there(files: Throwaway, image: BaseImage, minor: str, managed: str) -> Iterator[str]:
    """The interpreters that are among an image's files, in the order of preference."""
    if "/" in managed:
        names = [managed]
    elif managed:
        names = [managed, "python3"] if managed == "python" else [managed]
    else:
        usual = ["python3", "python", *(f"python{one}" for one in (PREFERRED, *SUPPORTED))]
        names = list(dict.fromkeys([f"python{minor}", *usual] if minor else usual))
    for name in names:
        for folder in [image.config.get("WorkingDir") or "/"] if "/" in name else _folders(image):
            path = str(PurePosixPath(folder, name))
            if files.has(path):
                yield path


def _folders(image: BaseImage) -> list[str]:
    variables = dict(line.partition("=")[::2] for line in image.config.get("Env") or ())
    on_path = [folder for folder in variables.get("PATH", "").split(":") if folder.startswith("/")]
    return list(dict.fromkeys([*on_path, *_USUAL]))


def _ask(client: DockerClient, image: BaseImage, path: str) -> Seen | str:
    """What an interpreter says of itself; why it says nothing, where it does not run."""
    with throwaway(client, image.id, [path, "-c", _PROGRAM], kind="probe", user=USER) as container:
        ended = container.run(SECONDS)
    if ended.code is None:
        return f"it did not answer within {SECONDS:g} s"
    try:
        if ended.code:
            raise ValueError
        return _seen(json.loads(ended.out.strip().splitlines()[-1]))
    except (ValueError, IndexError, KeyError, TypeError):
        last = "\n".join((ended.err or ended.out).strip().splitlines()[-_LAST_LINES:])
        return last or f"it ended with {ended.code}"


def _new_enough(seen: Seen) -> bool:
    return tuple(map(int, seen.version.split("."))) >= tuple(map(int, SUPPORTED[0].split(".")))


def _too_old(seen: Seen, where: str) -> EnvironmentException:
    return EnvironmentException(
        f"the image's Python is {seen.version}: a service runs on Python {', '.join(SUPPORTED)}",
        where=where,
        reason=f"{seen.interpreter} is Python {seen.version}",
        hint=f"an image with Python {PREFERRED}; or leave docker.baseImage out, for mldeploy's own base",
    )


def _broken(path: str, why: str, where: str) -> EnvironmentException:
    return EnvironmentException(
        f"the image's Python, {path}, does not run",
        where=where,
        reason=why,
        hint=f"it has to run as a user who is not root: docker run --rm --user {USER} --entrypoint {path} IMAGE -V",
    )


def _none(image: BaseImage, where: str, managed: str) -> EnvironmentException:
    if managed:
        return EnvironmentException(
            f"the interpreter {managed} does not exist in the image",
            where=where,
            reason=f"python.interpreterPath is {managed!r}; PATH there is {':'.join(_folders(image))}",
            hint="with userManagedDependencies, interpreterPath has to name a Python in the image",
        )
    return EnvironmentException(
        f"there is no Python in the image {image.reference}",
        where=where,
        reason=f"python3 and python were looked for in {', '.join(_folders(image))}",
        hint=f"an image with Python {PREFERRED}, or a docker.baseDockerfile that installs one: "
        "RUN apt-get update && apt-get install -y python3",
    )


def _memory(image: str, minor: str, managed: str) -> Path:
    key = hashlib.sha256("\0".join((image, minor, managed)).encode()).hexdigest()
    return cache_root() / "foundations" / f"{key}.json"


def _recall(memory: Path) -> Seen | None:
    try:
        return _seen(json.loads(memory.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seen(said: dict[str, object]) -> Seen:
    texts = {name: said[name] for name in ("version", "interpreter", "libc", "machine")}
    lists = {name: said[name] for name in ("site_packages", "present")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("not what the program prints")
    return Seen(**texts, **{name: tuple(value) for name, value in lists.items()})  # type: ignore[arg-type]


def _keep(memory: Path, seen: Seen) -> None:
    from mldeploy.packaging import explain

    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=memory.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(seen), file)
        Path(scratch).replace(memory)
    except OSError as error:
        raise explain.disk(error, memory) from None
