"""`mldeploy serve`: the server in the foreground."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.mldeploy.runner.conftest import Outcome, Project

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
def test_serve_answers_until_ctrl_c(project: Project, serving_python: object, free_port: int, how: str) -> None:
    project.write("source/score.py", SCRIPT)
    project.write("source/beside.txt", "")
    project.write("models/model.txt", "0.5")
    project.write("ic.json", '{"entryScript": "score.py", "sourceDirectory": "source"}')
    source = ("--ic", "ic.json") if how == "config" else ("--entry-script", "score.py", "--sd", "source")
    process = served(project, free_port, *source, "--model-dir", "models", "--nan", "null")
    assert answer(free_port) == b'["0.5", true, null]'
    ended = project.interrupt(process)
    assert ended.code == 0
    assert not {"Error", "Traceback", "KeyboardInterrupt"} & set((ended.out + ended.err).replace(":", " ").split())
    assert status(free_port) is None
    assert project.ok("service", "list") == []


def test_the_official_servers_flags_with_underscores(project: Project, serving_python: object, free_port: int) -> None:
    project.write(
        "score.py",
        "import os\ndef init(): pass\ndef run(data): return [os.environ[data], os.environ['SERVICE_NAME']]\n",
    )
    project.write("server.json", '{"SERVICE_NAME": "from the file"}')
    health = free_port_but(free_port)
    process = served(
        project,
        free_port,
        *("--entry_script", "score.py", "--model_dir", ".", "--worker_count", "2", "--health_port", str(health)),
        *("--config_file", "server.json", "--access_control_allow_origins", "https://a.example"),
    )
    assert project.eventually(lambda: status(health) == 200)
    assert project.eventually(lambda: len(workers(process)) == 2)
    request = urllib.request.Request(f"http://127.0.0.1:{free_port}/", headers={"Origin": "https://a.example"})
    with urllib.request.urlopen(request) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
    project.interrupt(process)


def test_the_configuration_file_may_name_the_script(project: Project, serving_python: object, free_port: int) -> None:
    project.write("server.json", '{"AZUREML_ENTRY_SCRIPT": "score.py"}')
    process = served(project, free_port, "--config_file", "server.json")
    assert answer(free_port) == b'{"got": "1"}'
    project.interrupt(process)


def test_settings_of_the_project_and_the_shell_count(
    project: Project, serving_python: object, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("score.py", "def init(): pass\ndef run(data): return float('nan')\n")
    project.write("mldeploy.toml", "[serving]\nnan = 'bare'\nmetrics = true\n")
    monkeypatch.setenv("MLDEPLOY_NAN", "null")
    process = served(project, free_port, "--es", "score.py")
    assert answer(free_port) == b"null"
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics") as metrics:
        assert metrics.status == 200
    project.interrupt(process)


def test_a_changed_script_is_loaded_again(project: Project, serving_python: object, free_port: int) -> None:
    project.write("beside.py", "WORD = 'first'\n")
    project.write("score.py", "import beside\ndef init(): pass\ndef run(data): return beside.WORD\n")
    process = served(project, free_port, "--entry-script", "score.py", "--reload")
    assert answer(free_port) == b'"first"'
    project.write("beside.py", "WORD = 'second one'\n")
    assert project.eventually(lambda: answer(free_port) == b'"second one"')
    project.write("score.py", "import beside\ndef init(): pass\ndef run(data: return beside.WORD\n")
    project.write("score.py", "import beside\ndef init(): pass\ndef run(data): return [beside.WORD]\n")
    assert project.eventually(lambda: answer(free_port) == b'["second one"]')
    assert project.interrupt(process).code == 0


def test_a_debugger_is_waited_for(project: Project, free_port: int) -> None:
    debug = free_port_but(free_port)
    process = project.start("serve", "--entry-script", "score.py", "--port", str(free_port), "--debug-port", str(debug))
    project.read_until(process, f"Waiting for a debugger on localhost:{debug}")
    assert process.stdout is not None
    assert any("Waiting for a debugger" in line for line in process.stdout)
    assert status(free_port) == 503
    with socket.create_connection(("127.0.0.1", debug), timeout=20) as editor:
        attach(editor)
        assert project.eventually(lambda: status(free_port) == 200)
        assert answer(free_port) == b'{"got": "1"}'
    assert project.interrupt(process).code == 0


@pytest.mark.usefixtures("official_python")
def test_the_official_server(project: Project, free_port: int) -> None:
    process = served(project, free_port, "--entry-script", "score.py", "--serving", "azmlinfsrv")
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/") as reply:
        assert reply.headers["Server"] == "gunicorn"
    assert answer(free_port) == b'{"got": "1"}'
    assert project.interrupt(process).code == 0
    assert status(free_port) is None
    for flags in (["--reload"], ["--debug-port", "5678"], ["--contract", "strict"], ["--metrics"]):
        refused = project.run("serve", "--entry-script", "score.py", "--serving", "azmlinfsrv", *flags)
        assert refused.code == 2, refused


@pytest.mark.parametrize(
    ("script", "shown", "reason"),
    [
        ("import numpyx\n", "    import numpyx\n", "ModuleNotFoundError: No module named 'numpyx' (score.py, line 1)"),
        ("def init():\n    {}['x']\n", "    {}['x']\n", "init() failed: KeyError: 'x' (score.py, line 2)"),
        ("def init():\n    raise SystemExit(0)\n", "raise SystemExit(0)", "init() failed: SystemExit: 0"),
        ("import nested\n", "    rows = (1,\n           ^", "SyntaxError: '(' was never closed"),
    ],
)
def test_why_a_script_does_not_start(
    project: Project, serving_python: object, free_port: int, script: str, shown: str, reason: str
) -> None:
    project.write("nested.py", "rows = (1,\n")
    project.write("score.py", script + "def init(): pass\n" * ("def init" not in script) + "def run(data): pass\n")
    outcome = project.command("serve", "--entry-script", "score.py", "--port", str(free_port))
    assert outcome.code == 1
    assert shown in outcome.out
    assert "mldeploy_serving" not in outcome.out  # none of its frames
    error = outcome.err[outcome.err.index("Error: the service has ended\n  where: ") :]
    assert reason in error


def test_an_error_of_run_is_shown_from_the_scripts_first_line(
    project: Project, serving_python: object, free_port: int
) -> None:
    project.write(
        "score.py", "def init(): pass\ndef run(data):\n    return deeper()\ndef deeper():\n    return 1 / 0\n"
    )
    process = served(project, free_port, "--entry-script", "score.py")
    with pytest.raises(urllib.error.HTTPError):
        answer(free_port)
    out = project.interrupt(process).out
    trace = out[out.index("Traceback") : out.index("ZeroDivisionError")]
    assert trace.count("File ") == 2
    assert "in deeper" in trace


def test_a_taken_port_says_what_to_type(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        outcome = project.run("serve", "--entry-script", "score.py", "--port", str(port))
    assert outcome.code == 2
    assert f"Error: port {port} cannot be listened on: Address already in use" in outcome.err
    assert "next:  --port " in outcome.err


def test_a_syntax_error_has_file_line_and_caret(project: Project) -> None:
    project.write("score.py", "def init():\n    pass\nrows = (1,\n")
    outcome = project.run("serve", "--entry-script", "score.py")
    assert outcome.code == 2
    assert "score.py:3\n  why:   rows = (1,\n                ^\n" in outcome.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell a child of its parent's end")
def test_a_killed_command_leaves_no_server(
    project: Project, serving_python: object, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its folder is left: nobody was there to remove it
    process = served(project, free_port, "--entry-script", "score.py")
    servers = psutil.Process(process.pid).children(recursive=True)
    assert servers
    os.kill(process.pid, signal.SIGKILL)
    assert project.eventually(lambda: not any(alive(one) for one in servers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ways_to_end_it(project: Project, serving_python: object, free_port: int, number: int) -> None:
    process = served(project, free_port, "--entry-script", "score.py")
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert status(free_port) is None


def test_serve_without_a_script(project: Project) -> None:
    assert project.run("serve").code == 2
    assert project.run("serve", "--es", "nowhere.py").code == 2
    assert project.run("serve", "--es", "score.py", "--model-dir", "nowhere").code == 2
    project.write("ic.json", '{"entryScript": "score.py"}')
    assert project.run("serve", "--ic", "ic.json", "--es", "score.py").code == 2
    for text in ("{", "[]"):
        project.write("server.json", text)
        refused: Outcome = project.run("serve", "--config-file", "server.json")
        assert refused.code == 2
        assert "it is no JSON object" in refused.err
    project.write("server.json", "{}")
    assert "an entry script is needed" in project.run("serve", "--config-file", "server.json").err


def served(project: Project, port: int, *flags: str) -> subprocess.Popen[str]:
    """A server that is up."""
    process = project.start("serve", *flags, "--port", str(port))
    project.read_until(process, "Ctrl-C ends it")
    assert project.eventually(lambda: status(port) == 200)
    return process


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that have the script."""
    return [one for one in psutil.Process(process.pid).children(recursive=True) if "--as-worker" in one.cmdline()]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def free_port_but(taken: int) -> int:
    """Another port that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port if port != taken else free_port_but(taken)


def attach(editor: socket.socket) -> None:
    """What an editor says to debugpy, in the Debug Adapter Protocol."""
    heard = b""
    said: tuple[tuple[str, dict[str, object], bytes], ...] = (
        ("initialize", {"adapterID": "tests"}, b'"command": "initialize"'),
        ("attach", {"justMyCode": True}, b'"event": "initialized"'),
        ("configurationDone", {}, b'"command": "configurationDone"'),
    )
    for number, (command, arguments, expected) in enumerate(said, 1):
        request = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        editor.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while expected not in heard:
            heard += editor.recv(65536)


def answer(port: int) -> bytes:
    """What is answered to the body `1`."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/score", b"1", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        body: bytes = reply.read()
        return body


def status(port: int) -> int | None:
    """The status of `GET /`; None where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            code: int = reply.status
            return code
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
