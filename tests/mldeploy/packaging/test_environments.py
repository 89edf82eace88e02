"""An environment is resolved once, installed once, never half; and failures say what to do."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from mldeploy.environment import Environment
from mldeploy.errors import EnvironmentException, NeedsImage
from mldeploy.packaging.environments import install, installed, resolve

DEADLINE = 60.0
SUBPROCESS = """
import sys
from mldeploy.environment import Environment
from mldeploy.packaging.environments import install, resolve
class Locks(dict):
    put = dict.__setitem__
environment = Environment.from_pip_requirements("test", sys.argv[1])
resolved = resolve(environment, Locks())
print("resolved", flush=True)
sys.stdin.readline()
install(resolved, report=lambda event: print(type(event).__name__, getattr(event, "name", ""), flush=True))
"""


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def started(requirements: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SUBPROCESS, str(requirements)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "resolved\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def environments(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache" / "environments").glob("*") if path.is_dir()]


def test_without_an_environment_there_is_the_serving_stack_only(wheels: Any, locks: Any) -> None:
    resolved = resolve(None, locks)
    assert f"{wheels.stack[0]}==1.0 \\\n    --hash=sha256:" in resolved.lock
    assert "inference" not in resolved.lock
    assert "mldeploy" not in resolved.lock
    python = install(resolved)
    assert run(python, f"import mldeploy_serving, {wheels.stack[0]} as needed; print(needed.VERSION)") == "1.0"
    assert run(python, "import sys; print(*sys.version_info[:2], sep='.')") == resolved.python


def test_azureml_defaults_is_filled_and_brings_inference_schema(
    wheels: Any, locks: Any, described: Any, told: Any
) -> None:
    resolved = resolve(described("azureml-defaults==1.0.85", "azureml-core"), locks, report=told)
    assert "inference-schema==1.0" in resolved.lock
    assert "azureml" not in resolved.lock
    assert "azureml-core: filled by the scoring server itself" in told.notices()
    assert resolved.notices == tuple(told.notices().splitlines())


@pytest.mark.parametrize(("pin", "version"), [("", "2.0"), ("azureml-inference-server-http<2", "1.0")])
def test_what_another_scoring_server_needs_is_resolved_with_the_rest(
    wheels: Any, locks: Any, described: Any, told: Any, pin: str, version: str
) -> None:
    """A version that the user asks for holds, though our own server fills that requirement."""
    for number in ("1.0", "2.0"):
        wheels.wheel("azureml_inference_server_http", number)
    environment = described("azureml-defaults", pin)
    besides = ("azureml-inference-server-http",)
    resolved = resolve(environment, locks, besides=besides, report=told)
    assert f"azureml-inference-server-http=={version} " in resolved.lock
    assert "inference-schema==1.0" in resolved.lock
    assert "filled" not in told.notices()
    assert resolve(None, locks, besides=besides).digest != resolve(None, locks).digest != resolved.digest
    python = install(resolved)
    assert run(python, "import azureml_inference_server_http as it; print(it.VERSION)") == version


def test_an_unchanged_environment_is_resolved_once_whatever_is_released(
    wheels: Any, locks: Any, described: Any, told: Any
) -> None:
    wheels.wheel("alpha", "1.0")
    first = resolve(described("alpha"), locks, report=told)
    wheels.wheel("alpha", "2.0")
    assert resolve(described("alpha"), locks, report=told) == first
    assert told.steps() == ["resolve"]
    newer = resolve(described("alpha"), locks, refresh=True, report=told)
    assert "alpha==2.0" in newer.lock
    assert newer.digest != first.digest
    assert resolve(described("alpha"), locks, report=told) == newer
    assert told.steps() == ["resolve", "resolve"]


def test_a_throwaway_workspace_takes_the_lock_from_the_cache(
    wheels: Any, new_locks: Any, described: Any, told: Any
) -> None:
    wheels.wheel("alpha", "1.0")
    first = resolve(described("alpha"), new_locks(), report=told)
    locks = new_locks()
    assert resolve(described("alpha"), locks, report=told) == first
    assert list(locks.values()) == [first.lock]
    assert told.steps() == ["resolve"]


def test_the_lock_of_the_workspace_comes_before_that_of_the_cache(
    wheels: Any, locks: Any, new_locks: Any, described: Any, tmp_path: Path
) -> None:
    wheels.wheel("alpha", "1.0")
    first = resolve(described("alpha"), locks)
    wheels.wheel("alpha", "2.0")
    newer = resolve(described("alpha"), new_locks(), refresh=True)
    assert newer != first
    assert resolve(described("alpha"), locks) == first
    shutil.rmtree(tmp_path / "cache")
    assert resolve(described("alpha"), locks) == first


def test_an_unchanged_environment_contacts_nobody(
    wheels: Any, locks: Any, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.wheel("alpha", "1.0")
    resolved = resolve(described("alpha"), locks)
    python = install(resolved)
    shutil.rmtree(wheels.folder)
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    assert resolve(described("alpha"), locks) == resolved
    assert install(resolved) == python
    assert resolve(described("alpha"), locks, offline=True) == resolved


def test_offline_says_what_is_missing(wheels: Any, locks: Any, described: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    with pytest.raises(EnvironmentException) as caught:
        resolve(described("alpha"), locks, offline=True)
    assert "alpha" in caught.value.reason
    assert "leave out --offline once" in caught.value.hint
    assert not locks


def test_an_index_that_cannot_be_reached_is_named_as_the_cause(
    wheels: Any, locks: Any, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentException, match="cannot be resolved") as caught:
        resolve(described("alpha"), locks)
    assert "could not be reached" in caught.value.hint


def test_python_machine_lock_and_server_make_the_digest(
    wheels: Any, locks: Any, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = resolve(None, locks)
    assert re.fullmatch("[0-9a-f]{64}", plain.digest)
    assert resolve(described(wheels.stack[0]), locks).digest == plain.digest
    monkeypatch.setattr("mldeploy.packaging.pythons.machine", lambda: "plan9-mips")
    assert resolve(None, locks).digest != plain.digest


def test_another_python_is_another_environment(wheels: Any, locks: Any, described: Any) -> None:
    other = next((minor for minor in ("3.10", "3.12", "3.13", "3.11") if had(minor)), None)
    if other is None:
        pytest.skip("no second Python on this machine")
    resolved = resolve(described(wheels.stack[0], conda=[f"python={other}.1"]), locks)
    assert resolved.python == other
    assert f"any {other} is taken" in resolved.notices[0]
    assert resolved.digest != resolve(None, locks).digest
    assert run(install(resolved), "import sys; print(*sys.version_info[:2], sep='.')") == other


def had(minor: str) -> bool:
    from mldeploy.packaging.pythons import choose, running

    try:
        return minor != running() and bool(choose(minor, offline=True))
    except EnvironmentException:
        return False


def test_what_is_installed_is_known(wheels: Any, locks: Any, told: Any) -> None:
    resolved = resolve(None, locks)
    assert installed(resolved) is None
    python = install(resolved, report=told)
    assert installed(resolved) == python
    assert install(resolved, report=told) == python
    assert told.steps() == ["install"]


def test_an_environment_whose_interpreter_is_gone_is_made_anew(wheels: Any, locks: Any, told: Any) -> None:
    resolved = resolve(None, locks)
    python = install(resolved)
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert installed(resolved) is None
    assert install(resolved, report=told) == python
    assert run(python, "print(1)") == "1"


def test_of_two_processes_one_builds(wheels: Any, tmp_path: Path) -> None:
    wheels.wheel("alpha", "1.0")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("alpha\n")
    both = [started(requirements) for _ in range(2)]
    for process in both:
        go(process)
    said = [process.communicate(timeout=DEADLINE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(text.count("Step install") for text in said) == 1
    assert len(environments(tmp_path)) == 1


def test_a_process_killed_while_it_installs_leaves_no_half_environment(wheels: Any, locks: Any, tmp_path: Path) -> None:
    began, may_end = tmp_path / "began", tmp_path / "may_end"
    wheel = wheels.wheel("slow", "1.0")
    kept = shutil.move(wheel, tmp_path / "slow.whl")
    wheels.source(
        "slow",
        "1.0",
        f"""import os, pathlib, shutil, time
