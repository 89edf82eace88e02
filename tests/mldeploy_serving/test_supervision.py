"""Supervisor and worker: how they start, time out, stop and die."""

from __future__ import annotations

import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from mldeploy_serving.supervisor.command import main
from mldeploy_serving.supervisor.rotation import RotatedLog

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve

RUN = "def run(data): return data\n"
ECHO = "def init(): pass\n" + RUN
# run() takes as long as the test wants: until the file exists
WAITING = """
import pathlib, time
def init(): pass
def run(data):
    print("begun", data)
    while not pathlib.Path(data).exists():
        time.sleep(0.005)
    return "done"
"""


@pytest.mark.holds("start.starting", "log.print", "log.format")
def test_it_says_that_it_is_starting_until_init_is_done(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING.replace("def init(): pass", "def init(): run('go')"), wait=False)
    service.wait_for_log("begun go")
    for path in ("/", "/score", "/swagger.json"):
        answer = service.ask("GET", path)
        assert (answer.status_code, answer.json()["message"].split(":")[0]) == (503, "The service is starting")
    (tmp_path / "app" / "go").touch()
    service.wait_until_healthy()
    line = next(line for line in service.log().splitlines() if "begun go" in line)
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(rf"{stamp} I \[\d+\] mldeploy.print - 00000000-0000-0000-0000-000000000000 begun go", line)


@pytest.mark.holds("http.health-under-load")
def test_health_is_answered_while_run_computes(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING)
    asking = service.asking("go")
    service.wait_for_log("begun go")
    assert service.is_healthy()
    (tmp_path / "app" / "go").touch()
    assert asking.result().json() == "done"


@pytest.mark.holds("log.line", "log.print")
def test_a_request_leaves_one_line_and_prints_carry_its_id(serve: Serve) -> None:
    service = serve("def init(): pass\ndef run(data): print('seen', data, sep='-')")
    service.ask("POST", "/score?secret=1", "x", x_request_id="the-id", Authorization="Bearer hidden")
    service.wait_for_log("POST /score")
    own = [line.split(" - ", 1)[1] for line in service.log().splitlines() if "the-id" in line]
    assert own[0] == "the-id seen-x"
    assert re.fullmatch(r"the-id POST /score 200 \d+\.\d{3}ms 2", own[1])
    assert len(own) == 2
    assert "hidden" not in service.log()
    assert "secret" not in service.log()


@pytest.mark.holds("log.line")
def test_swagger_documents_leave_a_line_and_health_leaves_none(serve: Serve) -> None:
    service = serve(ECHO)
    for path in ("/", "/nope", "/swagger.json"):
        service.ask("GET", path)
    service.wait_for_log("GET /swagger.json 200")
    assert re.findall(r"GET (\S+)", service.log()) == ["/swagger.json"]


@pytest.mark.holds("log.logging")
def test_logging_of_the_scripts_own(serve: Serve) -> None:
    service = serve(
        "import logging\ndef init(): pass\n"
        "def run(data):\n"
        "    logging.info('before %s', data)\n"
        "    logging.warning('warned %s', data)\n"
        "    logging.basicConfig(level=logging.INFO, format='mine %(message)s', force=True)\n"
        "    logging.info('after %s', data)\n"
    )
    service.post("a")
    service.wait_for_log("\nmine after a\n")
    assert "warned a" in service.log()
    assert "before a" not in service.log()


@pytest.mark.holds("log.format")
def test_the_log_is_in_utc(serve: Serve) -> None:
    service = serve(ECHO, TZ="XYZ-11")
    service.post("a")
    service.wait_for_log("POST /score")
    stamps = re.findall(r"^\S+ \S+(?=,\d{3} )", service.log(), re.MULTILINE)
    now = datetime.datetime.now(datetime.timezone.utc)
    assert len(stamps) > 3
    for stamp in stamps:
        then = datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.timezone.utc)
        assert abs(now - then) < datetime.timedelta(minutes=5)


def test_what_a_script_redirects_is_not_logged(serve: Serve) -> None:
    service = serve(
        """
        import contextlib, io, sys
        def init(): pass
        def run(data):
            with contextlib.redirect_stdout(io.StringIO()) as kept:
                print("kept")
                print("shown", file=sys.__stdout__)
            return kept.getvalue()
        """
    )
    assert service.post("").json() == "kept\n"
    service.wait_for_log("shown")
    assert "kept" not in service.log()


