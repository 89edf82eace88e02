"""What the kernel says about memory: in a folder that looks like its own, and in a container that has a limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from mldeploy_serving.supervisor.memory_limit import MemoryLimit

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve

KILLED = -9
V1, V2 = 1, 2
NAMES = {V1: ("memory.oom_control", "memory.limit_in_bytes"), V2: ("memory.events", "memory.max")}
OTHERS = {V1: "oom_kill_disable 0\nunder_oom 0\n", V2: "low 0\nhigh 0\nmax 12\noom 3\n"}
NO_LIMIT = {V1: "9223372036854771712\n", V2: "max\n"}


class Kernel:
    """One version of cgroups, below `root`."""

    def __init__(self, root: Path, version: int) -> None:
        self.root = root
        self.mount = root / "memory" if version == V1 else root
        self.own = root.with_name("self-cgroup")
        self._version = version
        self.mount.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, killed: int, limit: str | None = None) -> None:
        """Write a cgroup's files."""
        counter, maximum = NAMES[self._version]
        folder = self.mount / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / counter).write_text(f"{OTHERS[self._version]}oom_kill {killed}\n")
        (folder / maximum).write_text(NO_LIMIT[self._version] if limit is None else f"{limit}\n")

    def limit(self, path: str) -> MemoryLimit:
        """As a process in that cgroup sees it; both versions are mounted, as systemd does it."""
        lines = ["9:name=systemd:/a", f"4:cpu,memory:{path}", "0::/b"] if self._version == V1 else [f"0::{path}"]
        self.own.write_text("".join(f"{line}\n" for line in lines))
        return MemoryLimit(self.own, self.root)


@pytest.fixture(params=[V1, V2])
def kernel(tmp_path: Path, request: pytest.FixtureRequest) -> Kernel:
    return Kernel(tmp_path / "cgroup", request.param)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (str(1 << 28), "out of memory: the limit is 0.25 GB"),
        (str(3 << 29), "out of memory: the limit is 1.5 GB"),
        ("100003840", "out of memory: the limit is 0.093 GB"),
        (None, "out of memory: killed by the kernel"),
    ],
)
def test_a_kill_that_was_counted_was_for_memory(kernel: Kernel, limit: str | None, reason: str) -> None:
    kernel.put("own", 2, limit)
    memory = kernel.limit("/own")
    assert memory.blamed_for(KILLED) == ""  # of before
    kernel.put("own", 3, limit)
    for status in (0, 3, -6, -11, -15):
        assert memory.blamed_for(status) == ""
    assert memory.blamed_for(KILLED) == reason


def test_what_was_killed_at_once_is_counted_once_and_nothing_later(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("mldeploy_serving.supervisor.memory_limit.time.monotonic", lambda: now)
    kernel.put("own", 0, "1073741824")
    memory = kernel.limit("/own")
    kernel.put("own", 1, "1073741824")
    assert [memory.blamed_for(KILLED) for _ in range(2)] == ["out of memory: the limit is 1 GB"] * 2
    now += 60
    assert memory.blamed_for(KILLED) == ""
    kernel.put("own", 2, "1073741824")
    assert memory.blamed_for(KILLED) == "out of memory: the limit is 1 GB"


def test_the_lowest_limit_above_counts_too(kernel: Kernel) -> None:
    kernel.put("", 0)
    kernel.put("slice", 0, "1000")
    kernel.put("slice/own", 0)
    assert kernel.limit("/slice/own").limit_bytes() == 1000
    kernel.put("slice/own", 0, "10")
    assert kernel.limit("/slice/own").limit_bytes() == 10


@pytest.mark.parametrize("path", ["/docker/5ee1364bdfc8", "/../../system.slice", "/"])
def test_a_container_sees_its_own_as_the_root(kernel: Kernel, path: str) -> None:
    kernel.put("", 0, "2147483648")
    memory = kernel.limit(path)
    kernel.put("", 1, "2147483648")
    assert memory.blamed_for(KILLED) == "out of memory: the limit is 2 GB"


def test_where_nothing_can_be_read_nothing_is_said(tmp_path: Path) -> None:
    for memory in (MemoryLimit(tmp_path / "none", tmp_path), Kernel(tmp_path, V2).limit("/a"), MemoryLimit()):
        assert memory.blamed_for(KILLED) == ""
    assert MemoryLimit(tmp_path / "none", tmp_path).limit_bytes() is None


@pytest.mark.parametrize("content", ["", "oom_kill\n", "oom_kill many\n", "low 1\n"])
def test_counters_of_another_kernel_say_nothing(tmp_path: Path, content: str) -> None:
    kernel = Kernel(tmp_path, V2)
    kernel.put("", 0)
    memory = kernel.limit("/")
    (tmp_path / "memory.events").write_text(content)
    assert memory.blamed_for(KILLED) == ""


LIMIT = 1 << 27
OUT_OF_MEMORY = "out of memory: the limit is 0.125 GB"
TAKES = "import os\ndef init(): {init}\ndef run(data): return [os.getpid(), len(b'x' * int(data))]\n"
in_a_container = pytest.mark.not_on("process", "a process has the machine's memory")


@in_a_container
@pytest.mark.holds("workers.out-of-memory", "workers.replaced")
@pytest.mark.parametrize("preload", ["false", "true"])
@pytest.mark.parametrize("contract", ["compatible", "v1"])
def test_a_run_that_takes_too_much(serve: Serve, contract: str, preload: str) -> None:
    service = serve(
        TAKES.format(init="pass"), memory=LIMIT, MLDEPLOY_CONTRACT=contract, WORKER_PRELOAD=preload, WORKER_COUNT="2"
    )
    service.wait_for_log("ready for serving traffic", times=2)
    assert "x-mldeploy-out-of-memory" not in service.ask("GET", "/").headers
    for number in (1, 2):
        assert service.post("1000").json()[1] == 1000
        if contract == "v1":
            with pytest.raises(requests.ConnectionError):
                service.post(str(10 * LIMIT))
        else:
            answer = service.post(str(10 * LIMIT))
            assert (answer.status_code, answer.json()) == (500, {"message": f"The worker has ended: {OUT_OF_MEMORY}."})
        service.wait_for_log(f"({OUT_OF_MEMORY}); another one is started", times=number)
        service.wait_for_log("ready for serving traffic", times=2 + number)
        assert service.ask("GET", "/").headers["x-mldeploy-out-of-memory"] == OUT_OF_MEMORY


@in_a_container
@pytest.mark.holds("workers.out-of-memory")
def test_an_init_that_takes_too_much(serve: Serve) -> None:
    service = serve(TAKES.format(init=f"len(b'x' * {10 * LIMIT})"), memory=LIMIT, wait=False)
    assert service.wait() == {"exit_code": -9, "reason": OUT_OF_MEMORY, "signal": 9, "returned": 137}
    assert f"The worker has ended with exit code -9: {OUT_OF_MEMORY}" in service.log()
