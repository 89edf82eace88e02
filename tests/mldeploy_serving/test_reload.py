"""`--reload`: the inner loop of whoever writes an entry script."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from mldeploy_serving.supervisor.pool import INIT_GRACE_S, RESTART_S

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service


def script(answer: str) -> str:
    return f"import helper\ndef init(): pass\ndef run(data): return {answer}\n"


def write(path: Path, text: str) -> None:
    """At once, as editors do."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def answers(service: Service, answer: object) -> None:
    service.until(lambda: service.post("").json() == answer, f"the answer {answer!r}")


@pytest.mark.holds("start.reload")
def test_a_changed_script_is_loaded_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "helper.py").write_text("WORD = 'one'")
    service = serve(script("helper.WORD"), "--reload")
    answers(service, "one")
    write(tmp_path / "app" / "helper.py", "WORD = 'another'")
    answers(service, "another")
    write(tmp_path / "app" / "score.py", script("helper.WORD.upper()"))
    answers(service, "ANOTHER")


@pytest.mark.holds("start.reload")
def test_changes_of_one_size_within_a_second_are_seen(serve: Serve, tmp_path: Path) -> None:
    """Python tells compiled files of the same size apart by the second only."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "helper.py").write_text("WORD = 1")
    service = serve(script("helper.WORD"), "--reload", PYTHONDONTWRITEBYTECODE="")
    for number in range(2, 7):
        answers(service, number - 1)
        write(tmp_path / "app" / "helper.py", f"WORD = {number}")
    answers(service, 6)


def test_a_broken_script_is_told_and_waited_for(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "helper.py").write_text("")
    service = serve("def init() pass", "--reload", wait=False)
    service.until(service.answers, "an answer")
    assert service.ask("GET", "/").status_code == 503
    reason = "The script cannot be served: The entry script score.py could not be imported: SyntaxError: expected ':'"
    service.until(lambda: service.post("").json()["message"].startswith(reason), reason)
    write(tmp_path / "app" / "score.py", script("1"))
    service.wait_until_healthy()
    answers(service, 1)
    write(tmp_path / "app" / "score.py", script("(1"))
    service.until(lambda: service.post("").status_code == 503, "a 503")
    write(tmp_path / "app" / "score.py", script("2"))
    answers(service, 2)
    service.signal(signal.SIGTERM)
    assert service.wait()["returned"] == 0


@pytest.mark.holds("start.reload")
def test_what_is_under_way_is_answered_by_the_old_script(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "helper.py").write_text(
        "import pathlib, time\ndef wait():\n    print('begun')\n"
        "    while not pathlib.Path('go').exists(): time.sleep(0.005)\n"
    )
    service = serve(script("['old', helper.wait()]"), "--reload")
    asking = service.asking("")
    service.wait_for_log("begun")
    write(tmp_path / "app" / "score.py", script("'new'"))
    service.wait_for_log("the script is loaded again")
    (tmp_path / "app" / "go").touch()
    assert asking.result().json() == ["old", None]
    answers(service, "new")


WAITS = (
    "import pathlib, time\ndef init(): pass\ndef run(data):\n    print('begun')\n"
    "    while not pathlib.Path('go').exists(): time.sleep(0.005)\n    return 'old'\n"
)


def test_an_old_script_that_still_works_is_not_held_to_the_time_for_init(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITS, "--reload", "--init-timeout", "2")
    since = time.monotonic()
    asking = service.asking("")
    service.wait_for_log("begun")
    write(tmp_path / "app" / "score.py", script("'new'").replace("import helper\n", ""))
    service.wait_for_log("the script is loaded again")
    service.until(lambda: time.monotonic() - since > 2 + INIT_GRACE_S + 0.2, "the end of init()'s time")
    (tmp_path / "app" / "go").touch()
    assert asking.result().json() == "old"
    answers(service, "new")


def test_an_old_script_that_still_works_is_waited_for_at_the_end(serve: Serve, tmp_path: Path) -> None:
    service = serve(WAITS, "--reload")
    asking = service.asking("")
    service.wait_for_log("begun")
    write(tmp_path / "app" / "score.py", WAITS + "# another")
    service.wait_for_log("the script is loaded again")
    service.signal(signal.SIGTERM)
    service.wait_for_log("Stopping: SIGTERM")
    (tmp_path / "app" / "go").touch()
    assert asking.result().json() == "old"
    assert service.wait()["returned"] == 0


def test_there_are_never_more_workers_than_wanted(serve: Serve, tmp_path: Path) -> None:
    service = serve("import os\ndef init(): pass\ndef run(data): return os.getpid()\n", "--reload")
    service.kill(service.worker_pid())  # having done nothing it is not replaced at once
    service.wait_for_log("another one is started")
    write(tmp_path / "app" / "score.py", "import os\ndef init(): pass\ndef run(data): return 'new'\n")
    service.wait_for_log("the script is loaded again")
    answers(service, "new")
    service.until(lambda: time.time() - (tmp_path / "app" / "score.py").stat().st_mtime > RESTART_S + 0.5, "a while")
    assert len(psutil.Process(service.pid).children()) == 1
