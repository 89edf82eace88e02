"""Load by `wrk`: the generator that takes least of a machine that it shares with the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from scoring_servers.servers import Server, Unusable

_SCRIPT = Path(__file__).with_name("load.lua")


class Load(NamedTuple):
    """What a generator has seen.

    Args:
        per_second: Answers in a second.
        p50_ms: The median time to an answer, in milliseconds.
        p99_ms: The time that 1 % of the answers took longer than.
    """

    per_second: float
    p50_ms: float
    p99_ms: float


def wrk() -> str:
    """Where wrk is.

    Raises:
        SystemExit: It is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("this benchmark needs wrk: apt-get install wrk (Debian, Ubuntu) or brew install wrk")
    return found


def load(server: Server, body: Path, *, connections: int, seconds: int) -> Load:
    """Post the file `body` from so many connections at once, kept alive where the server lets them live.

    Raises:
        Unusable: There was an answer other than 200, none, or a broken connection.
    """
    target = f"http://127.0.0.1:{server.port}/score"
    line = [wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), target, "--", str(body)]
    printed = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    seen = json.loads(re.findall(r"^seen (.*)", printed, re.MULTILINE)[-1])
    if seen["failed"] or not seen["answers"]:
        raise Unusable(f"{seen['failed']} of {seen['answers']} requests failed")
    return Load(seen["answers"] / seen["seconds"], seen["p50_ms"], seen["p99_ms"])
