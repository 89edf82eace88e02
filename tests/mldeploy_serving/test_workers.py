"""Workers: how long a call may take, what becomes of requests when one ends, several of them, and preloading."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

# run() takes as long as the test wants: until the file exists; the first word says how
WAITING = """
import ctypes, os, pathlib, time
def init(): print("init in", os.getpid())
def run(data):
    print("begun", data, "in", os.getpid())
    how, _, name = data.partition(" ")
    if how == "held":
        lock = ctypes.create_string_buffer(64)
        for _ in range(2): ctypes.PyDLL(None).pthread_mutex_lock(lock)
    while name and not pathlib.Path(name).exists():
        try: time.sleep(0.005)
        except TimeoutError:
            if how != "swallow": raise
    if how == "kill": os.kill(os.getpid(), 9)
    if how == "segfault": ctypes.string_at(0)
    if how == "exit": os._exit(7)
    return [how, os.getpid()]
"""
READY = "ready for serving traffic"
LATE = {"message": "Scoring timeout after 200 ms"}


def pid_of(answer: requests.Response) -> int:
    pid: int = answer.json()[1]
    return pid


def begun(service: Service) -> list[str]:
    return re.findall(r"begun (.+) in \d+", service.log())


@pytest.mark.holds("run.process-ends", "workers.replaced")
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("kill", "killed by SIGKILL"),
        ("segfault", "killed by SIGSEGV"),
        ("exit", "ended by itself with exit code 7 (os._exit in the entry script?)"),
    ],
)
def test_a_worker_that_dies_is_replaced(serve: Serve, how: str, reason: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true")
    first = pid_of(service.post("a"))
    answer = service.post(how)
    assert (answer.status_code, answer.json()) == (500, {"message": f"The worker has ended: {reason}."})
    assert answer.headers["x-ms-run-function-failed"] == "True"
    assert pid_of(service.post("b")) != first
    assert f"Worker {first} has ended ({reason}); another one is started" in service.log()
    assert service.is_healthy()


@pytest.mark.holds("run.process-ends")
def test_under_v1_its_client_gets_no_answer(serve: Serve) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", MLDEPLOY_CONTRACT="v1")
    with pytest.raises(requests.ConnectionError):
        service.post("kill")
    assert service.post("a").status_code == 200


@pytest.mark.holds("workers.queue-kept")
def test_requests_that_were_not_begun_outlive_their_worker(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true")
    for _ in range(5):
        service.post("warm")  # calls are short: some are sent ahead
    dying = service.asking("kill go")
    service.wait_for_log("begun kill go")
    others = [service.asking(f"n{number}") for number in range(12)]
    service.wait_for_in_flight(13)
    (tmp_path / "app" / "go").touch()
    assert dying.result().status_code == 500
    assert [asking.result().json()[0] for asking in others] == [f"n{number}" for number in range(12)]
    assert len(begun(service)) == len(set(begun(service))) + 4  # none was begun twice


@pytest.mark.holds("workers.health", "workers.queue-kept")
def test_health_is_503_while_a_worker_is_replaced_and_its_init_runs(serve: Serve, tmp_path: Path) -> None:
    service = serve(
        WAITING.replace("def init(): ", "def init():\n    while os.path.exists('hold'): time.sleep(0.005)\n    "),
        MLDEPLOY_METRICS="true",
    )
    (tmp_path / "app" / "hold").touch()
    service.post("kill")
    answer = service.ask("GET", "/")
    assert (answer.status_code, answer.json()["message"].split(":")[0]) == (503, "The service is starting")
    asking = service.asking("kept")
    service.wait_for_in_flight(1)
    (tmp_path / "app" / "hold").unlink()
    assert asking.result().json()[0] == "kept"
    assert service.is_healthy()


@pytest.mark.holds("workers.init-fails-later")
def test_an_init_that_fails_later_ends_the_service(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING.replace("def init(): ", "def init():\n    assert not os.path.exists('broken')\n    "))
    (tmp_path / "app" / "broken").touch()
    assert service.post("kill").status_code == 500
    ended = service.wait()
    assert (ended["exit_code"], ended["reason"]) == (3, "init() failed: AssertionError (score.py, line 4)")


@pytest.mark.holds("workers.replaced")
def test_a_worker_that_dies_idle_is_replaced_too(serve: Serve) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true")
    first = pid_of(service.post("a"))
    service.kill(first)
    service.wait_for_log(f"Worker {first} has ended (killed by SIGKILL)")
    assert pid_of(service.post("b")) != first


@pytest.mark.holds("run.timeout", "timeout.on-time", "timeout.raised")
def test_the_scoring_timeout_is_answered_on_time_and_raised_in_the_script(serve: Serve) -> None:
    service = serve(
        "import time\ndef init(): pass\n"
        "def run(data):\n"
        "    try:\n        time.sleep(float(data))\n"
        "    except TimeoutError as error:\n        print('raised:', error)\n        raise\n"
        "    return data\n",
        SCORING_TIMEOUT_MS="200",
    )
    for _ in range(2):
        since = time.monotonic()
        answer = service.post("5")
        assert 0.2 <= time.monotonic() - since < 2
        assert (answer.status_code, answer.json()) == (500, LATE)
        assert answer.headers["x-ms-run-function-failed"] == "True"
        assert service.post("0").json() == "0"
    service.wait_for_log("raised: Scoring timeout after 200 ms")
    assert 'score.py", line 5, in run' in service.log()
    assert "in _interrupt" not in service.log()
    assert "is replaced" not in service.log()


@pytest.mark.holds("run.timeout", "timeout.swallowed")
def test_a_run_that_ignores_its_timeout_is_answered_and_never_overtaken(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", SCORING_TIMEOUT_MS="200", MLDEPLOY_SCORING_GRACE_MS="60000")
    assert service.post("swallow go").json() == LATE
    assert service.is_healthy()
    asking = service.asking("next")
    service.wait_for_in_flight(1)
    assert begun(service) == ["swallow go"]
    (tmp_path / "app" / "go").touch()
    assert asking.result().json()[0] == "next"


@pytest.mark.holds("timeout.grace", "timeout.on-time", "workers.queue-kept")
@pytest.mark.parametrize("how", ["swallow never", "held"])
def test_a_run_that_does_not_come_back_costs_its_worker_and_nobody_elses_request(serve: Serve, how: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", SCORING_TIMEOUT_MS="200", MLDEPLOY_SCORING_GRACE_MS="300")
    first = service.worker_pid()
    late = service.asking(how)
    service.wait_for_log(f"begun {how}")
    since = time.monotonic()
    asking = service.asking("kept")
    assert service.is_healthy()  # also while a C call keeps the interpreter
    assert late.result().json() == LATE
    assert pid_of(asking.result()) != first
    assert time.monotonic() - since < 5
    assert "in run" in service.log().partition("is replaced")[2]  # faulthandler's stack: where it was


@pytest.mark.holds("workers.timeout")
@pytest.mark.parametrize("contract", ["compatible", "v1"])
def test_the_workers_own_limit(serve: Serve, contract: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_TIMEOUT="1", MLDEPLOY_CONTRACT=contract)
    late = r"The worker has ended: run\(\) has worked for \d\.\d s \(WORKER_TIMEOUT\)\."
    if contract == "v1":
        with pytest.raises(requests.ConnectionError):
            service.post("swallow never")
    else:
        answer = service.post("swallow never")
        assert answer.status_code == 500
        assert re.fullmatch(late, answer.json()["message"])
    assert service.post("a").json()[0] == "a"


@pytest.mark.holds("timeout.off")
def test_no_scoring_timeout(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING, SCORING_TIMEOUT_MS="0", WORKER_TIMEOUT="0")
    asking = service.asking("a go")
    service.wait_for_log("begun a go")  # some time has gone by
    (tmp_path / "app" / "go").touch()
    assert asking.result().json()[0] == "a"


@pytest.mark.holds("http.client-gone")
def test_a_client_that_went_away_frees_no_place(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true")
    with service.connect() as client:
        client.sendall(b"POST /score HTTP/1.1\r\nContent-Length: 5\r\n\r\na go1")
        service.wait_for_log("begun a go1")
    asking = service.asking("next")
    service.wait_for_in_flight(2)
    assert begun(service) == ["a go1"]
    (tmp_path / "app" / "go1").touch()
    assert asking.result().json()[0] == "next"


@pytest.mark.holds("workers.count", "workers.preload", "start.init-once", "run.once")
@pytest.mark.parametrize("preload", ["false", "true"])
def test_several_workers_have_one_call_each(serve: Serve, tmp_path: Path, preload: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_COUNT="3", WORKER_PRELOAD=preload, wait=False)
    service.wait_for_log(READY, times=3)
    assert len(re.findall(r"init in \d+", service.log())) == (1 if preload == "true" else 3)
    asked = [service.asking(f"n{number} go") for number in range(7)]
    service.wait_for_in_flight(7)
    service.until(lambda: len(begun(service)) == 3, "three calls")
    assert len(begun(service)) == 3
    assert service.is_healthy()
    (tmp_path / "app" / "go").touch()
    assert len({pid_of(asking.result()) for asking in asked}) == 3


@pytest.mark.holds("workers.replaced", "workers.preload")
@pytest.mark.parametrize("preload", ["false", "true"])
def test_one_of_several_that_dies_is_replaced_without_a_503(serve: Serve, tmp_path: Path, preload: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_COUNT="2", WORKER_PRELOAD=preload, wait=False)
    service.wait_for_log(READY, times=2)
    seen: set[int] = set()
    while len(seen) < 2:
        held = [service.asking(f"{len(seen)}-{number} go") for number in range(2)]
        (tmp_path / "app" / "go").touch()
        seen |= {pid_of(asking.result()) for asking in held}
    for number in range(3):
        assert service.post("kill").status_code == 500
        assert service.is_healthy()
        service.wait_for_log(READY, times=number + 3)
    assert len(re.findall(r"init in \d+", service.log())) == (1 if preload == "true" else 5)


def test_a_template_that_dies_is_made_anew_with_its_workers(serve: Serve) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_COUNT="2", WORKER_PRELOAD="true")
    template = int(re.findall(r"init in (\d+)", service.log())[0])
    service.kill(template)
    service.until(lambda: len(re.findall(r"init in \d+", service.log())) == 2, "another template")
    assert service.post("a").json()[0] == "a"
    service.signal(signal.SIGTERM)
    assert service.wait()["returned"] == 0


@pytest.mark.holds("http.no-zombies")
@pytest.mark.parametrize("preload", ["false", "true"])
def test_nothing_is_left_of_several_workers(serve: Serve, preload: str) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_COUNT="2", WORKER_PRELOAD=preload, wait=False)
    service.wait_for_log(READY, times=2)
    family = psutil.Process(service.pid).children(recursive=True)
    service.signal(signal.SIGKILL)
    service.until(lambda: not any(each.is_running() and each.status() != "zombie" for each in family), "they live on")


def test_many_at_once_are_all_answered_by_few(serve: Serve) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true", WORKER_COUNT="2")
    asked = [service.asking(f"n{number}") for number in range(60)]
    assert sorted(asking.result().json()[0] for asking in asked) == sorted(f"n{number}" for number in range(60))


@pytest.mark.holds("run.once")
def test_run_is_called_on_the_main_thread_of_a_process_without_others(serve: Serve) -> None:
    service = serve(
        "import threading\ndef init(): pass\n"
        "def run(data):\n    return [threading.current_thread() is threading.main_thread(), threading.active_count()]"
    )
    assert service.post("").json() == [True, 1]


@pytest.mark.holds("workers.preload", "workers.replaced")
def test_a_template_that_dies_with_its_workers_is_replaced(serve: Serve) -> None:
    service = serve(WAITING, WORKER_PRELOAD="true", WORKER_COUNT="2")
    for times in range(1, 4):
        service.wait_for_log(READY, times=2 * times)
        asking = service.asking("a never")
        service.wait_for_log("begun a never", times)
        service.kill(int(re.findall(r"Process (\d+) has called init", service.log())[-1]))
        assert asking.result().status_code == 500
        service.wait_for_log(READY, times=2 * times + 2)
        assert service.post("b").json()[0] == "b"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
@pytest.mark.holds("workers.replaced", "workers.queue-kept")
@pytest.mark.parametrize("preload", ["false", "true"])
def test_a_worker_that_cannot_be_started_is_tried_again(serve: Serve, preload: str) -> None:
    service = serve(WAITING, WORKER_PRELOAD=preload)
    supervisor = psutil.Process(service.pid)
    try:
        limits = supervisor.rlimit(psutil.RLIMIT_NOFILE)
    except psutil.AccessDenied:
        pytest.skip("the limits of another user's process cannot be changed here (CAP_SYS_RESOURCE)")
    service.post("a")
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (0, limits[1]))
    assert service.post("kill").status_code == 500
    service.wait_for_log("A worker cannot be started, which is tried again: [Errno 24]")
    supervisor.rlimit(psutil.RLIMIT_NOFILE, limits)
    assert service.post("b").json()[0] == "b"


@pytest.mark.holds("workers.preload", "workers.replaced")
def test_a_worker_that_cannot_be_forked_is_tried_again(serve: Serve, tmp_path: Path) -> None:
    hindered = """
