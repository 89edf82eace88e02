"""Registering at once, being killed while it goes on, and sweeping meanwhile: with real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mldeploy.model import Model
from mldeploy.workspace import Workspace

PROCESSES = 64
LIMIT_SECONDS = 60
MEGABYTE = 2**20

# The parent opens the workspace and the children have it from there: a database is good across a fork.
AT_ONCE = """
import os, sys
from mldeploy.model import Model
from mldeploy.workspace import Workspace
ws = Workspace.get("testing", store=sys.argv[1])
path, count = sys.argv[2], int(sys.argv[3])
Model.register(ws, path, "warm")
ready, go = os.pipe()
children = []
for _ in range(count):
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)  # ends when the parent closes its end: all begin together
        status = 1
        try:
            os.write(1, b"%d\\n" % Model.register(ws, path, "crowd").version)
            status = 0
        finally:
            os._exit(status)
    children.append(child)
os.close(ready)
os.close(go)
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""

# Stops in the middle of the copy and goes on when it is told to.
STOPPING = """
import sys
from mldeploy.events import Progress
from mldeploy.model import Model
from mldeploy.workspace import Workspace
def wait(event):
    if isinstance(event, Progress) and event.done < event.total:
        print("copying", flush=True)
        sys.stdin.readline()
ws = Workspace.get("testing", store=sys.argv[1])
Model.register(ws, sys.argv[2], "slow", report=wait)
"""

# Dies after the bytes have their places and before the row is there.
DYING = """
import os, signal, sys
from mldeploy.model import Model
from mldeploy.store.models import ModelTable
from mldeploy.workspace import Workspace
ModelTable._insert = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
Model.register(Workspace.get("testing", store=sys.argv[1]), sys.argv[2], "dead")
"""

LARGEST = """
import resource, sys
from mldeploy.model import Model
from mldeploy.workspace import Workspace
ws = Workspace.get("testing", store=sys.argv[1])
Model.register(ws, sys.argv[2], "small")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Model.register(ws, sys.argv[3], "large").download(sys.argv[4])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """5 MB: more than one block."""
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(5 * MEGABYTE))
    return file


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def stored(store: Path) -> int:
    """The bytes of all models' files, on their way in or in their place."""
    return sum(path.stat().st_size for path in store.glob("workspaces/*/files/**/*") if path.is_file())


@pytest.mark.parametrize("kind", ["folder", "postgres"])
def test_64_processes_get_64_versions(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    if kind == "postgres":
        store = f"{request.getfixturevalue('database_url')}?files={tmp_path / 'files'}"
    ws = Workspace.create("testing", store=store)
    (tmp_path / "model.txt").write_text("0.5")
    with start(AT_ONCE, store, tmp_path / "model.txt", PROCESSES) as process:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0
    assert sorted(int(line) for line in output.split()) == list(range(1, PROCESSES + 1))
    assert sorted(model.version for model in Model.list(ws, "crowd")) == list(range(1, PROCESSES + 1))
    assert ws.store.models.gc() == 0


def test_killed_while_copying_leaves_no_version_and_gc_no_bytes(
    folder_ws: Workspace, large: Path, tmp_path: Path
) -> None:
    with start(STOPPING, tmp_path / "store", large) as process:
        assert process.stdout
        assert process.stdout.readline() == "copying\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert Model.list(folder_ws) == []
    left = stored(tmp_path / "store")
    assert left > 0
    assert folder_ws.store.models.gc() == left
    assert stored(tmp_path / "store") == 0


def test_killed_before_the_row_leaves_no_version_and_gc_no_bytes(
    folder_ws: Workspace, large: Path, tmp_path: Path
) -> None:
    with start(DYING, tmp_path / "store", large) as process:
        assert process.wait(LIMIT_SECONDS) == -signal.SIGKILL
    assert Model.list(folder_ws) == []
    assert stored(tmp_path / "store") == 5 * MEGABYTE
    assert folder_ws.store.models.gc() == 5 * MEGABYTE
    assert stored(tmp_path / "store") == 0


def test_gc_leaves_a_registration_that_goes_on(folder_ws: Workspace, large: Path, tmp_path: Path) -> None:
    with start(STOPPING, tmp_path / "store", large) as process:
        assert process.stdout
        assert process.stdout.readline() == "copying\n"
        assert folder_ws.store.models.gc() == 0
        process.communicate("go on\n" * 100, timeout=LIMIT_SECONDS)
    assert process.returncode == 0
    path = Model(folder_ws, "slow").download(tmp_path / "out")
    assert Path(path).read_bytes() == large.read_bytes()


def test_memory_does_not_grow_with_the_model(folder_ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(b"x" * 5 * MEGABYTE)
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(200 * MEGABYTE)  # sparse: fast to make, and read as zeros
    arguments = (tmp_path / "store", tmp_path / "small.bin", tmp_path / "large.bin", tmp_path / "out")
    with start(LARGEST, *arguments) as process:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0
    assert int(output) < 8 * 1024, "kilobytes that 200 MB took beyond what 5 MB took"
