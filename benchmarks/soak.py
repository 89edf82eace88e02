"""The scoring server for ten minutes at half of what it can, good and bad requests mixed: what is lost, what grows.

    python benchmarks/soak.py [--minutes 10] [--ours PYTHON]

wrk sends good requests and those that a client or the script is to blame for; at the same time a client misbehaves in
every other way: it leaves before its answer, sends half a body or nothing that is HTTP, asks for what takes too long.
Every answer is checked. What the processes take is read whenever nothing is under way: ten times, after a warm-up in
which workers have died as well. Threads and open files must be as many as at the start, and memory must not grow: that
which is no file's, as what of a file counts as ours depends on who else has it open.

Ends with 1 where an answer is lost or wrong, or something has grown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from scoring_servers.load import mixed, wrk
from scoring_servers.misbehaviour import body, expect, misbehave
from scoring_servers.processes import Taken, taken
from scoring_servers.servers import Server, Unusable, ours

PERIODS = 10
CONNECTIONS = 32
TIMEOUT_MS = 100
PAUSE_S = 2.0  # while a request takes too long, all others wait: not all of the time
DEATHS = 5
REST_S = 5.0  # in which all that has been under way is closed
GROWTH_MB = 1.0
GROWTH = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description="The scoring server at half of its capacity for a long time.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--ours", type=Path, default=Path(sys.executable), help="interpreter that has mldeploy-serving")
    arguments = parser.parse_args()
    wrk()
    seconds = max(round(arguments.minutes * 60 / PERIODS), 2)
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        server = ours(arguments.ours, "mixed", Path(folder), SCORING_TIMEOUT_MS=str(TIMEOUT_MS))
        try:
            server.wait(body(0))
            well = _soak(server, seconds)
        except Unusable as error:
            raise SystemExit(f"an answer was lost or wrong: {error}") from error
        finally:
            server.stop()
    sys.exit(not well)


def _soak(server: Server, seconds: int) -> bool:
    """Whether all went well."""
    misbehave(server)  # so that all that is imported once is there
    start = _at_rest(server)
    for _ in range(DEATHS):
        expect(server, body(0, do="die"), 500)
    capacity = mixed(server, per_second=0, connections=8, seconds=3).per_second
    print(f"capacity {capacity:.0f} requests/s; {PERIODS} periods of {seconds} s at half of it, after a warm-up")
    print("period  requests/s  p50 ms  p99 ms  misbehaved  PSS MB  own MB  threads  files", flush=True)
    resting = [_period(server, number, int(capacity / 2), seconds, start) for number in range(PERIODS + 1)]
    return _judge(start, resting[1:])


def _period(server: Server, number: int, per_second: int, seconds: int, start: Taken) -> Taken:
    """Load for so many seconds; returns what is taken after it."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        misbehaving = pool.submit(lambda: sum(misbehave(server) for _ in iter(partial(over.wait, PAUSE_S), True)))
        try:
            seen = mixed(server, per_second=per_second, connections=CONNECTIONS, seconds=seconds)
        finally:
            over.set()
        times = misbehaving.result()
    rest = _at_rest(server, start)
    print(
        f"{number or 'warm':>6} {seen.per_second:11.0f} {seen.p50_ms:7.2f} {seen.p99_ms:7.2f} {times:11} "
        f"{rest.pss_mb:7.2f} {rest.own_mb:7.2f} {rest.threads:8} {rest.files:6}",
        flush=True,
    )
    return rest


def _at_rest(server: Server, before: Taken | None = None) -> Taken:
    """What is taken when nothing is under way; waits a little for what is being closed."""
    deadline = time.monotonic() + REST_S
    while True:
        time.sleep(0.2)
        rest = taken(server.pid)
        if time.monotonic() > deadline or (before is not None and rest.files <= before.files):
            return rest


def _judge(start: Taken, resting: list[Taken]) -> bool:
    first = statistics.median(each.own_mb for each in resting[:3])
    last = statistics.median(each.own_mb for each in resting[-3:])
    end = resting[-1]
    grown = {
        "own memory, MB, medians of the first and last three periods": (
            first,
            last,
            max(GROWTH_MB, first * GROWTH),
        ),
        "threads": (start.threads, end.threads, 0),
        "open files": (start.files, end.files, 0),
        "processes": (start.processes, end.processes, 0),
    }
    for what, (before, after, allowed) in grown.items():
        verdict = "has grown" if after - before > allowed else "no growth"
        print(f"{what}: {before:g} to {after:g}: {verdict}")
    print("no answer was lost, none was wrong")  # else `Unusable` had been raised
    return all(after - before <= allowed for before, after, allowed in grown.values())


if __name__ == "__main__":
    main()