fork = os.fork
def fork_unless_hindered():
    if pathlib.Path("hinder").exists(): raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fork_unless_hindered
"""
    service = serve(WAITING + hindered, WORKER_PRELOAD="true", WORKER_COUNT="2")
    service.wait_for_log(READY, times=2)
    (tmp_path / "app" / "hinder").touch()
    assert service.post("kill").status_code == 500
    service.wait_for_log("it could not be forked: [Errno 11]")
    assert service.post("b").json()[0] == "b"  # the other worker lives on
    (tmp_path / "app" / "hinder").unlink()
    service.wait_for_log(READY, times=3)


def test_workers_that_were_replaced_leave_nothing_in_the_supervisor(serve: Serve) -> None:
    service = serve(WAITING, WORKER_PRELOAD="true")
    supervisor = psutil.Process(service.pid)

    def kept() -> tuple[int, int]:
        return supervisor.num_fds(), len(supervisor.children(recursive=True))

    service.post("a")
    before = kept()
    for _ in range(30):
        assert service.post("a").status_code == 200
        assert service.post("kill").status_code == 500
    assert service.post("a").status_code == 200
    assert kept() == before


def test_a_script_that_closes_all_files_is_told_so_and_replaced(serve: Serve) -> None:
    service = serve("import os\ndef init(): pass\ndef run(data): return data and os.closerange(3, 256)\n")
    assert service.post("a").status_code == 500
    service.wait_for_log("The entry script has closed a file descriptor that the service needs")
    assert service.post("").json() == ""