@pytest.mark.parametrize("loss", ["sys.stdout.close()", "sys.stdout = sys.stderr = None", "sys.stdout = object()"])
def test_a_script_that_loses_its_output_is_served_logged_and_stopped(serve: Serve, loss: str) -> None:
    service = serve(f"import sys\ndef init(): {loss}\n" + RUN)
    assert service.post("a").json() == "a"
    service.wait_for_log("POST /score 200")
    service.signal(signal.SIGTERM)
    assert service.wait()["reason"] == "stopped by SIGTERM"
    assert "Traceback" not in service.log()


def test_the_log_is_utf8_whatever_the_locale(serve: Serve) -> None:
    service = serve("def init(): print('größer \u2713')\n" + RUN, LC_ALL="C", PYTHONIOENCODING="latin-1")
    service.worker_pid()
    assert "größer \u2713\n" in service.log_file.read_text("utf-8")


@pytest.mark.holds("log.other-output")
def test_output_that_does_not_come_from_python_is_logged_too(serve: Serve) -> None:
    service = serve("import os\ndef init(): os.write(1, b'raw out\\n'); os.system('echo from a child >&2')\n" + RUN)
    service.wait_for_log("raw out")
    service.wait_for_log("from a child")


@pytest.mark.holds("http.drain")
def test_sigterm_answers_what_is_under_way(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITING, MLDEPLOY_METRICS="true")
    idle = service.connect()
    first, second = service.asking("go"), None
    service.wait_for_log("begun go")
    second = service.asking("went")
    service.wait_for_in_flight(2)
    os.killpg(service.pid, signal.SIGTERM)
    service.wait_for_log("Stopping: SIGTERM")
    assert idle.recv(1) == b""
    assert not service.answers()
    (tmp_path / "app" / "went").touch()
    (tmp_path / "app" / "go").touch()
    assert (first.result().json(), first.result().headers["Connection"]) == ("done", "close")
    assert second.result().json() == "done"
    ended = service.wait()
    assert ended == {"exit_code": 0, "reason": "stopped by SIGTERM", "signal": None, "returned": 0}
    idle.close()


def test_atexit_of_the_script_is_done_and_its_threads_are_not_waited_for(serve: Serve) -> None:
    service = serve(
        "import atexit, threading\n"
        "def init():\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
        "    atexit.register(print, 'said goodbye')\n" + RUN
    )
    service.signal(signal.SIGTERM)
    assert service.wait()["returned"] == 0
    assert "said goodbye" in service.log()


@pytest.mark.holds("http.drain")
def test_sigterm_during_init(serve: Serve) -> None:
    service = serve(WAITING.replace("def init(): pass", "def init(): run('never')"), wait=False)
    service.wait_for_log("begun never")
    service.signal(signal.SIGTERM)
    ended = service.wait()
    assert (ended["exit_code"], ended["reason"]) == (0, "stopped by SIGTERM")


def test_a_second_ctrl_c_does_not_wait(serve: Serve) -> None:
    service = serve(WAITING)
    with service.connect() as client:
        client.sendall(b"POST /score HTTP/1.1\r\nContent-Length: 5\r\n\r\nnever")
        service.wait_for_log("begun never")
        service.signal(signal.SIGINT)
        service.wait_for_log("Stopping: SIGINT")
        service.signal(signal.SIGINT)
        ended = service.wait()
    assert (ended["exit_code"], ended["signal"]) == (-signal.SIGKILL, signal.SIGKILL)


@pytest.mark.holds("start.init-hangs")
def test_an_init_that_hangs_is_ended_with_where_it_hangs(serve: Serve) -> None:
    service = serve(
        WAITING.replace("def init(): pass", "def init(): run('never')"), "--init-timeout", "0.4", wait=False
    )
    ended = service.wait()
    assert ended == {"exit_code": 3, "reason": "init() did not finish in 0.4 s", "signal": None, "returned": 3}
    assert re.search(r'score.py", line \d+, in init\n +def init\(\): run', service.log())


@pytest.mark.holds("start.init-hangs")
def test_an_init_that_hangs_with_the_interpreter_held(serve: Serve) -> None:
    service = serve(
        # a mutex that is taken twice: no signal ends that, and the interpreter is not let go
        "import ctypes\ndef init():\n    lock = ctypes.create_string_buffer(64)\n"
        "    for _ in range(2): ctypes.PyDLL(None).pthread_mutex_lock(lock)\n" + RUN,
        *("--init-timeout", "0.3"),
        wait=False,
    )
    ended = service.wait()
    assert (ended["exit_code"], ended["signal"]) == (3, signal.SIGABRT)
    assert ended["reason"] == "init() did not finish in 0.3 s, and held the interpreter"
    assert "in init" in service.log()  # faulthandler's


