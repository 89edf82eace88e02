"""From `Model.deploy` to Healthy, environment cached, and what the command adds: side by side in one run.

    python benchmarks/deploy.py [--rounds 7]

The script tells when its first line ran and when its `init()` was done; that time is the user's and is taken off.
What is left is ours: claim, package, layout, start of the server, and the wait until it is seen to be Healthy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mldeploy import CondaDependencies, Environment, InferenceConfig, Model, Workspace
from mldeploy.webservice import Webservice

SCRIPT = """
import time
began = time.time()
{imports}

def init():
    global took, weights
    weights = {weights}
    took = time.time() - began

def run(raw_data):
    return took
"""
SCRIPTS = {
    "echo": SCRIPT.format(imports="", weights="None"),
    "with-numpy": SCRIPT.format(imports="import numpy", weights="numpy.ones((10, 10))"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Model.deploy to Healthy, and what the command adds.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bench-deploy-") as folder:
        os.environ["MLDEPLOY_STORE"] = str(Path(folder) / "store")
        os.chdir(folder)
        ws = Workspace.default()
        print(f"median of {rounds} (lowest to highest), {os.cpu_count()} cores")
        for name in SCRIPTS:
            report(name, measure(ws, name, rounds))


def measure(ws: Workspace, name: str, rounds: int) -> dict[str, list[float]]:
    Path("score.py").write_text(SCRIPTS[name], encoding="utf-8")
    environment = Environment(name)
    environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["numpy"] if "numpy" in name else [])
    environment.save_to_directory(name)
    config = InferenceConfig("score.py", environment=environment)
    mldeploy = str(Path(sys.executable).with_name("mldeploy"))
    command = [mldeploy, "model", "deploy", "-n", name, "--es", "score.py", "--ed", name]

    def with_library() -> None:
        Model.deploy(ws, name, [], config).wait_for_deployment()

    def with_command() -> None:
        subprocess.run(command, check=True, capture_output=True)

    ways: dict[str, Callable[[], None]] = {"Model.deploy": with_library, "mldeploy model deploy": with_command}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_number in range(rounds + 1):
        for way, deploy in ways.items():
            began = time.perf_counter()
            deploy()
            whole = time.perf_counter() - began
            service: Any = Webservice(ws, name)
            if round_number:  # the first one resolves and installs the environment
                seconds[way].append(whole - service.run(""))
            service.delete()
    return seconds


def report(name: str, seconds: dict[str, list[float]]) -> None:
    print(f"{name}, beyond the script's own imports and init()")
    for way, times in seconds.items():
        print(f"  {way:22} {statistics.median(times):6.2f} s  ({min(times):.2f} to {max(times):.2f})")
    library, command = (statistics.median(times) for times in seconds.values())
    print(f"  Model.deploy to reach: 1 s; the command adds {command - library:.2f} s")


if __name__ == "__main__":
    main()
