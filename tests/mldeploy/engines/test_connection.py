"""Where the Docker engine is looked for, and what is said where there is none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.engines import connection
from mldeploy.engines.connection import asking, connect, endpoint, facts
from mldeploy.errors import EngineException

if TYPE_CHECKING:
    import trustme
    from docker import DockerClient

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any engine: no setting, no socket, no program."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "h"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.setattr(connection, "_DEFAULT", str(tmp_path / "docker.sock"))
    monkeypatch.setattr(connection, "_PODMAN", str(tmp_path / "podman.sock"))
    monkeypatch.setattr(connection, "_clients", {})
    return tmp_path


@pytest.fixture(scope="session")
def real(docker_client: DockerClient) -> str:
    """The path of the socket in which the real engine listens, found while nothing is patched."""
    path = endpoint().socket
    if path is None:
        pytest.skip("the engine is not on this machine")
    return path


class Door:
    """A second door to the real engine: what comes to it is passed on. It can be closed.

    Args:
        listener: Where it listens.
        inner: The engine's socket.
        tls: Speaks TLS with its clients.
    """

    def __init__(self, listener: socket.socket, inner: str, tls: ssl.SSLContext | None = None) -> None:
        self._listener = listener
        self._inner = inner
        self._tls = tls
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            outer = self._tls.wrap_socket(client, server_side=True) if self._tls else client
            engine = socket.socket(socket.AF_UNIX)
            self._open += [outer, engine]
            engine.connect(self._inner)
            back = threading.Thread(target=_pour, args=(engine, outer), daemon=True)
            back.start()
            _pour(outer, engine)
            back.join()
            outer.close()
            engine.close()

    def close(self) -> None:
        """Let nobody in, and throw out who is inside."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


Opened = Callable[..., Door]


@pytest.fixture
def door(real: str) -> Iterator[Opened]:
    """Opens doors to the real engine, on a path or on a loopback port; closed again at the end."""
    doors: list[Door] = []

    def opened(place: str | int, tls: ssl.SSLContext | None = None) -> Door:
        if isinstance(place, int):
            listener = socket.create_server(("127.0.0.1", place))
        else:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(place)
            listener.listen()
        doors.append(Door(listener, real, tls))
        return doors[-1]

    yield opened
    for client in connection._clients.values():
        client.close()
    for each in doors:
        each.close()


def refusal() -> EngineException:
    """What `connect` says."""
    with pytest.raises(EngineException) as caught:
        connect()
    return caught.value


def context(name: str, host: str, **more: object) -> None:
    """Describe a Docker context, as `docker context create` does."""
    folder = Path.home() / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False, **more}}}
    (folder / "meta.json").write_text(json.dumps(described))


def test_nothing_is_installed() -> None:
    error = refusal()
    assert error.message == "no Docker engine is installed"
    assert "docs.docker.com/engine/install" in error.hint


def test_it_is_installed_and_does_not_run(nowhere: Path) -> None:
    program = nowhere / "h" / "dockerd"
    program.touch(0o755)
    error = refusal()
    assert error.message == "the Docker engine is not running"
    assert error.hint


def test_a_socket_in_which_nobody_listens_is_an_engine_that_does_not_run(nowhere: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(nowhere / "docker.sock"))
    assert refusal().message == "the Docker engine is not running"


def test_a_user_who_may_not(nowhere: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(nowhere / "docker.sock"))
        listener.listen()
        (nowhere / "docker.sock").chmod(0o600)
        os.seteuid(65534)
        try:
            error = refusal()
        finally:
            os.seteuid(0)
    assert error.message == "this user may not use the Docker engine"
    assert "usermod -aG docker" in error.hint


