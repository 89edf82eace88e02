"""`--reload`: the inner loop of whoever writes an entry script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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


def test_a_broken_script_is_told_and_waited_for(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "helper.py").write_text("")
    service = serve("def init() pass", "--reload", wait=False)
    service.until(lambda: service.ask("GET", "/").status_code == 503, "an answer")
    reason = "The script cannot be served: The entry script score.py could not be imported: SyntaxError: expected ':'"
    service.until(lambda: service.post("").json()["message"].startswith(reason), reason)
    write(tmp_path / "app" / "score.py", script("1"))
    service.wait_until_healthy()
    answers(service, 1)
    write(tmp_path / "app" / "score.py", script("(1"))
    service.until(lambda: service.post("").status_code == 503, "a 503")
    write(tmp_path / "app" / "score.py", script("2"))
    answers(service, 2)
    service.process.terminate()
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
