"""What the command and the plugin cost before they do anything: side by side in one run.

    python benchmarks/runner.py [--rounds 15]

`pytest --collect-only` in an empty folder, with the plugin and with `-p no:mldeploy`, in turns: the difference of each
pair is what the plugin costs. Other plugins are left out: they only make both slower, and the difference uncertain.
`python -c pass` and `import click` show what no command of ours can be under.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path

from mldeploy import InferenceConfig, Model, Workspace

BIN = Path(sys.executable).parent
LIMITS_MS = {"mldeploy --help": 300, "mldeploy service show": 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description="The start of the command, and the plugin's cost.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bench-runner-") as folder:
        os.environ["MLDEPLOY_STORE"] = str(Path(folder) / "store")
        empty = Path(folder) / "empty"
        empty.mkdir()
        os.chdir(empty)
        script = Path(folder) / "score.py"
        script.write_text("def init(): pass\ndef run(data): return data\n", encoding="utf-8")
        service = Model.deploy(Workspace.default(), "bench", [], InferenceConfig(str(script)))
        try:
            service.wait_for_deployment()
            report(measure(commands(), rounds))
        finally:
            service.delete()


def commands() -> dict[str, list[str]]:
    command = str(BIN / "mldeploy")
    others = {point.name for point in entry_points(group="pytest11")} - {"mldeploy"}
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    collect += [word for name in sorted(others) for word in ("-p", f"no:{name}")]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "mldeploy --help": [command, "--help"],
        "mldeploy service show": [command, "service", "show", "bench"],
        "pytest, no plugin": [*collect, "-p", "no:mldeploy"],
        "pytest, plugin": collect,
    }


def measure(lines: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    milliseconds: dict[str, list[float]] = {name: [] for name in lines}
    for round_number in range(rounds + 1):
        for name, line in lines.items():
            began = time.perf_counter()
            subprocess.run(line, check="pytest" not in name, capture_output=True)  # pytest: 5, no tests
            if round_number:  # the first one fills the disk's cache
                milliseconds[name].append((time.perf_counter() - began) * 1000)
    return milliseconds


def report(milliseconds: dict[str, list[float]]) -> None:
    print(f"median of {len(milliseconds['python -c pass'])} (lowest to highest), {os.cpu_count()} cores")
    for name, times in milliseconds.items():
        limit = f"  to reach: {LIMITS_MS[name]} ms" if name in LIMITS_MS else ""
        print(f"{name:26} {statistics.median(times):6.0f} ms  ({min(times):.0f} to {max(times):.0f}){limit}")
    pairs = zip(milliseconds["pytest, plugin"], milliseconds["pytest, no plugin"], strict=True)
    print(
        f"the plugin, median of the differences: {statistics.median(a - b for a, b in pairs):.1f} ms  to reach: 20 ms"
    )


if __name__ == "__main__":
    main()