def test_docker_host_that_is_dead(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/dead.sock")
    error = refusal()
    assert error.message == "no Docker engine answers"
    assert error.where == f"unix://{nowhere}/dead.sock (DOCKER_HOST)"
    assert error.reason == "No such file or directory"
    assert "unset DOCKER_HOST" in error.hint


def test_nothing_heavy_is_imported_to_say_so(nowhere: Path) -> None:
    code = (
        "import sys, time\n"
        "from mldeploy.engines.connection import connect\n"
        "began = time.perf_counter()\n"
        "try: connect()\n"
        "except Exception as error: print(type(error).__name__, time.perf_counter() - began)\n"
        "print('docker' in sys.modules, 'requests' in sys.modules)"
    )
    environ = {**os.environ, "DOCKER_HOST": f"unix://{nowhere}/dead.sock"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    name, seconds, *imported = done.stdout.split()
    assert (name, imported) == ("EngineException", ["False", "False"])
    assert float(seconds) < 0.05


@pytest.mark.parametrize("host", ["tcp://ada:secret@127.0.0.1:{port}", "ada:secret@127.0.0.1:{port}"])
def test_a_password_in_an_address_is_not_told(host: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host.format(port=free_port))
    error = refusal()
    assert "127.0.0.1" in error.where
    assert "secret" not in str(error)


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "gopher://x")
    assert refusal().message == "no Docker engine answers"


def test_something_that_is_no_engine(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
        assert refusal().message == "no Docker engine answers"


def test_an_engine_that_never_answers(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
    with socket.create_server(("127.0.0.1", free_port)):
        error = refusal()
    assert "timed out" in error.reason


def test_docker_host_of_the_real_one(door: Opened, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door(f"{nowhere}/e.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/e.sock")
    client = connect()
    assert connect() is client
    seen = facts(client)
    assert seen.local
    assert seen.name in {"Docker", "Podman"}
    assert seen.version[0].isdigit()
    assert seen.cgroup_version in {"1", "2"}
    assert seen.architecture in {"amd64", "arm64"}
    assert seen.cpus >= 1
    assert seen.memory > 2**28
    assert seen.storage_driver


def test_over_tcp_its_folders_are_not_ours(door: Opened, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    door(free_port)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
    assert not facts(connect()).local


def test_an_engine_that_stops_and_comes_back(door: Opened, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{nowhere}/e.sock"
    first = door(place)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
    client = connect()
    first.close()
    with pytest.raises(EngineException, match="has stopped answering") as caught:
        asking(client.info)
    assert caught.value.reason == "Connection refused"
    assert refusal().reason == "Connection refused"
    Path(place).unlink()
    door(place)
    assert connect() is client
    assert asking(client.ping)


def test_what_the_engine_refuses_is_in_its_own_words(docker_client: DockerClient) -> None:
    with pytest.raises(EngineException) as caught:
        asking(docker_client.api.inspect_image, "Not A Name")
    assert caught.value.message == "the Docker engine refuses"
    assert "invalid reference format" in caught.value.reason


def test_a_context_is_used(door: Opened, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door(f"{nowhere}/e.sock")
    context("mine", f"unix://{nowhere}/e.sock")
    (Path.home() / ".docker" / "config.json").write_text('{"currentContext": "mine"}')
    assert endpoint().origin == "the Docker context 'mine'"
    assert connect().ping()


def test_the_variable_is_above_the_file_and_docker_host_above_both(
    door: Opened, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        door(f"{nowhere}/{name}.sock")
        context(name, f"unix://{nowhere}/{name}.sock")
    (Path.home() / ".docker" / "config.json").write_text('{"currentContext": "a"}')
    assert endpoint().socket == f"{nowhere}/a.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "b")
    assert endpoint().socket == f"{nowhere}/b.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/c.sock")
    assert endpoint().socket == f"{nowhere}/c.sock"


def test_a_context_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    error = refusal()
    assert error.message == "the Docker context 'gone' is not there"
    assert "docker context ls" in error.hint


def test_a_context_whose_engine_is_dead(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context("mine", f"unix://{nowhere}/dead.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    error = refusal()
    assert "the Docker context 'mine'" in error.where
    assert "docker context use default" in error.hint


@pytest.mark.parametrize("content", ["", "{", '{"currentContext": "default"}', '{"currentContext": ""}'])
def test_a_config_without_a_context_is_the_usual_sockets(content: str, door: Opened, nowhere: Path) -> None:
    (Path.home() / ".docker").mkdir()
    (Path.home() / ".docker" / "config.json").write_text(content)
    door(f"{nowhere}/docker.sock")
    assert endpoint().socket == f"{nowhere}/docker.sock"
    assert connect().ping()


def test_sockets_are_tried_in_order(door: Opened, nowhere: Path) -> None:
    found = []
    for place in (
        "podman.sock",
        "r/podman/podman.sock",
        "h/.docker/desktop/docker.sock",
        "r/docker.sock",
        "docker.sock",
    ):
        door(f"{nowhere}/{place}")
        found.append(endpoint().socket)
    assert found == [
        f"{nowhere}/podman.sock",
        f"{nowhere}/r/podman/podman.sock",
        f"{nowhere}/h/.docker/desktop/docker.sock",
        f"{nowhere}/r/docker.sock",
        f"{nowhere}/docker.sock",
    ]


@pytest.fixture
def authority(nowhere: Path) -> trustme.CA:
    """Who signs; its certificate and a client's are where Docker wants them."""
    import trustme

    authority = trustme.CA()
    client = authority.issue_cert("client.example")
    for folder in (Path.home() / ".docker", nowhere / "certificates"):
        folder.mkdir()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        client.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        client.private_key_pem.write_to_path(folder / "key.pem")
    return authority


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """What an engine with TLS does: it shows a certificate and wants one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("named", [True, False])
def test_tls(
    named: bool, door: Opened, tls: ssl.SSLContext, free_port: int, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door(free_port, tls)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    if named:
        monkeypatch.setenv("DOCKER_CERT_PATH", str(nowhere / "certificates"))
    assert connect().ping()


def test_tls_of_a_context(
    door: Opened, tls: ssl.SSLContext, free_port: int, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door(free_port, tls)
    context("far", f"tcp://127.0.0.1:{free_port}")
    digest = hashlib.sha256(b"far").hexdigest()
    kept = Path.home() / ".docker" / "contexts" / "tls" / digest
    kept.mkdir(parents=True)
    shutil.copytree(nowhere / "certificates", kept / "docker")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert connect().ping()


def test_a_certificate_of_somebody_else(
    door: Opened, tls: ssl.SSLContext, free_port: int, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trustme

    door(free_port, tls)
    trustme.CA().cert_pem.write_to_path(nowhere / "certificates" / "ca.pem")
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(nowhere / "certificates"))
    error = refusal()
    assert "certificate verify failed" in error.reason


def test_certificates_that_are_missing(free_port: int, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(nowhere / "certificates"))
    assert "TLS" in refusal().reason or "cert" in refusal().reason


def test_ssh_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://ada@127.0.0.1:1")
    error = refusal()
    assert error.message == "no Docker engine answers"
    assert "ada" not in error.where
    assert error.hint
