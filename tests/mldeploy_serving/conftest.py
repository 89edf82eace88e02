"""Real servers, as each engine starts them: the whole suite runs with processes and with containers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE_S = 20.0


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition` is true, and return its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    pytest.fail(f"not seen in {PATIENCE_S} s: {what}")


class Asking(threading.Thread):
    """A request under way."""

    def __init__(self, url: str, data: str) -> None:
        super().__init__()
        self._url, self._data = url, data
        self.answer: requests.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = requests.post(self._url, self._data, timeout=PATIENCE_S)

    def result(self) -> requests.Response:
        self.join()
        assert self.answer is not None
        return self.answer


class Running(Protocol):
    """A server that an engine has started.

    Attributes:
        port: Where it is reached, on this machine.
        pid: This machine's number for its first process.
        sees: The address that clients on this machine have for it.
    """

    port: int

    @property
    def pid(self) -> int: ...

    @property
    def sees(self) -> str: ...

    def ended(self) -> int | None:
        """Its exit code, as a shell has it; None while it runs."""

    def signal(self, number: signal.Signals) -> None:
        """Send its first process a signal."""

    def process(self, told: int) -> psutil.Process | None:
        """The process that has this number where the server runs; None where it is gone."""

    def stop(self) -> None:
        """End all that is left of it."""


class Process:
    """A server that is a process of this machine, as the process engine starts it."""

    sees = "127.0.0.1"

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str], output: Any = None) -> None:
        foreign = ("AML_", "AZUREML_", "MLDEPLOY_", "WORKER_", "SERVICE_", "SCORING_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.port: int = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [each.format(fd=listener.fileno()) for each in command],
                cwd=folder,
                env={**inherited, **variables},
                pass_fds=(listener.fileno(),),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def ended(self) -> int | None:
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def process(self, told: int) -> psutil.Process | None:
        return _living(told)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)


class Container:
    """A server in a container, as the Docker engine runs it; its user is the image's, or this process's own."""

    def __init__(self, running: Any, removals: ThreadPoolExecutor) -> None:
        self._removals = removals
        self._id: str = running.container
        self.port: int = running.port
        self._ended: int | None = None

    @cached_property
    def pid(self) -> int:
        pid: int = self._state()["Pid"]
        if not Path(f"/proc/{pid}").exists():
            pytest.skip("the engine's processes are not this machine's")
        return pid

    @property
    def sees(self) -> str:
        gateway: str = self._api().inspect_container(self._id)["NetworkSettings"]["Gateway"]
        return gateway

    def ended(self) -> int | None:
        if self._ended is None:
            state = self._state()
            self._ended = state["ExitCode"] if state["Status"] == "exited" else None
        return self._ended

    def signal(self, number: signal.Signals) -> None:
        self._api().kill(self._id, int(number))

    def process(self, told: int) -> psutil.Process | None:
        own = _living(self.pid)
        family = [own, *own.children(recursive=True)] if own else []
        return next((_living(each.pid) for each in family if _number(each) == told), None)

    def stop(self) -> None:
        self._removals.submit(self._api().remove_container, self._id, v=True, force=True)  # nobody need wait for it

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._api().inspect_container(self._id)["State"]
        return state

    def _api(self) -> Any:
        from mldeploy.engines.connection import connect

        return connect().api


def _living(pid: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    return None


def _number(process: psutil.Process) -> int:
    """The number that a process has in its own namespace: proc_pid_status(5)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


class Engine(Protocol):
    """What runs the servers of a test: the one way to get one, whichever engine it is.

    Attributes:
        name: `process` or `docker`.
    """

    name: str

    def start(
        self, folder: Path, flags: Sequence[str], variables: Mapping[str, str], memory: int | None = None
    ) -> Running:
        """Start the scoring server.

        Args:
            folder: The app root, below the session's temporary folder; all that is below that has the same path there.
            flags: Of `python -m mldeploy_serving`, without where it listens.
            variables: Its environment, beside what its engine gives each.
            memory: The most bytes that it may have.
        """

    def share(self, folder: Path) -> None:
        """Let servers read what is in a folder below the session's temporary one, and write there."""


class Processes:
    """Servers as processes."""

    name = "process"

    def start(
        self, folder: Path, flags: Sequence[str], variables: Mapping[str, str], memory: int | None = None
    ) -> Running:
        assert memory is None, "a process has no limit"
        return Process([sys.executable, "-m", "mldeploy_serving", "--fd", "{fd}", *flags], folder, variables)

    def share(self, folder: Path) -> None:
        """It is this user's own."""


