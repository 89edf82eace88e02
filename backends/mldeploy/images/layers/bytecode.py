"""Bytecode for a layer, made by the image's own Python so that it is the same on every machine.

Without it a container would compile every module anew at each start: seconds for numpy and pandas. What `compileall`
writes differs from run to run (marshal's references follow reference counts, and the order of a set follows the hash
seed), so here marshal's version 2 is written, which has no references, under a fixed seed. The files say that they
need not be checked against their source (PEP 552): it is in the same read-only layer.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mldeploy.errors import EnvironmentException
from mldeploy.images.builds.throwaway import throwaway

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.layers.layer import Layer

_FOLDER = ".mldeploy-bytecode"
_SECONDS = 600
_LAST_LINES = 20
_PROGRAM = Path(__file__).with_name("_compile.py")


def needs_none(path: str) -> bool:
    """Tells whether a module is never imported by a service: a package's own tests, half of its lines."""
    return bool({"tests", "test"}.intersection(Path(path).parts))


def place(module: str, python: str) -> str:
    """Where a module's bytecode is looked for.

    Examples:
        >>> place("lib/a.py", "3.11")
        'lib/__pycache__/a.cpython-311.pyc'
    """
    path = PurePosixPath(module)
    return str(path.parent / "__pycache__" / f"{path.stem}.cpython-{python.replace('.', '')}.pyc")


def compiled(
    client: DockerClient,
    image: str,
    interpreter: str,
    sources: Mapping[str, Path],
    below: Sequence[Layer] = (),
) -> dict[str, bytes]:
    """Compile modules in a container that has no network and no capabilities.

    Args:
        client: The engine.
        image: Of the container.
        interpreter: Its Python.
        sources: For each module's path in the image (without a leading slash), the file that has it.
        below: Layers to put on the image first, such as the interpreter's.

    Returns:
        For the path of each bytecode file, its content; nothing for what is no Python of this version.

    Raises:
        EnvironmentException: The interpreter does not run there.
        EngineException: The engine does not answer.
    """
    if not sources:
        return {}
    command = [interpreter, "-I", "-S", f"/{_FOLDER}/compile.py", f"/{_FOLDER}"]
    with throwaway(client, image, command, kind="bytecode", environment={"PYTHONHASHSEED": "0"}) as container:
        for layer in below:
            with layer.path.open("rb") as archive:
                container.put(archive)
        container.put(_packed(sources))
        ended = container.run(_SECONDS)
        if ended.code != 0:
            said = "\n".join((ended.err or ended.out).strip().splitlines()[-_LAST_LINES:])
            raise EnvironmentException(
                "the image's Python cannot compile the environment's modules",
                where=f"{interpreter} in {image}",
                reason=said or (f"exit code {ended.code}" if ended.code else f"not done within {_SECONDS} s"),
                hint="see whether that Python is whole: docker run --rm -it --entrypoint "
                f"{interpreter} {image} -c 'import marshal, importlib.util'",
            )
        return _unpacked(b"".join(container.get(f"/{_FOLDER}/out")))


def _packed(sources: Mapping[str, Path]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, file in (("compile.py", _PROGRAM), *((f"in/{path}", file) for path, file in sources.items())):
            info = tarfile.TarInfo(f"{_FOLDER}/{name}")
            content = file.read_bytes()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return {
            member.name.removeprefix("out/"): content.read()
            for member in files
            if (content := files.extractfile(member)) is not None
        }
