"""Clients that speak raw HTTP to the scoring server in every way, for minutes: the test's model, with other examples.

    python benchmarks/fuzz_scoring.py [--minutes 10] [--seed 1]

Each round of examples has a seed of its own. The first failure ends the program with 1, after the shortest steps that
lead to it and the seed that leads there again.
"""

from __future__ import annotations

import argparse
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.mldeploy_serving.test_raw_http import SCRIPT, Clients, done, wait_until_up

_ROUND = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Raw HTTP of every kind, for a long time.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the first round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-scoring-") as folder:
        (Path(folder) / "score.py").write_text(dedent(SCRIPT))
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            port = listener.getsockname()[1]
            log = Path(folder) / "log"
            server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mldeploy_serving", "--entry-script", "score.py"),
                    *("--fd", str(listener.fileno()), "--log-file", str(log)),
                ],
                cwd=folder,
                pass_fds=(listener.fileno(),),
            )
        try:
            wait_until_up(port)
            _fuzz(port, arguments.seed, time.monotonic() + arguments.minutes * 60)
            said = log.read_text()
        finally:
            server.terminate()
            server.wait()
    if server.returncode:
        sys.exit(f"the server has ended with exit code {server.returncode}")
    if "has failed" in said:
        sys.exit(said[said.index("has failed") :][:5000])


def _fuzz(port: int, first: int, until: float) -> None:
    """Rounds until the time is over; raises what a round does."""
    here = type("Here", (Clients,), {"port": port})
    for number in range(first, sys.maxsize):
        if time.monotonic() > until:
            break
        try:
            run_state_machine_as_test(seed(number)(here), settings=_ROUND)
        except BaseException:
            print(f"failed in the round with --seed {number}", flush=True)
            raise
        finally:
            print(
                f"seed {first} to {number}: {done['connections']} connections, {done['requests']} requests sent, "
                f"{done['answers']} answers checked",
                flush=True,
            )


if __name__ == "__main__":
    main()
