"""`mldeploy doctor`: what deployments need, and whether it is here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import AzureMLException, EngineException
from mldeploy.runner import _exits
from mldeploy.runner._verbs import Verb, finish

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.engines.connection import EngineFacts

GOOD, FAIR, BAD = "ok", "warning", "failed"
REGISTRY_SECONDS = 5
_ROOM = 5e9  # bytes: an environment with the usual packages is 1 GB, and is there as layers and as an image
_UV_SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is.

    Args:
        check: What was looked at.
        status: `ok`, `warning` (deployments work, something does not) or `failed`.
        value: What was seen.
        hint: What to type or change; empty where nothing is wrong.
    """

    check: str
    status: str
    value: str
    hint: str = ""


@click.command("doctor", cls=Verb, columns=("check", "status", "value", "hint"), in_workspace=False)
@click.pass_context
def doctor(ctx: click.Context) -> list[dict[str, Any]]:
    """Look at what deployments need; exit code 8 where no Docker engine can be used."""
    findings = [*_this_machine(), *_engine()]
    if any(finding.status == BAD for finding in findings):
        finish(ctx, _exits.ENGINE if any(each.check == "engine" for each in findings if each.status == BAD) else 1)
    return [asdict(finding) for finding in findings]


def _this_machine() -> Iterator[Finding]:
    import platform
    from importlib.metadata import version

    from mldeploy.packaging.uv import UvFailure, run
    from mldeploy.store.places import cache_root

    yield Finding("mldeploy", GOOD, version("pytest-mldeploy"))
    yield Finding("python", GOOD, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        yield Finding("uv", GOOD, run("--version", timeout=_UV_SECONDS).strip().removeprefix("uv "))
    except (UvFailure, OSError) as error:
        yield Finding("uv", BAD, str(error), "install mldeploy again: it brings uv")
    yield _free("cache", cache_root())


def _engine() -> Iterator[Finding]:
    from mldeploy.engines.connection import connect, facts

    try:
        client = connect()
        seen = facts(client)
    except EngineException as error:
        told = ": ".join(text for text in (error.message, error.where, error.reason) if text)
        yield Finding("engine", BAD, told, error.hint)
        return
    yield Finding("engine", GOOD, f"{seen.name} {seen.version}, {seen.architecture}")
    yield from _facts(seen)
    if seen.local:
        yield _free("images", Path(seen.root_dir))
    else:
        yield Finding("images", GOOD, f"{seen.root_dir} on the engine's machine")
    yield _base(client)
    yield _registry(client)


def _facts(seen: EngineFacts) -> Iterator[Finding]:
    whole = seen.containerd_store or seen.name == "Podman"
    sent = "images are sent whole" if whole else "only new layers of images are sent"
    store = "containerd's store, " if seen.containerd_store else ""
    yield Finding("storage driver", GOOD, f"{seen.storage_driver}, {store}{sent}")
    yield Finding("cgroup version", GOOD, seen.cgroup_version)
    yield Finding("resources", GOOD, f"{seen.cpus} CPUs, {seen.memory / 1e9:.1f} GB of memory")
    yield Finding("gpu", GOOD, "can be asked for" if seen.gpu else "none")


def _free(check: str, folder: Path) -> Finding:
    """The free disk of a folder, or of where it will be."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(check, FAIR, f"{folder}: {error.strerror}")
    short = free < _ROOM
    return Finding(
        check,
        FAIR if short else GOOD,
        f"{free / 1e9:.1f} GB free in {folder}",
        "mldeploy images prune; docker system df" if short else "",
    )


def _base(client: DockerClient) -> Finding:
    from mldeploy.images.foundations.base import KIND, inspect, reference

    try:
        found = inspect(client, reference())
    except AzureMLException as error:
        return Finding("base image", BAD, error.message, error.hint)
    if found is None:
        return Finding("base image", GOOD, "not there yet: the first deployment that needs it makes it")
    if found.labels.get(KIND) != "base":
        return Finding("base image", BAD, f"{reference()} is not mldeploy's", f"docker rmi {reference()}")
    return Finding("base image", GOOD, f"{reference()}, {found.size / 1e6:.0f} MB")


def _registry(client: DockerClient) -> Finding:
    """Whether the engine reaches the registry that Debian's image comes from: the engine is asked, for it pulls."""
    import requests

    from mldeploy.images.foundations.debian import OFFICIAL

    api = client.api
    address = f"{api.base_url}/v{api.api_version}/distribution/{OFFICIAL}/json"
    try:
        answer = api.get(address, timeout=REGISTRY_SECONDS)
    except requests.Timeout:
        why = f"it has said nothing for {REGISTRY_SECONDS} s"
    except requests.RequestException as error:
        why = str(error)
    else:
        if answer.ok:
            return Finding("registry", GOOD, f"{OFFICIAL} can be pulled")
        why = _message(answer)
        if "not supported" in why:  # Podman
            return Finding("registry", GOOD, f"this engine does not tell whether {OFFICIAL} can be pulled")
    return Finding("registry", FAIR, f"{OFFICIAL} cannot be pulled: {why}", _without_registry())


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _without_registry() -> str:
    if shutil.which("debootstrap"):
        return "the base image is made by debootstrap (as root) instead; foreign images have to be loaded by hand"
    return "docker load an image from another machine, or as root on Debian: apt-get install debootstrap"