class Containers:
    """Servers in containers of one image; as with a deployment, what differs between them is mounted."""

    name = "docker"

    def __init__(self, image: str, shared: Path) -> None:
        self._image, self._shared = image, shared
        self._number = itertools.count()
        self._removals = ThreadPoolExecutor(4)

    def start(
        self, folder: Path, flags: Sequence[str], variables: Mapping[str, str], memory: int | None = None
    ) -> Running:
        from mldeploy.engines import docker
        from mldeploy.images.assemble import command
        from mldeploy.images.layers.environment import APP_ROOT

        self.share(folder)
        self.share(folder.parent)
        container = docker.Container(
            self._image,
            f"mldeploy-test-{os.getpid()}-{next(self._number)}",
            (*command("mldeploy_serving"), *flags),
            labels={"mldeploy.test": str(os.getpid())},
            environment=variables,
            mounts=(docker.Mount(folder, APP_ROOT), docker.Mount(self._shared, str(self._shared))),
            user=f"{os.getuid()}:{os.getgid()}" if os.getuid() else None,
            options=docker.Options(memory=memory),
        )
        running = docker.create(container, None)
        docker.start(running)
        return Container(running, self._removals)

    def close(self) -> None:
        """Wait until all containers are gone."""
        from mldeploy.engines import docker

        self._removals.shutdown()
        for left in docker.instances({"mldeploy.test": str(os.getpid())}):  # what the engine was too busy for
            docker.remove(left)

    def share(self, folder: Path) -> None:
        from mldeploy.images.layers.environment import USER

        for each in (folder, *folder.parents):
            each.chmod(each.stat().st_mode | 0o011)
            if each == self._shared:
                break
        if not os.getuid():
            os.chown(folder, USER, USER)


class Service:
    """A server, the folder it runs in, and a client of it."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        flags: Sequence[str],
        variables: Mapping[str, str],
        memory: int | None = None,
    ) -> None:
        self.folder = folder
        self.log_file = folder.with_name("log")
        self.exit_file = folder.with_name("exit.json")
        files = ("--log-file", str(self.log_file), "--exit-file", str(self.exit_file))
        self._running = engine.start(folder, (*files, *flags), variables, memory)
        self.port = self._running.port
        self.signal, self.process = self._running.signal, self._running.process
        self.http = requests.Session()
        self.http.trust_env = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """This machine's number for its first process, the supervisor."""
        return self._running.pid

    @property
    def sees(self) -> str:
        """The address that clients on this machine have for it."""
        return self._running.sees

    def ask(self, method: str, path: str = "/score", data: Any = None, **headers: str) -> requests.Response:
        """Send a request; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + path, data=data, headers=named, timeout=PATIENCE_S)

    def post(self, data: Any, content_type: str = "application/json", path: str = "/score") -> requests.Response:
        return self.ask("POST", path, data, Content_Type=content_type)

    def asking(self, data: str) -> Asking:
        """Post in a thread of its own."""
        return Asking(self.url + "/score", data)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        eventually(condition, f"{what}; its log:\n{self.log()}")

    def wait_for_in_flight(self, number: int) -> None:
        """Wait until so many requests have not been answered; with MLDEPLOY_METRICS=true."""
        line = f"mldeploy_requests_in_flight {number}\n"
        self.until(lambda: line in self.ask("GET", "/metrics").text, f"{number} requests in flight")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def is_healthy(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return self.ask("GET", "/").status_code == 200
        return False

    def answers(self) -> bool:
        """Whether anything answers: Docker takes connections also while a container's server does not listen."""
        with contextlib.suppress(OSError), self.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
        return False

    def wait_until_healthy(self) -> None:
        def settled() -> bool:
            return self.is_healthy() or self._running.ended() is not None

        eventually(settled, "a healthy service")
        assert self._running.ended() is None, self.log()

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait_for_log(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.log().count(text) >= times, f"{text!r} in the log")

    def worker_pid(self) -> int:
        """The number of its worker, where it runs."""
        marker = "Worker with pid "
        self.wait_for_log(marker)
        return int(self.log().rsplit(marker)[1].split()[0])

    def kill(self, told: int) -> None:
        """Kill one of its processes."""
        found = self.process(told)
        assert found is not None, f"{told} is gone"
        found.kill()

    def wait(self) -> dict[str, Any]:
        """Wait for the supervisor's end; returns its record with its own exit code."""
        eventually(lambda: self._running.ended() is not None, f"the end; its log:\n{self.log()}")
        record: dict[str, Any] = json.loads(self.exit_file.read_text())
        return {**record, "returned": self._running.ended()}

    def stop(self) -> None:
        self.http.close()
        self._running.stop()


Serve = Callable[..., Service]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever gets a server gets one of each engine, or of the one that was asked for."""
    if "engine" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("mldeploy_engine")
    names = ("process", "docker") if asked in {None, "auto"} else (asked,)
    metafunc.parametrize("engine", names, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What makes no sense with one of them is skipped there, and says why."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("engine")  # type: ignore[attr-defined]
        for mark in item.iter_markers("not_on"):
            if mark.args[0] == name:
                item.add_marker(pytest.mark.skip(reason=f"not on {name}: {mark.args[1]}"))


@pytest.fixture(scope="session")
def environment_image(docker_client: DockerClient) -> str:
    """An image with the scoring server and what scripts of these tests import, in this environment's own versions."""
    from importlib.metadata import version

    from mldeploy.conda_dependencies import CondaDependencies
    from mldeploy.environment import Environment
    from mldeploy.images.assemble import environment_image
    from mldeploy.images.loading import load
    from mldeploy.images.resolving import resolve

    names = ("inference-schema", "joblib", "numpy", "pandas", "werkzeug")
    environment = Environment("tests")
    environment.python.conda_dependencies = CondaDependencies.create(
        pip_packages=[f"{name}=={version(name)}" for name in names]
    )
    resolved = resolve(environment, _NoLocks())
    image = environment_image(docker_client, resolved)
    load(docker_client, image, f"mldeploy/environment:{resolved.digest[:12]}")  # kept, as all that can be made again
    return image.id


