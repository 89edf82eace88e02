"""A model registered, against `cp`: side by side in one run.

    python benchmarks/register.py [--size-mb 1024] [--rounds 5] [--folder .]

Both return when the kernel has the bytes; `cp` followed by `sync` stands beside them for comparison.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mldeploy.model import Model
from mldeploy.workspace import Workspace

MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description="A model registered, against cp.")
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-register-", dir=arguments.folder))
    try:
        report(measure(folder, arguments.size_mb, arguments.rounds), arguments.size_mb)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, size_mb: int, rounds: int) -> dict[str, list[float]]:
    source, target, store = folder / "model.bin", folder / "copy.bin", folder / "store"
    with source.open("wb") as file:
        for _ in range(size_mb):
            file.write(os.urandom(MEGABYTE))

    def copy() -> None:
        subprocess.run(["cp", source, target], check=True)

    def copy_durably() -> None:
        copy()
        subprocess.run(["sync", target], check=True)

    def register() -> None:
        Model.register(ws, source, "model")

    ways: dict[str, Callable[[], None]] = {"cp": copy, "cp and sync": copy_durably, "Model.register": register}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            # Each begins with the same: the source in memory, nothing left to write, no copy there.
            ws = Workspace.create("bench", store=str(store))
            subprocess.run(["cat", source], stdout=subprocess.DEVNULL, check=True)
            os.sync()
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
            target.unlink(missing_ok=True)
            shutil.rmtree(store)
    return seconds


def report(seconds: dict[str, list[float]], size_mb: int) -> None:
    print(f"{size_mb} MB, median of {len(seconds['cp'])} (lowest to highest), {os.cpu_count()} cores")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"{name:16} {medians[name]:6.2f} s  ({min(times):.2f} to {max(times):.2f})")
    for name in ("cp", "cp and sync"):
        print(f"Model.register / {name}: {medians['Model.register'] / medians[name]:.2f}")


if __name__ == "__main__":
    main()
