"""Runs as a process of its own: what py-rattler does, asked for on stdin, told on stdout, each as lines of JSON.

On its own because a process that ends while py-rattler's threads are at work aborts (seen with 0.28), because only a
process can be stopped in the middle, and because a notebook has an event loop already. Imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rattler import (
    Channel,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    PackageRecord,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    Version,
    install,
    solve,
)
from rattler.channel import ChannelPriority
from rattler.config import Config
from rattler.install import InstallerReporter
from rattler.networking import Client
from rattler.package import BuildString
from rattler.package_cache import PackageCache
from rattler.repo_data import MultiSource

_NOWHERE = "https://foundation.invalid"  # the channel of the foundation's Python
_RETRIES = 2


class _Foundation:
    """A channel with one package: the image's own Python, for channels that have none."""

    def __init__(self, minor: str, subdir: str) -> None:
        self._subdir = subdir
        self._python = _python(minor, subdir)

    async def fetch_package_records(self, platform: Subdir, name: PackageName) -> list[RepoDataRecord]:
        return [self._python] if name.normalized == "python" and str(platform) == self._subdir else []

    def package_names(self, platform: Subdir) -> list[str]:
        return ["python"] if str(platform) == self._subdir else []


class _Progress(InstallerReporter):
    """How many packages are there, and whether what is downloaded goes on coming."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._total = self._done = self._downloads = 0
        self._heard = time.monotonic()

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_download_start(self, cache_entry: int) -> int:
        self._downloads += 1
        self._heard = time.monotonic()
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        self._heard = time.monotonic()

    def on_download_completed(self, download_idx: int) -> None:
        self._downloads -= 1

    def on_link_complete(self, index: int) -> None:
        self._done += 1
        _say({"done": self._done, "total": self._total})

    async def watch(self) -> None:
        """Fail once nothing has come for too long."""
        while not self._downloads or time.monotonic() - self._heard < self._patience:
            await asyncio.sleep(min(1.0, self._patience / 4))
        raise TimeoutError(f"timed out: nothing came for {self._patience:g} s")


async def _solve(asked: dict[str, Any]) -> dict[str, Any]:
    """The packages that answer the first of the attempts that has an answer."""
    platforms = [asked["subdir"], "noarch"]
    sources = [_source(name, urls) for name, urls in asked["sources"]]
    gateway = Gateway(
        cache_dir=Path(asked["cache"], "repodata"),
        # it is asked once for each lock, and a server's "not modified" is not understood everywhere (seen with 0.28)
        default_config=SourceConfig(cache_action="no-cache"),
        client=_client(asked["patience"]),
    )
    refused: Exception | None = None
    for bounds in asked["attempts"]:
        try:
            records = await solve(
                [*sources, _Foundation(asked["python"], asked["subdir"])],
                [_spec(line) for line in asked["specs"]],
                gateway=gateway,
                platforms=platforms,
                virtual_packages=[
                    GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
                    for name, version, build in asked["virtual"]
                ],
                constraints=[_spec(line) for line in bounds],
                channel_priority=ChannelPriority[asked["priority"]],
            )
            return {"records": [json.loads(one.to_json()) for one in records if not one.url.startswith(_NOWHERE)]}
        except Exception as error:
            if type(error).__name__ != "SolverError":
                raise
            refused = refused or error
    assert refused is not None
    return {"refused": str(refused), "there": await _there(gateway, sources, platforms, asked["specs"])}


async def _there(gateway: Gateway, sources: list[Any], platforms: list[Any], specs: list[str]) -> dict[str, list[str]]:
    """The versions that the channels have of what was asked for, in any order."""
    names = [name.normalized for spec in map(_spec, specs) if (name := spec.name.as_package_name()) is not None]
    found = await gateway.query(sources, platforms, names, recursive=False)
    versions: dict[str, list[str]] = {name: [] for name in names}
    for record in sorted((one for records in found for one in records), key=lambda one: one.version, reverse=True):
        known = versions.setdefault(record.name.normalized, [])
        if str(record.version) not in known:
            known.append(str(record.version))
    return versions


async def _install(asked: dict[str, Any]) -> dict[str, Any]:
    scratch = Path(asked["prefix"]).with_name("index.json")
    records = [_record(one, scratch) for one in asked["records"]]
    cache = PackageCache(Path(asked["cache"], "packages"))
    if asked["offline"]:
        index = await cache.index()
        far = [one.file_name for one in records if not index.contains_record(one) and not one.url.startswith("file:")]
        if far:
            return {"far": far}
    ignored: set[str] = set()
    if not any(one["name"] == "python" for one in asked["records"]):
        # where Python's packages belong is known from a record of it
        records.append(_python(asked["python"], asked["subdir"]))
        ignored.add("python")
    progress = _Progress(asked["patience"])  # type: ignore[abstract]  # the protocol's methods are empty, none is abstract
    installing = install(
        records,
        asked["prefix"],
        package_cache=cache,
        installed_packages=[],
        ignored_packages=ignored,
        platform=Subdir(asked["subdir"]),
        execute_link_scripts=False,
        client=_client(),
        reporter=progress,
        alternative_target_prefix=asked["final_prefix"],
    )
    works = {asyncio.ensure_future(installing), asyncio.ensure_future(progress.watch())}
    done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    for work in done:
        work.result()
    return {}


def _client(timeout: float | None = None) -> Client:
    # the user's configuration of py-rattler: mirrors, proxies, certificates, credentials
    config = Config.load_from_default_locations("mldeploy")
    return Client.from_config(config, max_retries=_RETRIES, timeout=math.ceil(timeout) if timeout else None)


def _source(name: str, urls: list[str]) -> Channel | MultiSource:
    return Channel(urls[0]) if len(urls) == 1 else MultiSource(name, [Channel(url) for url in urls])


def _spec(line: str) -> MatchSpec:
    return MatchSpec(line, strict=False)


def _python(minor: str, subdir: str) -> RepoDataRecord:
    file = f"python-{minor}.0-foundation_0.conda"
    record = PackageRecord(
        "python",
        f"{minor}.0",
        BuildString("foundation_0"),
        0,
        subdir,
        sha256=bytes(32),
        python_site_packages_path=f"lib/python{minor}/site-packages",
    )
    return RepoDataRecord(record, file, f"{_NOWHERE}/{subdir}/{file}", _NOWHERE)


def _record(said: dict[str, Any], scratch: Path) -> RepoDataRecord:
    scratch.write_text(json.dumps(said), encoding="utf-8")
    record = PackageRecord.from_index_json(scratch, said.get("size"), said["sha256"], said.get("md5"))
    return RepoDataRecord(record, said["fn"], said["url"], said["channel"])


def _say(event: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(event)}\n")
    sys.stdout.flush()


def _die_with_the_caller() -> None:
    sys.stdin.read()
    os._exit(1)


def _main() -> None:
    warnings.simplefilter("ignore")
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_the_caller, daemon=True).start()
    work: Coroutine[Any, Any, dict[str, Any]] = _install(asked) if "prefix" in asked else _solve(asked)

    async def answer() -> None:
        # said before the loop ends, which would wait for what still runs
        try:
            _say({"answer": await work})
        except Exception as error:  # all of py-rattler's own: told by their class and words
            _say({"error": type(error).__name__, "text": str(error)})
        sys.stderr.flush()
        os._exit(0)

    asyncio.run(answer())


if __name__ == "__main__":
    _main()