pathlib.Path({str(began)!r}).touch()
while not os.path.exists({str(may_end)!r}):
    time.sleep(0.01)
return os.path.basename(shutil.copy({str(kept)!r}, os.path.join(folder, {wheel.name!r})))""",
    )
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("slow\n")
    process = started(requirements)
    go(process)
    until(began.exists)
    orphans = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE)
    resolved = resolve(Environment.from_pip_requirements("test", requirements), locks)
    assert len(environments(tmp_path)) == 1, "the half one is there"
    assert installed(resolved) is None
    may_end.touch()
    python = install(resolved)
    assert run(python, "import slow, mldeploy_serving; print(slow.VERSION)") == "1.0"
    until(lambda: not any(orphan.is_running() for orphan in orphans))
    other = install(resolve(None, locks))
    assert {python.parent.parent, other.parent.parent} == set(environments(tmp_path)), "the next one sweeps"


def test_a_package_that_does_not_build_is_named_with_its_last_words(
    wheels: Any, locks: Any, described: Any, tmp_path: Path
) -> None:
    wheels.source("broken", "1.0", "raise RuntimeError('no compiler for you')")
    wheels.wheel("broken", "1.2")
    resolved = resolve(described("broken==1.0"), locks)
    with pytest.raises(EnvironmentException, match=r"broken 1\.0 does not build") as caught:
        install(resolved)
    assert "no compiler for you" in caught.value.reason
    assert "the nearest that installs: broken==1.2" in caught.value.hint
    assert environments(tmp_path) == []


@pytest.mark.parametrize(("pin", "nearest"), [("==1.5", "2.0"), ("==9.9", "2.1"), ("~=0.1.0", "1.0")])
def test_a_pin_that_is_not_there_is_refused_with_the_nearest(
    wheels: Any, locks: Any, described: Any, pin: str, nearest: str
) -> None:
    for version in ("1.0", "2.0", "2.1"):
        wheels.wheel("alpha", version)
    with pytest.raises(EnvironmentException, match="cannot be resolved") as caught:
        resolve(described(f"alpha{pin}"), locks)
    assert f"the nearest that installs: alpha=={nearest} " in caught.value.hint
    assert "mldeploy environment modernize FILE" in caught.value.hint


def test_pins_that_contradict_each_other_are_told_in_uvs_words(wheels: Any, locks: Any, described: Any) -> None:
    wheels.wheel("alpha", "1.0")
    wheels.wheel("alpha", "2.0")
    wheels.wheel("beta", "1.0", ["alpha<2"])
    with pytest.raises(EnvironmentException, match="cannot be resolved") as caught:
        resolve(described("alpha==2.0", "beta"), locks)
    assert "beta" in caught.value.reason
    assert "loosen one of the pins" in caught.value.hint


def test_hashes_that_a_requirement_names_are_kept_to(wheels: Any, locks: Any, described: Any) -> None:
    wheel = wheels.wheel("my_alpha", "1.0")
    good = f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    bad = f"sha256:{'0' * 64}"
    resolved = resolve(described(f"my_alpha==1.0 --hash={bad} --hash={good}"), locks)
    assert f"my-alpha==1.0 \\\n    --hash={good}\n" in resolved.lock
    install(resolved)
    with pytest.raises(EnvironmentException) as caught:
        resolve(described(f"my_alpha==1.0 --hash={bad}"), locks)
    assert "no file of my-alpha==1.0 has a hash that the requirement allows" in caught.value.reason


def test_a_name_that_no_index_has_is_told(wheels: Any, locks: Any, described: Any) -> None:
    with pytest.raises(EnvironmentException) as caught:
        resolve(described("alhpa"), locks)
    assert "check the name alhpa" in caught.value.hint


def test_what_uv_toml_says_of_its_output_does_not_reach_the_lock(
    wheels: Any, locks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = resolve(None, locks)
    text = Path(os.environ["UV_CONFIG_FILE"]).read_text()
    pip = f"[pip]\nemit-find-links = true\ngenerate-hashes = false\noutput-file = '{tmp_path}/out.txt'\n"
    (tmp_path / "other.toml").write_text(text + pip)
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "other.toml"))
    assert resolve(None, locks, refresh=True) == plain
    assert not (tmp_path / "out.txt").exists()


def test_constraints_bound_what_others_ask_for(wheels: Any, locks: Any, described: Any) -> None:
    wheels.wheel("alpha", "1.0")
    wheels.wheel("alpha", "2.0")
    wheels.wheel("beta", "1.0", ["alpha"])
    lock = resolve(described("beta", "--constraint alpha<2"), locks).lock
    assert "alpha==1.0" in lock
    assert "alpha" not in resolve(described("--constraint alpha<2"), locks).lock


def test_a_local_wheel_is_locked_by_its_bytes(wheels: Any, locks: Any, described: Any, tmp_path: Path) -> None:
    mine = shutil.move(wheels.wheel("mine", "1.0"), tmp_path)
    first = resolve(described(str(mine)), locks)
    assert run(install(first), "import mine; print(mine.VERSION)") == "1.0"
    shutil.move(wheels.wheel("mine", "1.0", size=10), mine)
    second = resolve(described(str(mine)), locks)
    assert second.digest != first.digest
    assert install(second) != install(first)


def test_find_links_in_the_environment_are_used_to_resolve_and_to_install(
    wheels: Any, locks: Any, described: Any, tmp_path: Path
) -> None:
    type(wheels)(tmp_path / "more").wheel("elsewhere", "1.0")
    resolved = resolve(described("elsewhere", f"--find-links {tmp_path}/more"), locks)
    assert str(tmp_path) not in resolved.lock
    assert run(install(resolved), "import elsewhere; print(elsewhere.VERSION)") == "1.0"


def test_a_full_disk_is_said_and_nothing_half_is_left(
    wheels: Any, locks: Any, described: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.wheel("large", "1.0", size=8_000_000)
    resolved = resolve(described("large"), locks)
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    with pytest.raises(EnvironmentException, match="the disk is full") as caught:
        install(resolved)
    assert "MLDEPLOY_CACHE" in caught.value.hint
    assert [path for path in (small_disk / "environments").iterdir() if path.is_dir()] == []


def test_an_interpreter_of_the_users_is_used_as_it_is(wheels: Any, locks: Any, tmp_path: Path) -> None:
    has, lacks = wheels.stack[:2]
    theirs = tmp_path / "theirs"
    wheels.wheel("alpha", "1.0")
    wheels.wheel(has, "0.9")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", theirs], check=True)
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", theirs, "alpha", f"{has}==0.9"], check=True)
    before = {path.name for path in (theirs / "lib").rglob("*")}
    environment = Environment("theirs")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(theirs / "bin" / "python")
    resolved = resolve(environment, locks)
    assert has not in resolved.lock, "theirs is kept"
    assert f"{lacks}==1.0" in resolved.lock
    code = f"import alpha, {has}, {lacks}, mldeploy_serving; print(alpha.VERSION, {has}.VERSION, {lacks}.VERSION)"
    assert run(install(resolved), code) == "1.0 0.9 1.0"
    assert {path.name for path in (theirs / "lib").rglob("*")} == before, "nothing is put into it"


def test_a_users_interpreter_that_is_not_there_is_refused(wheels: Any, locks: Any) -> None:
    environment = Environment("theirs")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "/nowhere/bin/python"
    with pytest.raises(EnvironmentException, match="/nowhere/bin/python does not exist"):
        resolve(environment, locks)


@pytest.mark.parametrize(
    ("attribute", "value", "named"),
    [
        ("base_image", "registry.example/team/image:1", "registry.example/team/image:1"),
        ("base_dockerfile", "FROM x\nRUN y\n", "Dockerfile"),
        ("arguments", ["--gpus=all"], "--gpus"),
    ],
)
def test_what_needs_an_image_says_so(wheels: Any, locks: Any, attribute: str, value: Any, named: str) -> None:
    environment = Environment("image")
    setattr(environment.docker, attribute, value)
    with pytest.raises(NeedsImage, match=re.escape(named)) as caught:
        resolve(environment, locks)
    assert "engine docker" in caught.value.hint


def test_a_stock_base_image_needs_none(wheels: Any, locks: Any) -> None:
    environment = Environment("stock")
    environment.python.conda_dependencies = None
    environment.docker.base_image = "registry.example/azureml/base:intelmpi2018.3-ubuntu16.04"
    assert resolve(environment, locks) == resolve(None, locks)


class _Guarded(SimpleHTTPRequestHandler):
    """A simple index behind basic authentication."""

    password = ""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        pass


PASSWORD = "s3cr3t-Pa55word"


@pytest.fixture
def guarded(wheels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An index on loopback that wants a password; its URL."""
    simple = tmp_path / "simple"
    for wheel in wheels.folder.iterdir():
        name = wheel.name.split("-")[0].replace("_", "-")
        (simple / name).mkdir(parents=True)
        shutil.copy(wheel, simple / name)
    handler = type("Handler", (_Guarded,), {"password": PASSWORD})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.delenv("UV_CONFIG_FILE")
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    thread.join()
    server.server_close()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("way", ["netrc", "variables", "url"])
