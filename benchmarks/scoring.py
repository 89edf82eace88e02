"""The scoring server against the official one (azureml-inference-server-http): side by side, in turns, in one run.

    python benchmarks/scoring.py [--rounds 5] [--row small-c8 small-c1] [--ours PYTHON] [--official PYTHON]

Both serve the same entry scripts with one worker and one BLAS thread, and log their requests to a file, as each does
by default. Every round starts both anew and measures a row on one and at once on the other; who is first changes from
round to round. What is judged is the median of the rounds' ratios. wrk keeps connections alive; the official server
closes each, so that its requests contain a connect (but not its times to an answer: wrk's clock starts after that).

A round in which an answer was wrong, or missing, does not count, and this script then ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scoring_servers.load import load, wrk
from scoring_servers.processes import taken
from scoring_servers.servers import OFFICIAL, Server, Unusable, official, ours

PIXELS = [number % 16 / 16 for number in range(3 * 224 * 224)]  # multiples of 1/16: their sum is exact in any order
PROBE_PAUSE_S = 0.002

Starters = Mapping[str, Callable[[str], Server]]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: For `--row`.
        what: What is measured, and in which unit.
        script: The entry script.
        payload: What is posted: `small` or `tensor`.
        answer: What is answered to that; None where it varies.
        measure: Takes a server that has answered, and the file with the payload.
        limit: What has to be reached.
        at_least: The limit is one from below.
        absolute: It is one for our own figure; else for ours divided by the official server's.
    """

    name: str
    what: str
    script: str
    payload: str
    answer: list[float] | None
    measure: Callable[[Server, Path], float]
    limit: float
    at_least: bool = False
    absolute: bool = False


@dataclass(frozen=True)
class Round:
    """One round of one row: our figure and the official server's, or why they do not count."""

    row: str
    ours: float = 0
    official: float = 0
    unusable: str = ""


def _memory_mb(server: Server, body: Path) -> float:
    load(server, body, connections=8, seconds=1)
    return taken(server.pid).pss_mb


def _per_second(server: Server, body: Path) -> float:
    return load(server, body, connections=8, seconds=2).per_second


def _p50_ms(server: Server, body: Path, seconds: int) -> float:
    return load(server, body, connections=1, seconds=seconds).p50_ms


