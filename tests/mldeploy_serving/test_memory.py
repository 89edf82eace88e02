from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve

glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told anything"
)
REQUESTS = 20
CONNECTIONS = 50
LARGE = b'"' + b"x" * 1_000_000 + b'"'


def _page_faults(pid: int) -> int:
    """Minor ones, so far: field 10 of proc_pid_stat(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def _most_mb(pid: int) -> int:
    """The most that was ever resident: VmHWM of proc_pid_status(5)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@glibc
def test_memory_of_large_requests_is_not_mapped_anew_for_each(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data): return len(data)\n")
    worker = service.process(service.worker_pid())
    assert worker is not None
    pids = (service.pid, worker.pid)
    for _ in range(REQUESTS):
        assert service.post(LARGE).json() == len(LARGE)
    before = [_page_faults(pid) for pid in pids]
    for _ in range(REQUESTS):
        service.post(LARGE)
    faults = [_page_faults(pid) - so_far for pid, so_far in zip(pids, before, strict=True)]
    assert max(faults) < 50 * REQUESTS  # 1 MB has 256 pages


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_bodies_go_with_their_connections(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data): return len(data)\n")
    before = _most_mb(service.pid)
    for _ in range(CONNECTIONS):
        assert service.ask("POST", data=LARGE, Connection="close").json() == len(LARGE)
    assert _most_mb(service.pid) - before < CONNECTIONS / 3