def test_credentials_for_an_index_are_honoured_and_kept_nowhere(
    guarded: str, locks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "netrc":
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("UV_DEFAULT_INDEX", guarded)
    elif way == "variables":
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"team={guarded}")
        monkeypatch.setenv("UV_INDEX_TEAM_USERNAME", "me")
        monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", PASSWORD)
    else:
        monkeypatch.setenv("UV_DEFAULT_INDEX", guarded.replace("//", f"//me:{PASSWORD}@"))
    resolved = resolve(None, locks)
    install(resolved)
    assert PASSWORD not in repr((resolved, locks))
    assert "127.0.0.1" not in resolved.lock
    assert PASSWORD.encode() not in everything_in(tmp_path / "cache")


def test_a_wrong_password_is_not_shown(
    guarded: str, locks: Any, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", guarded.replace("//", "//me:another-Pa55word@"))
    with pytest.raises(EnvironmentException) as caught:
        resolve(described("alpha"), locks)
    assert "another-Pa55word" not in str(caught.value)
    assert "credentials" in caught.value.hint


def test_the_real_index_and_a_pin_of_v1s_days(
    locks: Any, described: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    resolved = resolve(described("scikit-learn==0.20.3", conda=["python=3.11"]), locks)
    with pytest.raises(EnvironmentException, match=r"scikit-learn 0\.20\.3 does not build") as caught:
        install(resolved)
    assert re.search(r"nearest that installs: scikit-learn==1\.\d", caught.value.hint)