class _NoLocks:
    def get(self, key: str) -> str | None:
        return None

    def put(self, key: str, text: str) -> None:
        pass


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """What runs servers: every test that has one runs with each engine."""
    if request.param == "process":
        yield Processes()
        return
    containers = Containers(request.getfixturevalue("environment_image"), tmp_path_factory.getbasetemp())
    yield containers
    containers.close()


@pytest.fixture(scope="session")
def as_process() -> type[Process]:
    """Starts other servers than ours, for comparison: `as_process(command, folder, variables, output)`."""
    return Process


def _start(
    engine: Engine,
    root: Path,
    script: str | None,
    *flags: str,
    wait: bool = True,
    memory: int | None = None,
    **variables: str,
) -> Service:
    folder = root / "app"
    folder.mkdir(exist_ok=True)
    if script is not None:
        (folder / "score.py").write_text(dedent(script))
    service = Service(engine, folder, flags, {"AZUREML_ENTRY_SCRIPT": "score.py", **variables}, memory)
    if wait:
        try:
            service.wait_until_healthy()
        except BaseException:
            service.stop()
            raise
    return service


@pytest.fixture
def serve(engine: Engine, tmp_path: Path) -> Iterator[Serve]:
    """Start a service of this test's own: `serve(script, *flags, wait=True, memory=None, **variables)`."""
    services = []

    def start(
        script: str | None, *flags: str, wait: bool = True, memory: int | None = None, **variables: str
    ) -> Service:
        services.append(_start(engine, tmp_path, script, *flags, wait=wait, memory=memory, **variables))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture(scope="session")
def start_service(engine: Engine) -> Callable[..., Service]:
    """Start a service that several tests share: `start_service(folder, script, *flags, wait=True, **variables)`."""
    return partial(_start, engine)


def _shared(name: str, script: str, **variables: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def service(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
        started = _start(engine, tmp_path_factory.mktemp(name), script, wait=True, memory=None, **variables)
        yield started
        started.stop()

    return service


_plain = _shared(
    "plain",
    """
    import asyncio, collections, concurrent.futures, datetime, sys, time
    pool = concurrent.futures.ThreadPoolExecutor(2)
    def init():
        print("printed by init")
    def run(data):
        if data.startswith("!"):
            return eval(data[1:])
        return {"got": data}
    def fail(error):
        raise error
    async def later(value):
        await asyncio.sleep(0)
        return value
    """,
    AML_CORS_ORIGINS="https://a.example, https://b.example",
)
_decorated = _shared(
    "decorated",
    """
    import numpy as np
    import pandas as pd
    from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
    from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
    from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
    from inference_schema.schema_decorators import input_schema, output_schema
    def init():
        pass
    @input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
    @input_schema("frame", PandasParameterType(pd.DataFrame({"a": [1]})))
    @input_schema("inner", StandardPythonParameterType({"x": NumpyParameterType(np.array([1.0]))}))
    @output_schema(NumpyParameterType(np.array([3.0])))
    def run(data, frame=None, inner=None, fail=False):
        if fail:
            raise ValueError("by run itself")
        return data.sum(axis=1)
    """,
    SERVICE_NAME='say "hi"',
    SERVICE_VERSION="7",
)
_raw = _shared(
    "raw",
    """
    from azureml.contrib.services.aml_request import AMLRequest, rawhttp
    from azureml_inference_server_http.api.aml_response import AMLResponse
    from werkzeug.wrappers import Response
    def init():
        pass
    @rawhttp
    def run(request):
        assert isinstance(request, AMLRequest)
        wanted = request.headers.get("X-Want")
        if wanted == "form":
            return {"form": request.form.to_dict(), "files": {k: f.read().hex() for k, f in request.files.items()}}
        if wanted == "empty":
            return AMLResponse(None, 201)
        if wanted == "image":
            return AMLResponse(request.get_data(), 200, {"Content-Type": "image/png", "X-Two": "1, 2"})
        if wanted == "failing":
            return AMLResponse("no", 503)
        if wanted == "json":
            return AMLResponse({"a": 1}, 200, {}, True)
        if wanted == "werkzeug":
            return Response(iter([b"a", b"", b"b"]), 202, {"Access-Control-Allow-Origin": "*"})
        return {
            "method": request.method, "full_path": request.full_path, "args": request.args.to_dict(flat=False),
            "json": request.get_json(silent=True), "data": request.data.decode("latin-1"),
            "type": request.content_type, "header": request.headers.get("X-Some-Thing"),
            "remote": request.remote_addr,
        }
    """,
)