@pytest.mark.holds("http.no-zombies")
def test_the_worker_dies_with_its_supervisor(serve: Serve) -> None:
    service = serve(ECHO)
    worker = service.worker_pid()
    service.signal(signal.SIGKILL)
    service.until(lambda: service.process(worker) is None, "the worker lived on")


@pytest.mark.holds("http.no-zombies")
def test_the_worker_dies_with_its_supervisor_where_the_kernel_does_not_help(serve: Serve) -> None:
    undo = "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    service = serve(undo + ECHO)
    worker = service.worker_pid()
    service.signal(signal.SIGKILL)
    service.until(lambda: service.process(worker) is None, "the worker lived on")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_signals_to_the_scripts_own_processes_are_not_the_services(serve: Serve, method: str) -> None:
    service = serve(
        """
        import multiprocessing, time
        def init(): pass
        def run(data):
            child = multiprocessing.get_context(data).Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join()
            return child.exitcode
        """
    )
    assert service.post(method).json() == -signal.SIGTERM
    assert service.is_healthy()


def test_a_process_that_run_has_forked_does_not_serve(serve: Serve) -> None:
    service = serve("import os, sys\ndef init(): pass\ndef run(data):\n    return os.fork() or sys.exit(0)\n")
    child = service.post("").json()
    service.until(lambda: service.process(child) is None, "the child lives on")
    assert service.is_healthy()


@pytest.mark.holds("paths.spawned")
@pytest.mark.parametrize("start", ["spawn", "loky"])
def test_processes_that_a_script_spawns_know_it(serve: Serve, start: str) -> None:
    service = serve(
        """
        import joblib, multiprocessing, os
        from azureml.core.model import Model
        def double(number): return [__name__, 2 * number, os.environ["SERVER"] != str(os.getpid())]
        def init():
            os.environ["SERVER"] = str(os.getpid())
            os.chdir("/")
        def run(data):
            if data == "loky":
                return joblib.Parallel(n_jobs=2)(joblib.delayed(double)(each) for each in range(2))
            with multiprocessing.get_context(data).Pool(1) as pool:
                return pool.map(double, range(2))
        """
    )
    assert service.post(start).json() == [["entry_module", 0, True], ["entry_module", 2, True]]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_process_that_run_has_forked_has_none_of_its_sockets(serve: Serve, tmp_path: Path, loop: str) -> None:
    """It would keep the client waiting for the end of the connection, and the port taken after the service's end."""
    if loop == "asyncio":
        (tmp_path / "without" / "uvloop").mkdir(parents=True)
        (tmp_path / "without" / "uvloop" / "__init__.py").write_text("raise ImportError")
    service = serve(
        """
        import multiprocessing, threading
        def init(): pass
        def run(data):
            child = multiprocessing.get_context("fork").Process(target=threading.Event().wait, daemon=True)
            child.start()
            return child.pid
        """,
        PYTHONPATH=str(tmp_path / "without"),
    )
    with service.connect() as client:
        client.sendall(b"POST /score HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nd")
        answer = client.makefile("rb").read()
    child = int(answer.split(b"\r\n\r\n")[1])
    assert service.is_healthy()
    service.kill(service.worker_pid())
    service.signal(signal.SIGTERM)
    service.wait()
    assert psutil.pid_exists(child)
    assert not service.answers()


