"""An environment from wheels that are in the cache already, against `python -m venv` and pip: side by side in one run.

    python benchmarks/environment.py [--rounds 5] [--packages numpy scikit-learn pandas]

Both sides install the same versions, those of the lock, and both have been run once before, so that neither
downloads anything. pip gets what helps it: hashes left out, no dependency resolution, no byte code
(mldeploy compiles none either: Python does at the first import, for what is imported only).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mldeploy.environment import Environment
from mldeploy.packaging.environments import ResolvedEnvironment, install, resolve


class Locks(dict[str, str]):
    """A workspace's locks, in memory."""

    put = dict.__setitem__


def main() -> None:
    parser = argparse.ArgumentParser(description="An environment from a warm cache, against venv and pip.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packages", nargs="+", default=["numpy", "scikit-learn", "pandas"])
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-environment-", dir=arguments.folder)).absolute()
    os.environ["MLDEPLOY_CACHE"] = str(folder / "cache")
    try:
        environment = Environment("bench")
        if environment.python.conda_dependencies is not None:
            environment.python.conda_dependencies.set_pip_requirements(arguments.packages)
        report(measure(folder, resolve(environment, Locks()), arguments.rounds), arguments.packages)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, resolved: ResolvedEnvironment, rounds: int) -> dict[str, list[float]]:
    pins = re.findall(r"^[\w.\-\[\]]+==\S+", resolved.lock, re.MULTILINE)
    venv = folder / "venv"

    def with_pip() -> None:
        subprocess.run([resolved.interpreter, "-m", "venv", venv], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--disable-pip-version-check", *pins], check=True)

    def with_mldeploy() -> None:
        install(resolved)

    ways: dict[str, Callable[[], None]] = {"venv and pip": with_pip, "mldeploy": with_mldeploy}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if round_number:  # the first one warms the caches
                seconds[name].append(time.perf_counter() - began)
            shutil.rmtree(venv, ignore_errors=True)
            shutil.rmtree(folder / "cache" / "environments", ignore_errors=True)
    return seconds


def report(seconds: dict[str, list[float]], packages: list[str]) -> None:
    print(f"{', '.join(packages)}: median of {len(seconds['mldeploy'])} (lowest to highest), {os.cpu_count()} cores")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"{name:14} {medians[name]:6.2f} s  ({min(times):.2f} to {max(times):.2f})")
    print(f"mldeploy / venv and pip: {medians['mldeploy'] / medians['venv and pip']:.3f} (to reach: 0.333)")


if __name__ == "__main__":
    main()