def _health_p99_ms(server: Server, _: Path, work: str) -> float:
    """`GET /` on new connections, one after the other, while `run()` computes."""
    times: list[tuple[float, float]] = []
    with ThreadPoolExecutor(1) as pool:
        scoring = pool.submit(server.ask, "POST", "/score", work.encode())
        while not scoring.done():
            begun = time.monotonic()
            status = server.ask("GET", "/")[0]
            times.append((begun, time.monotonic()))
            if status != 200:
                raise Unusable(f"GET / was answered with {status}")
            time.sleep(PROBE_PAUSE_S)
    status, answer = scoring.result()
    if status != 200:
        raise Unusable(f"run() was answered with {status}")
    since, until = json.loads(answer)
    took = sorted(end - begun for begun, end in times if begun < until and end > since)
    return took[-1 - len(took) // 100] * 1000


_SMALL = ("small", [27.5])
_TENSOR = ("tensor", [sum(PIXELS) / 2])
_ABSENT = ("small", None)
ROWS = (
    Row("start", "start to first answer, s", "dot", *_SMALL, lambda server, _: server.start_s, 1 / 2),
    Row("memory", "memory with numpy, PSS of all processes, MB", "dot", *_SMALL, _memory_mb, 0.6),
    Row("small-c8", "33 bytes, 8 connections, requests/s", "dot", *_SMALL, _per_second, 8, at_least=True),
    Row("small-c1", "33 bytes, 1 connection, p50, ms", "dot", *_SMALL, partial(_p50_ms, seconds=1), 1 / 3),
    Row("tensor-plain", "1 MB, undecorated, p50, ms", "dot", *_TENSOR, partial(_p50_ms, seconds=2), 1),
    Row("tensor-numpy", "1 MB, NumpyParameterType, p50, ms", "typed", *_TENSOR, partial(_p50_ms, seconds=2), 0.6),
    Row(
        *("health-matrix", "GET / during 1 s of matrix products, p99, ms", "busy", *_ABSENT),
        *(partial(_health_p99_ms, work="matrix"), 50),
        absolute=True,
    ),
    Row(
        *("health-python", "GET / during 1 s of Python, p99, ms", "busy", *_ABSENT),
        *(partial(_health_p99_ms, work="python"), 50),
        absolute=True,
    ),
)


def main() -> None:
    arguments = _arguments()
    wrk()
    if not arguments.official.exists():
        raise SystemExit(f"{arguments.official} does not exist: scripts/test-services installs the official server")
    rows = [row for row in ROWS if not arguments.row or row.name in arguments.row]
    with tempfile.TemporaryDirectory(prefix="bench-scoring-") as scratch:
        folder = Path(scratch)
        folder.joinpath("small").write_text('{"data":[[1,2,3,4,5,6,7,8,9,10]]}', encoding="ascii")
        folder.joinpath("tensor").write_text(_tensor(), encoding="ascii")
        starters: Starters = {
            "ours": lambda script: ours(arguments.ours, script, folder),
            "official": lambda script: official(arguments.official, script, folder),
        }
        rounds = list(_rounds(rows, starters, folder, arguments.rounds))
    _introduce(arguments)
    for row in rows:
        _report(row, [each for each in rounds if each.row == row.name and not each.unusable])
    unusable = [f"does not count: {each.row}: {each.unusable}" for each in rounds if each.unusable]
    print(*unusable, sep="\n", end="")
    sys.exit(bool(unusable))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The scoring server against the official one.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--row", nargs="+", default=[], choices=[row.name for row in ROWS], help="only these")
    parser.add_argument("--ours", type=Path, default=Path(sys.executable), help="interpreter that has mldeploy-serving")
    parser.add_argument("--official", type=Path, default=OFFICIAL, help="interpreter that has the official server")
    return parser.parse_args()


def _tensor() -> str:
    """An image of 3 x 224 x 224 as JSON with four decimals a number, 1 MB."""
    texts = [f"{pixel:.4f}" for pixel in PIXELS]
    lines = [f"[{','.join(texts[at : at + 224])}]" for at in range(0, len(texts), 224)]
    channels = [f"[{','.join(lines[at : at + 224])}]" for at in range(0, len(lines), 224)]
    return f'{{"data":[[{",".join(channels)}]]}}'


def _rounds(rows: Sequence[Row], starters: Starters, folder: Path, count: int) -> Iterator[Round]:
    for number in range(-1, count):
        names = sorted(starters, reverse=bool(number % 2))
        for script in dict.fromkeys(row.script for row in rows):
            its = [row for row in rows if row.script == script]
            first = (folder / its[0].payload).read_bytes()
            with _started({name: starters[name] for name in names}, script, first) as servers:
                for row in its if number >= 0 else ():  # the first start fills caches
                    yield _round(row, servers, folder / row.payload)


@contextmanager
def _started(starters: Starters, script: str, body: bytes) -> Iterator[dict[str, Server]]:
    """Servers with this script, started one after the other, that have answered this body."""
    servers: dict[str, Server] = {}
    try:
        for name, start in starters.items():
            servers[name] = start(script)
            servers[name].wait(body)
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def _round(row: Row, servers: Mapping[str, Server], payload: Path) -> Round:
    figures = {}
    try:
        for name, server in servers.items():
            _check(server, row, payload)
            figures[name] = row.measure(server, payload)
            _check(server, row, payload)
    except (Unusable, OSError) as error:
        return Round(row.name, unusable=f"{name}: {error}")
    return Round(row.name, figures["ours"], figures["official"])


def _check(server: Server, row: Row, payload: Path) -> None:
    if row.answer is None:
        return
    status, answer = server.ask("POST", "/score", payload.read_bytes())
    if status != 200 or json.loads(answer) != row.answer:
        raise Unusable(f"{status} {answer[:200]!r} instead of {row.answer}")


def _introduce(arguments: argparse.Namespace) -> None:
    print(f"median of {arguments.rounds} rounds (lowest to highest ratio), {os.cpu_count()} cores")
    for name, python, package in (
        ("ours", arguments.ours, "mldeploy_serving"),
        ("official", arguments.official, "azureml_inference_server_http"),
    ):
        code = f"import platform, {package} as server; print(platform.python_version(), server.__version__)"
        versions = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        print(f"{name}: {package} {versions[1]} on Python {versions[0]}")
    print(f"\n{'row':14} {'':45} {'ours':>9} {'official':>9} {'ratio':>8} {'':18} to reach")


def _report(row: Row, rounds: Sequence[Round]) -> None:
    if not rounds:
        print(f"{row.name:14} {row.what:45} no round counts")
        return
    own = statistics.median(each.ours for each in rounds)
    other = statistics.median(each.official for each in rounds)
    ratios = [each.ours / each.official for each in rounds]
    judged = own if row.absolute else statistics.median(ratios)
    reached = judged >= row.limit if row.at_least else judged <= row.limit
    noise = f"({min(ratios):.3f} to {max(ratios):.3f})"
    limit = f"{'>=' if row.at_least else '<='} {row.limit:.3g}{' ms' if row.absolute else ''}"
    print(
        f"{row.name:14} {row.what:45} {own:9.5g} {other:9.5g} {statistics.median(ratios):8.3f} {noise:18} "
        f"{limit}: {'reached' if reached else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