def test_rotation_keeps_every_line_whole(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log", limit=1000, kept=3)
    lines = [b"%04d %s\n" % (number, b"x" * (number % 90)) for number in range(100)]
    written = b"".join(lines)
    for start in range(0, len(written), 77):
        log.write(written[start : start + 77])
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2", "log.3"]
    kept = b"".join((tmp_path / name).read_bytes() for name in ("log.3", "log.2", "log.1", "log"))
    assert written.endswith(kept)
    assert kept[:4].isdigit()
    assert all(1000 <= (tmp_path / name).stat().st_size < 1100 for name in names[1:])


def test_a_log_that_cannot_be_rotated_grows_on(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log", limit=10, kept=1)
    (tmp_path / "log.1" / "in the way").mkdir(parents=True)
    log.write(b"first line\nsecond line\n")
    log.write(b"third line\n")
    assert (tmp_path / "log").read_bytes() == b"first line\nsecond line\nthird line\n"
    (tmp_path / "log.1" / "in the way").rmdir()
    (tmp_path / "log.1").rmdir()
    log.write(b"fourth line\nfifth")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"fifth"
    assert (tmp_path / "log.1").read_bytes().endswith(b"third line\nfourth line\n")


def test_a_log_whose_folder_is_gone_takes_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    log = RotatedLog(tmp_path / "folder" / "log", limit=10)
    (tmp_path / "folder" / "log").unlink()
    (tmp_path / "folder").rmdir()
    log.write(b"a whole line\n")
    with (tmp_path / "other").open("wb") as other:
        log.write(b"more\n")
        log.close()
        other.write(b"its own")
    assert (tmp_path / "other").read_bytes() == b"its own"


@pytest.mark.holds("log.rotated")
def test_the_log_is_rotated_at_10_mb(serve: Serve) -> None:
    service = serve(
        "import sys\ndef init(): pass\ndef run(data):\n    for _ in range(110): sys.stdout.write('x' * 99999 + '\\n')"
    )
    service.post("")
    older = service.log_file.with_name("log.1")
    service.until(older.exists, "log.1")
    assert 10 * 2**20 <= older.stat().st_size < 10.2 * 2**20


@pytest.mark.holds("start.port-taken")
def test_a_taken_port_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = main(["--port", str(port), "--exit-file", str(tmp_path / "exit.json")])
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{port}" in capfd.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in (tmp_path / "exit.json").read_text()


def test_an_inherited_socket_that_does_not_listen_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as idle:
        assert main(["--fd", str(os.dup(idle.fileno()))]) == 3
    assert "does not listen" in capfd.readouterr().err
    assert main(["--fd", "9999"]) == 3
    assert "cannot listen on file descriptor 9999: Bad file descriptor" in capfd.readouterr().err


def test_without_a_log_file_the_output_is_the_supervisors_own(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def init(): raise ValueError('shown')\ndef run(data): pass")
    done = subprocess.run(
        [sys.executable, "-m", "mldeploy_serving", "--port", "0"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 3
    assert "ValueError: shown" in done.stdout
    assert "mldeploy.supervisor - The worker has ended with exit code 3: init() failed" in done.stderr


@pytest.mark.holds("start.wrong-flags")
@pytest.mark.parametrize(
    "flags",
    [
        ["--init-timeout", "0"],
        ["--init-timeout", "nan"],
        ["--init-timeout", "inf"],
        ["--port", "many"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--nonsense"],
        ["--log-file", "/no/such/folder/log"],
        ["--exit-file", "/no/such/folder/exit"],
    ],
)
def test_flags_that_are_wrong(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_stdout_that_nobody_reads_stops_no_answer_and_loses_no_line(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(ECHO)
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener, requests.Session() as http:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/score"
        command = [sys.executable, "-m", "mldeploy_serving", "--fd", str(listener.fileno())]
        service = subprocess.Popen(command, cwd=tmp_path, pass_fds=(listener.fileno(),), stdout=writer)
    os.close(writer)
    try:
        deadline = time.monotonic() + 20
        while http.post(url, "", timeout=5).status_code != 200:  # 503 while it starts
            assert time.monotonic() < deadline
        for _ in range(1500):  # a line each: twice what the pipe takes
            assert http.post(url, "", headers={"x-request-id": "of-this-test"}, timeout=5).status_code == 200
        service.terminate()
        with os.fdopen(reader, encoding="utf-8") as output:
            assert output.read().count("of-this-test POST /score 200") == 1500
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.wait()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0,
    reason="no process namespace can be made",
)
def test_as_the_first_process_of_a_container_it_buries_what_others_leave(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import subprocess\ndef init(): pass\n"
        "def run(data): return int(subprocess.check_output(['sh', '-c', 'true >/dev/null & echo $!']))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        namespace = subprocess.Popen(
            [
                *("unshare", "--pid", "--fork", "--kill-child"),
                *(sys.executable, "-m", "mldeploy_serving", "--fd", str(listener.fileno())),
            ],
            cwd=tmp_path,
            pass_fds=(listener.fileno(),),
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/score"
    try:
        deadline = time.monotonic() + 20
        while requests.post(url, "", timeout=20).status_code != 200:  # 503 while it starts
            assert time.monotonic() < deadline
        (first,) = psutil.Process(namespace.pid).children()
        while len(first.children()) > 1:  # the worker stays
            assert time.monotonic() < deadline, first.children()
            time.sleep(0.01)
    finally:
        namespace.kill()
        namespace.wait()
