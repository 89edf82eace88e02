"""`mldeploy serve`: the server in the foreground."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

SCRIPT = """
import os

def init():
    global model
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.txt")) as stream:
        model = stream.read()

def run(data):
    return [model, os.path.exists("beside.txt"), float("nan")]
"""


@pytest.mark.parametrize("how", ["flags", "config"])
def test_serve_answers_until_ctrl_c(project: Project, serving_python: object, how: str) -> None:
    project.write("source/score.py", SCRIPT)
    project.write("source/beside.txt", "")
    project.write("models/model.txt", "0.5")
    project.write("ic.json", '{"entryScript": "score.py", "sourceDirectory": "source"}')
    port = free_port()
    source = ("--ic", "ic.json") if how == "config" else ("--entry-script", "score.py", "--sd", "source")
    process = project.start("serve", *source, "--model-dir", "models", "--port", str(port), "--nan", "null")
    project.read_until(process, "Ctrl-C ends it")
    assert project.eventually(lambda: status(port) == 200)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/score", b"1", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b'["0.5", true, null]'
    project.interrupt(process)
    assert status(port) is None
    assert project.ok("service", "list") == []


def test_serve_without_a_script(project: Project) -> None:
    assert project.run("serve").code == 2
    assert project.run("serve", "--es", "nowhere.py").code == 2
    assert project.run("serve", "--es", "score.py", "--model-dir", "nowhere").code == 2
    project.write("ic.json", '{"entryScript": "score.py"}')
    assert project.run("serve", "--ic", "ic.json", "--es", "score.py").code == 2


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def status(port: int) -> int | None:
    """The status of `GET /`; None where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
