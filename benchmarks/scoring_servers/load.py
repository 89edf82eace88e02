"""Load by `wrk`: the generator that takes least of a machine that it shares with the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from scoring_servers.servers import Server, Unusable

_HERE = Path(__file__).parent


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
    seen = _seen(server, "load.lua", connections, seconds, str(body))
    if not seen["answers"]:
        raise Unusable("no answers")
    return _load(seen)


def mixed(server: Server, *, per_second: int, connections: int, seconds: int) -> Load:
    """Send good requests and bad ones for the script `mixed`, at a rate.

    Args:
        server: The server.
        per_second: Requests in a second; 0 is as many as can be.
        connections: How many at once.
        seconds: For how long.

    Raises:
        Unusable: An answer is missing, other than those that were under way at the end, or has an unexpected status.
    """
    seen = _seen(server, "mixed.lua", connections, seconds, str(per_second), str(connections))
    missing = {status: sent - seen["answered"].get(status, 0) for status, sent in seen["sent"].items()}
    if min(missing.values()) < 0 or sum(missing.values()) > connections or seen["answered"].keys() - missing.keys():
        raise Unusable(f"sent, by the status of their answers: {seen['sent']}; answered: {seen['answered']}")
    return _load(seen)


def _seen(server: Server, script: str, connections: int, seconds: int, *arguments: str) -> dict[str, Any]:
    target = f"http://127.0.0.1:{server.port}/score"
    line = [wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_HERE / script), target, "--", *arguments]
    printed = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    seen: dict[str, Any] = json.loads(re.findall(r"^seen (.*)", printed, re.MULTILINE)[-1])
    if seen["failed"]:
        raise Unusable(f"{seen['failed']} of {seen['answers']} requests failed")
    return seen


def _load(seen: dict[str, Any]) -> Load:
    return Load(seen["answers"] / seen["seconds"], seen["p50_ms"], seen["p99_ms"])
