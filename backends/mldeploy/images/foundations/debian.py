"""The root that the base image is built on: `debian:bookworm-slim`, or the same made by debootstrap.

The one made here has a name of our own: nobody who says `debian:bookworm-slim` gets it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.engines.connection import asking, facts
from mldeploy.errors import EngineException, EnvironmentException, UserErrorException
from mldeploy.events import Notice, Report, Step
from mldeploy.images.registries import registry
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

OFFICIAL = "debian:bookworm-slim"
OURS = "mldeploy/debian:bookworm"
LABEL = "mldeploy.kind"
PATIENCE_S = 20.0
"""A registry that says nothing for so long is as good as none: Debian can be made here."""

_MINUTES = 15
_LAST_LINES = 12


def root(client: DockerClient, script: bytes, report: Report, *, refresh: bool = False) -> str:
    """The id of Debian's image, found, pulled or made.

    Args:
        client: The engine.
        script: The text of `base/debian`, which makes it by debootstrap.
        report: Told of each step.
        refresh: Pull or make it anew, although it is there.

    Raises:
        EnvironmentException: It can neither be pulled nor made here; says what to type.
        EngineException: The engine does not answer.
    """
    present = _id(client, OFFICIAL) or _ours(client)
    if present and not refresh:
        return present
    why = _pull(client, report)
    if not why and (found := _id(client, OFFICIAL)):
        return found
    return _debootstrap(client, script, why, report)


def _id(client: DockerClient, reference: str) -> str | None:
    from docker.errors import NotFound

    try:
        return str(asking(client.api.inspect_image, reference)["Id"])
    except NotFound:
        return None


def _ours(client: DockerClient) -> str | None:
    """The id of the one made earlier; an image of somebody else under that name is none."""
    found = _id(client, OURS)
    if found is None:
        return None
    labels = (asking(client.api.inspect_image, found).get("Config") or {}).get("Labels") or {}
    return found if labels.get(LABEL) == "debian" else None


def _pull(client: DockerClient, report: Report) -> str:
    """Pull the official image; why that cannot be done, in one line, or nothing."""
    try:
        registry.pull(client, OFFICIAL, report=report, patience=PATIENCE_S)
    except (EngineException, UserErrorException) as error:
        return error.message
    return ""


def _debootstrap(client: DockerClient, script: bytes, why: str, report: Report) -> str:
    _refuse_where_impossible(client, why)
    report(Notice(f"{why}: Debian is made here instead"))
    report(Step("image", "making Debian by debootstrap: about a minute, once"))
    folder = cache_root() / "debian"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left; the caller holds the lock
    folder.mkdir(parents=True)
    try:
        archive = _made(folder, script, facts(client).architecture)
        return _imported(client, archive)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_where_impossible(client: DockerClient, why: str) -> None:
    import platform

    here, there = platform.machine(), facts(client).architecture
    lacking = next(
        (
            reason
            for wrong, reason in (
                (shutil.which("debootstrap") is None, "debootstrap is not installed here"),
                (os.geteuid() != 0, "debootstrap needs root"),
                ({"x86_64": "amd64", "aarch64": "arm64"}.get(here, here) != there, f"the engine's machine is {there}"),
            )
            if wrong
        ),
        "",
    )
    if lacking:
        raise EnvironmentException(
            f"the base image's own base, {OFFICIAL}, can neither be pulled nor made here",
            where=OFFICIAL,
            reason=f"{why}\n{lacking}",
            hint=f"docker pull {OFFICIAL}; or as root on Debian: apt-get install debootstrap; mldeploy images build",
        )


def _made(folder: Path, script: bytes, architecture: str) -> Path:
    """The root as a tar file.

    In namespaces of its own, all of which ends with this process: debootstrap mounts /proc, and takes long.
    """
    (folder / "make").write_bytes(script)
    archive = folder / "root.tar"
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    command = [*alone, "--mount-proc", "sh", str(folder / "make"), str(folder / "root"), architecture]
    with archive.open("wb") as out, tempfile.TemporaryFile() as log:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, check=False, timeout=_MINUTES * 60
            )
            failed = f"it ended with {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            failed = f"it did not end within {_MINUTES} minutes"
        if failed:
            log.seek(0)
            last = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
            raise EnvironmentException(
                "debootstrap cannot make Debian's root",
                where=OURS,
                reason="\n".join([*last, failed]),
                hint=f"apt-get update has to work on this machine; or: docker pull {OFFICIAL}",
            )
    return archive


def _imported(client: DockerClient, archive: Path) -> str:
    import json

    changes = [f"LABEL {LABEL}=debian", 'CMD ["bash"]']
    answer = asking(client.api.import_image_from_file, str(archive), changes=changes)
    lines = [json.loads(line) for line in str(answer).splitlines() if line.strip()]
    made = str(lines[-1].get("status", "")) if lines else ""
    if not made.startswith("sha256:"):
        raise EngineException("the Docker engine does not take Debian's root", where=OURS, reason=str(answer).strip())
    repository, tag = OURS.split(":")
    asking(client.api.tag, made, repository, tag)
    return made
