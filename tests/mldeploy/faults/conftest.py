"""Docker engines of the tests' own, which may be stopped, killed and starved. The machine's is never touched."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy import LocalWebservice, Workspace
    from mldeploy.images.foundations.base import BaseImage

DEADLINE_S = 30
ECHO = "def init():\n    pass\n\ndef run(data):\n    return data\n"


class SecondEngine:
    """A dockerd with its own socket, disk, containerd and bridge; published ports are on this machine's loopback.

    Args:
        folder: Of its own; short, for a socket's path has 107 bytes at most.
        bridge: A bridge device that is there. (Without one dockerd would remove the machine's `docker0`.)
        settings: Flags besides, such as the machine's runtime.
    """

    def __init__(self, folder: Path, bridge: str, settings: list[str]) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/s"
        self._flags = (
            f"""--host {self.url} --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid
            --config-file {folder}/daemon.json --bridge {bridge} --iptables=false --ip6tables=false --ip-masq=false
            --ip-forward=false""".split()
            + settings
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._more: tuple[str, ...] = ()
        self._crashed = False
        (folder / "daemon.json").write_text("{}")

    @contextmanager
    def asked(self) -> Iterator[DockerClient]:
        """A client of the engine as it is now."""
        from docker import DockerClient

        client = DockerClient(self.url, timeout=DEADLINE_S)
        try:
            yield client
        finally:
            client.close()

    @property
    def used(self) -> int:
        """Bytes on its disk."""
        return shutil.disk_usage(self.folder / "data").used

    def leave(self, room: int) -> None:
        """Make its disk smaller or larger, so that so many bytes are left."""
        _run("mount", "-o", f"remount,size={self.used + room}", str(self.folder / "data"))

    def start(self, *more: str) -> None:
        """Start it, or start it again, and wait until it answers; nothing where it runs so already.

        Args:
            more: Further flags.
        """
        if self._process is not None and self._more == more:
            return
        self.stop()
        self._more = more
        with (self.folder / "log").open("ab") as log:
            # a test run that is killed takes the engine with it
            command = ["setpriv", "--pdeathsig", "TERM", "dockerd", *self._flags, *more]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = (self.folder / "log").read_text(errors="replace")[-800:]
                self.kill()
                raise RuntimeError(f"dockerd does not start: {told}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as a machine does that shuts down: its containers end, unless it was started to let them live."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does: its containers are left alone."""
        self._end(signal.SIGKILL)
        self._crashed = True

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """A while without it."""
        self.stop()
        yield
        self.start()

    def take(self, image: str, source: DockerClient) -> None:
        """Get an image from another engine, unless it is there."""
        from docker.errors import ImageNotFound

        with self.asked() as client:
            try:
                client.images.get(image)
            except ImageNotFound:
                client.images.load(b"".join(source.api.get_image(image)))

    def close(self) -> list[str]:
        """End it with all its containers; what is left nevertheless is ended by force and told."""
        try:
            self.start()
            with self.asked() as client:
                for container in client.api.containers(all=True, quiet=True):
                    client.api.remove_container(container["Id"], force=True)
        finally:
            self.stop()
            left = self._left()
        return left

    def _left(self) -> list[str]:
        if self._crashed:  # Docker itself may have lost sight of a container that was just starting
            self._force()
        left = [f"process {one.pid} {' '.join(one.cmdline())}" for one in self._processes()]
        left += [f"mount {place}" for place in self._mounts() if place != f"{self.folder}/data"]
        self._force()
        return left

    def _force(self) -> None:
        for one in self._processes():
            with suppress(psutil.NoSuchProcess):
                one.kill()
                one.wait(DEADLINE_S)
        for place in reversed(self._mounts()):
            if place != f"{self.folder}/data":
                subprocess.run(["umount", "--lazy", place], check=False)

    def _answers(self) -> bool:
        """Asked by hand: the SDK leaves a socket open where nobody listens."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(DEADLINE_S)
            try:
                door.connect(self.url.removeprefix("unix://"))
                door.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in door.recv(64)
            except OSError:
                return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_S)
            self._process = None
            # its containerd dies with it; as long as nobody has buried that one, the next dockerd would wait for it
            (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)
            (self.folder / "pid").unlink(missing_ok=True)

    def _processes(self) -> list[psutil.Process]:
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if any(word.startswith(str(self.folder)) for word in one.cmdline()):
                    found += [one, *one.children(recursive=True)]
        return found

    def _mounts(self) -> list[str]:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [place for place in mounts if place.startswith(f"{self.folder}/")]


StartEngine = Callable[..., SecondEngine]


@pytest.fixture(scope="module")
def start_engine(docker_client: DockerClient) -> Iterator[StartEngine]:
    """Starts engines whose disk has so many megabytes; all are gone at the end, with all that they made."""
    if os.geteuid() or not all(shutil.which(one) for one in ("dockerd", "containerd", "ip", "setpriv")):
        _lacking("a second Docker engine needs root, and dockerd, containerd, ip and setpriv on PATH")
    left: list[str] = []
    with ExitStack() as stack:

        def start(megabytes: int, *more: str) -> SecondEngine:
            engine = stack.enter_context(_engine(megabytes, _runtime(docker_client), left))
            try:
                engine.start(*more)
            except RuntimeError as error:
                _lacking(str(error))
            return engine

        yield start
    assert left == []


@contextmanager
def _engine(megabytes: int, settings: list[str], left: list[str]) -> Iterator[SecondEngine]:
    with tempfile.TemporaryDirectory(prefix="mldeploy-tests-") as short, _bridge() as bridge:
        folder = Path(short)
        for name in ("data", "exec"):
            (folder / name).mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder / "data"))
        engine = SecondEngine(folder, bridge, settings)
        try:
            yield engine
        finally:
            left += engine.close()
            _run("umount", str(folder / "data"))


@contextmanager
def _bridge() -> Iterator[str]:
    """A bridge of its own, with addresses that nothing else here has."""
    name = f"mlt{uuid.uuid4().hex[:8]}"
    routes = _run("ip", "-4", "route", "show", "table", "all")
    numbers = [number for number in range(1, 255) if f"10.213.{number}." not in routes]
    number = random.choice(numbers)  # two runs may choose at once
    _run("ip", "link", "add", name, "type", "bridge")
    try:
        _run("ip", "addr", "add", f"10.213.{number}.1/24", "dev", name)
        _run("ip", "link", "set", name, "up")
        yield name
    finally:
        _run("ip", "link", "delete", name)


def _runtime(machine: DockerClient) -> list[str]:
    """The machine's own runtime, where it has one: without it no container might start here."""
    info: dict[str, Any] = machine.info()
    name = info["DefaultRuntime"]
    path = info["Runtimes"][name].get("path")
    return ["--add-runtime", f"{name}={path}", "--default-runtime", name] if path and name != "runc" else []


def _run(*command: str) -> str:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        _lacking(f"a second Docker engine cannot be made: {' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout


def _lacking(why: str) -> None:
    (pytest.fail if "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(",") else pytest.skip)(why)


@pytest.fixture(scope="module")
def second_engine(start_engine: StartEngine, base: BaseImage, docker_client: DockerClient) -> SecondEngine:
    """An engine for this module's tests, with our base image; its disk is large enough."""
    engine = start_engine(2000)
    engine.take(base.reference, docker_client)
    return engine


@pytest.fixture
def engine(second_engine: SecondEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondEngine]:
    """The same, running, and the one that mldeploy finds."""
    second_engine.start()
    monkeypatch.setenv("DOCKER_HOST", second_engine.url)
    yield second_engine
    with warnings.catch_warnings():  # of the sockets that the SDK left open while nobody listened
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def workspace(engine: SecondEngine, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose services run on the second engine; when they are deleted, nothing of them is left there."""
    from mldeploy import Webservice, Workspace

    workspace = Workspace.create("tests", store=str(tmp_path / "store"))
    yield workspace
    engine.start()
    for service in Webservice.list(workspace):
        service.delete()
    with engine.asked() as client:
        assert client.api.containers(all=True) == []
        assert client.api.images(filters={"dangling": True}) == []
    assert [path for path in workspace.store.services_folder.rglob("*") if path.is_file()] == []


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An entry script that says what it was given."""
    path = tmp_path / "source" / "score.py"
    path.parent.mkdir()
    path.write_text(ECHO)
    return path


@pytest.fixture
def deploy(workspace: Workspace, script: Path) -> Callable[..., LocalWebservice]:
    """Deploys the script to Docker."""
    from mldeploy import InferenceConfig, LocalWebservice, Model

    def deploy(**more: Any) -> LocalWebservice:
        asked = {"models": [], "engine": "docker", "inference_config": InferenceConfig(str(script)), **more}
        service = Model.deploy(workspace, "echo", **asked)
        assert isinstance(service, LocalWebservice)
        return service

    return deploy


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which nothing is yet: every layer has to be made."""
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
