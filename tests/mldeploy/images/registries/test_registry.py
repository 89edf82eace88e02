"""Pushing to and pulling from a real registry, and registries that fail in each of their ways."""

from __future__ import annotations

import base64
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from mldeploy.errors import EngineException, UserErrorException
from mldeploy.events import Event, Notice, Progress, Step
from mldeploy.images.registries.registry import Credentials, Reference, credentials, pull, push

if TYPE_CHECKING:
    from docker import DockerClient

USERNAME, PASSWORD = "ada", "correct horse"


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own: nobody's credentials are read."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def gone(client: DockerClient) -> Callable[[str], None]:
    """Takes an image off the engine, under all its names."""
    return lambda image: client.images.remove(image, force=True)


def test_push_and_pull_by_digest(
    client: DockerClient, registry: Any, larger_image: str, gone: Callable[[str], None]
) -> None:
    events: list[Event] = []
    pushed = push(client, larger_image, f"{registry.address}/team/app:1", report=events.append)
    repository, _, digest = pushed.partition("@")
    assert repository == f"{registry.address}/team/app"
    assert digest.startswith("sha256:")
    assert events[0] == Step("push", f"Pushing {registry.address}/team/app:1")
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total >= 24_000_000
    assert f"{registry.address}/team/app:1" in client.images.get(larger_image).tags
    gone(larger_image)
    events.clear()
    assert pull(client, pushed, report=events.append) == larger_image
    assert events[0] == Step("pull", f"Pulling {pushed}")
    gone(larger_image)
    assert pull(client, f"{registry.address}/team/app:1") == larger_image


def test_a_second_push_sends_nothing_and_has_the_same_digest(client: DockerClient, registry: Any, image: str) -> None:
    first = push(client, image, f"{registry.address}/app:1")
    events: list[Event] = []
    assert push(client, image, f"{registry.address}/app:2", report=events.append) == first.replace(":1@", ":2@")
    assert not [event for event in events if isinstance(event, Progress)]


def test_a_registry_with_tls(
    client: DockerClient, start_registry: Any, image: str, gone: Callable[[str], None]
) -> None:
    registry = start_registry(authority=trustme.CA())
    pushed = push(client, image, f"{registry.address}/app:1")
    gone(image)
    assert pull(client, pushed) == image


def test_credentials_of_the_configuration(
    client: DockerClient, start_registry: Any, image: str, docker_config: Path, gone: Callable[[str], None]
) -> None:
    registry = start_registry(guarded=True)
    both = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (docker_config / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": both}}}))
    assert credentials(registry.address) == Credentials(USERNAME, PASSWORD)
    pushed = push(client, image, f"{registry.address}/app:1")
    gone(image)
    assert pull(client, pushed) == image


def test_credentials_of_a_helper(
    client: DockerClient, start_registry: Any, image: str, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = start_registry(guarded=True)
    helper = docker_config / "docker-credential-tests"
    kept = json.dumps({"ServerURL": registry.address, "Username": USERNAME, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{kept}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker_config}{os.pathsep}{os.environ['PATH']}")
    (docker_config / "config.json").write_text(json.dumps({"credHelpers": {registry.address: "tests"}}))
    assert push(client, image, f"{registry.address}/app:1")


def test_credentials_that_are_given(client: DockerClient, start_registry: Any, image: str, docker_config: Path) -> None:
    registry = start_registry(guarded=True)
    with pytest.raises(EngineException, match="cannot be pulled"):
        pull(client, f"{registry.address}/app:1")
    with pytest.raises(EngineException, match="it is not there"):
        pull(client, f"{registry.address}/app:1", known=Credentials(USERNAME, PASSWORD))


def test_a_helper_that_is_missing(docker_config: Path) -> None:
    (docker_config / "config.json").write_text(json.dumps({"credsStore": "nowhere"}))
    with pytest.raises(EngineException, match=r"credentials for registry\.example cannot be had") as raised:
        credentials("registry.example")
    assert "docker-credential-nowhere not installed" in raised.value.reason


@pytest.mark.parametrize("password", ["", "a wrong secret"])
def test_wrong_credentials_are_never_printed(
    client: DockerClient, start_registry: Any, image: str, docker_config: Path, password: str
) -> None:
    registry = start_registry(guarded=True)
    if password:
        both = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
        (docker_config / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": both}}}))
    events: list[Event] = []
    with pytest.raises(EngineException) as raised:
        push(client, image, f"{registry.address}/app:1", report=events.append)
    expected = "'ada' or the password" if password else "whoever does not say who they are"
    assert raised.value.message == f"{registry.address}/app:1 cannot be pushed: the registry refuses {expected}"
    assert raised.value.where == registry.address
    assert f"docker login {registry.address}" in raised.value.hint
    told = f"{raised.value} {events} {credentials(registry.address)!r}"
    assert not password or (password not in told and both not in told)
    # what was not pushed has no name there
    assert len(client.images.get(image).tags) == 1


def test_a_wrong_name_is_refused_before_anything_is_asked(client: DockerClient) -> None:
    with pytest.raises(UserErrorException, match="'Team/App:1' is no image name"):
        push(client, "x", "Team/App:1")
    with pytest.raises(UserErrorException, match="does not say which registry"):
        push(client, "x", "team/app:1")
    with pytest.raises(UserErrorException, match="has a digest"):
        push(client, "x", f"localhost:5000/app@sha256:{'0' * 64}")


def test_an_image_that_is_not_there(client: DockerClient, registry: Any) -> None:
    with pytest.raises(EngineException, match="the engine has no such image"):
        push(client, "mldeploy-tests/none:1", f"{registry.address}/app:1")
    with pytest.raises(EngineException, match="cannot be pulled: it is not there"):
        pull(client, f"{registry.address}/app:1")


@pytest.mark.parametrize(
    ("text", "repository", "registry"),
    [
        ("package:20190822181338", "package", ""),
        ("team/app", "team/app", ""),
        ("localhost/app", "localhost/app", "localhost"),
        ("registry:5000/app", "registry:5000/app", "registry:5000"),
        ("docker.io/me/app:1", "docker.io/me/app", "docker.io"),
        ("[::1]:5000/app:1", "[::1]:5000/app", "[::1]:5000"),
    ],
)
def test_names(text: str, repository: str, registry: str) -> None:
    found = Reference.of(text)
    assert (found.repository, found.registry, str(found)) == (repository, registry, text)


def _answer(code: int, more: str = "") -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 {code} So\r\nContent-Length: 2\r\nConnection: close\r\n{more}\r\n"
        connection.sendall(f"{head}{{}}".encode())

    return answer


def _close(connection: socket.socket) -> None:
    connection.recv(100)


def _wait(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@contextmanager
def _listening(answer: Callable[[socket.socket], None], path: Path | None = None) -> Iterator[str]:
    """A server on a loopback port, or a socket's path, that answers each connection in one way."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    def run() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

    family, place = (socket.AF_UNIX, str(path)) if path else (socket.AF_INET, ("127.0.0.1", 0))
    with socket.create_server(place, family=family) as listener:
        accepting = threading.Thread(target=run)
        accepting.start()
        try:
            yield str(path) if path else f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (_answer(500), "the registry failed"),
        (_answer(503), "the registry failed"),
        (
            _answer(401, 'WWW-Authenticate: Basic realm="x"\r\n'),
            "the registry refuses whoever does not say who they are",
        ),
        (_answer(403), "the registry refuses whoever does not say who they are"),
        (_answer(429), "the registry has had too many requests"),
        (_close, "the registry broke the connection off"),
        (_wait, "the registry is too slow"),
    ],
    ids=["500", "503", "401", "403", "429", "closes", "waits"],
)
def test_registries_that_fail(
    client: DockerClient, image: str, answer: Callable[[socket.socket], None], meaning: str
) -> None:
    with _listening(answer) as address:
        name = f"{address}/team/app:1"
        with pytest.raises(EngineException) as raised:
            push(client, image, name, patience=2)
        assert raised.value.message == f"{name} cannot be pushed: {meaning}"
        assert raised.value.where == address
        assert raised.value.reason
        assert raised.value.hint
        with pytest.raises(EngineException) as raised:
            pull(client, name, patience=2)
        assert raised.value.message == f"{name} cannot be pulled: {meaning}"
        assert len(client.images.get(image).tags) == 1


def test_a_port_where_nothing_listens(client: DockerClient, image: str, free_port: int) -> None:
    with pytest.raises(EngineException) as raised:
        push(client, image, f"127.0.0.1:{free_port}/app:1")
    assert str(raised.value).splitlines()[0].endswith("nothing answers at the registry's address")
    assert "connection refused" in raised.value.reason


class Way:
    """To a registry, through a port of the test's own: slow, or cut off after some bytes of a layer.

    Args:
        address: Of the registry.
        pause: Seconds to wait for each 16 kB on the way there.
    """

    def __init__(self, address: str, pause: float = 0.0) -> None:
        self._to = address.partition(":")[0], int(address.partition(":")[2])
        self.pause = pause
        self.cut_after: int | None = None
        self.sent = 0
        self.cuts = 0

    def __call__(self, connection: socket.socket) -> None:
        with socket.create_connection(self._to) as other:
            back = threading.Thread(target=self._back, args=(other, connection))
            back.start()
            sent = 0
            while block := connection.recv(16384):
                sent += len(block)
                self.sent += len(block)
                if self.cut_after is not None and sent > self.cut_after:
                    self.cuts += 1
                    break
                time.sleep(self.pause)
                other.sendall(block)
            for end in (other, connection):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _back(other: socket.socket, connection: socket.socket) -> None:
        with suppress(OSError):
            while block := other.recv(65536):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)


def _eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_connection_that_breaks_once_is_tried_again(client: DockerClient, registry: Any, larger_image: str) -> None:
    way = Way(registry.address)
    way.cut_after = 1_000_000
    events: list[Event] = []

    def report(event: Event) -> None:
        events.append(event)
        if isinstance(event, Notice):
            way.cut_after = None

    with _listening(way) as address:
        assert push(client, larger_image, f"{address}/app:1", report=report)
    assert way.cuts == 1
    (again,) = [event.text for event in events if isinstance(event, Notice)]
    assert again.startswith("the registry failed, and the engine tries again to push")


def test_a_connection_that_always_breaks_is_given_up(client: DockerClient, registry: Any, larger_image: str) -> None:
    way = Way(registry.address)
    way.cut_after = 1_000_000
    with _listening(way) as address, pytest.raises(EngineException, match="cannot be pushed: the registry failed"):
        push(client, larger_image, f"{address}/app:1", patience=3)
    assert registry.status("app/manifests/1") == 404


def test_a_slow_registry_is_waited_for_as_long_as_something_moves(
    client: DockerClient, registry: Any, larger_image: str
) -> None:
    # a few MB are always on the way, when the engine has seen the last byte go
    way = Way(registry.address, pause=0.005)
    with _listening(way) as address:
        began = time.monotonic()
        assert push(client, larger_image, f"{address}/app:1", patience=5)
        assert time.monotonic() - began > 5


def test_a_registry_that_is_killed_in_the_middle_and_started_again(
    client: DockerClient, registry: Any, larger_image: str, gone: Callable[[str], None]
) -> None:
    way = Way(registry.address, pause=0.01)
    killed = threading.Event()

    def report(event: Event) -> None:
        if isinstance(event, Progress) and event.done > 1_000_000 and not killed.is_set():
            killed.set()
            registry.container.kill()

    with _listening(way) as address:
        name = f"{address}/app:1"
        with pytest.raises(EngineException, match="cannot be pushed"):
            push(client, larger_image, name, report=report, patience=3)
        registry.start()
        assert registry.status("app/manifests/1") == 404
        way.pause = 0
        pushed = push(client, larger_image, name)
        gone(larger_image)
        assert pull(client, pushed) == larger_image


PUSH = """
import sys
from mldeploy.engines.connection import connect
from mldeploy.images.registries.registry import push
push(connect(), sys.argv[1], sys.argv[2])
"""


def test_a_client_that_is_killed_in_the_middle(
    client: DockerClient, registry: Any, larger_image: str, gone: Callable[[str], None]
) -> None:
    way = Way(registry.address, pause=0.01)
    with _listening(way) as address:
        name = f"{address}/app:1"
        with subprocess.Popen([sys.executable, "-c", PUSH, larger_image, name]) as pushing:
            _eventually(lambda: way.sent > 1_000_000)
            pushing.send_signal(signal.SIGKILL)
        assert registry.status("app/manifests/1") == 404
        way.pause = 0
        pushed = push(client, larger_image, name)
        gone(larger_image)
        assert pull(client, pushed) == larger_image


def test_a_push_that_is_interrupted_ends_at_the_engine_too(
    client: DockerClient, registry: Any, larger_image: str
) -> None:
    way = Way(registry.address, pause=0.01)

    def report(event: Event) -> None:
        if isinstance(event, Progress) and event.done > 1_000_000:
            raise KeyboardInterrupt

    with _listening(way) as address, pytest.raises(KeyboardInterrupt):
        push(client, larger_image, f"{address}/app:1", report=report)
    assert registry.status("app/manifests/1") == 404
    assert len(client.images.get(larger_image).tags) == 1


# In a network of the engine's own: an engine without a bridge removes the one that it finds in its network.
STRICT_ENGINE = """
set -e
ip link set lo up
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/etc" /etc/docker
"$2" -c 'import asyncio, sys

async def copy(reader, writer):
    while block := await reader.read(65536):
        writer.write(block)
        await writer.drain()
    writer.close()

async def pass_on(reader, writer):
    there, back = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

async def main():
    async with await asyncio.start_server(pass_on, "::1", 5000) as server:
        open(sys.argv[2], "w").close()
        await server.serve_forever()

asyncio.run(main())' "$1/registry" "$1/listening" &
until [ -e "$1/listening" ]; do sleep 0.05; done
exec dockerd --host "unix://$1/s" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \\
    --config-file "$1/daemon.json" --storage-driver vfs --bridge none --iptables=false --ip-forward=false
"""


@dataclass(frozen=True)
class Strict:
    """A second engine, to which `registry.test` is ::1: no address of 127.0.0.0/8, where it would trust anybody.

    Args:
        client: It.
        folder: Has all that is its own; `etc` is what `/etc/docker` is to it.
        process: It, and all that it has started.
    """

    client: DockerClient
    folder: Path
    process: subprocess.Popen[bytes]
    address = "registry.test:5000"

    @contextmanager
    def way_to(self, registry: Any) -> Iterator[str]:
        """The registry under the name that this engine knows."""
        with _listening(Way(registry.address), self.folder / "registry"):
            yield self.address

    def trusts(self, authority: trustme.CA, file: str) -> None:
        """Lay a certificate where the engine looks for it."""
        place = self.folder / "etc" / Path(file).relative_to("/etc/docker")
        place.parent.mkdir(parents=True, exist_ok=True)
        authority.cert_pem.write_to_path(place)


@pytest.fixture
def strict(client: DockerClient, image: str) -> Iterator[Strict]:
    """An engine of the test's own, in namespaces of its own, that has the small image too."""
    from docker import DockerClient

    if os.geteuid() or not all(map(shutil.which, ("dockerd", "unshare", "ip"))) or not Path("/etc/docker").is_dir():
        _lacking("a second engine needs root, dockerd, unshare and ip")
    with tempfile.TemporaryDirectory(prefix="mldeploy-tests-") as short:  # a socket's path has 107 bytes at most
        folder = Path(short)
        (folder / "etc").mkdir()
        (folder / "hosts").write_text("127.0.0.1 localhost\n::1 registry.test\n")
        (folder / "daemon.json").write_text("{}")
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*apart, "sh", "-c", STRICT_ENGINE, "sh", short, sys.executable]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _eventually(lambda: (folder / "s").exists() or process.poll() is not None)
                if process.poll() is not None:
                    _lacking((folder / "log").read_text()[-500:])
                engine = DockerClient(f"unix://{folder}/s")
                _eventually(engine.ping)
                engine.images.load(b"".join(client.images.get(image).save(named=True)))
                yield Strict(engine, folder, process)
                engine.close()
            finally:
                process.kill()


def _lacking(why: str) -> None:
    (pytest.fail if "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(",") else pytest.skip)(why)


def test_a_certificate_that_nobody_vouches_for(strict: Strict, start_registry: Any, image: str) -> None:
    authority = trustme.CA()
    registry = start_registry(authority=authority, names=("registry.test",))
    with strict.way_to(registry) as address:
        with pytest.raises(EngineException) as raised:
            push(strict.client, image, f"{address}/app:1")
        assert raised.value.message.endswith("the registry's certificate is not one that the engine trusts")
        assert "x509" in raised.value.reason
        strict.trusts(authority, raised.value.hint.rpartition(" ")[2])  # what the hint says is what helps
        assert push(strict.client, image, f"{address}/app:1")


def test_a_certificate_of_another_name(strict: Strict, start_registry: Any, image: str) -> None:
    authority = trustme.CA()
    strict.trusts(authority, f"/etc/docker/certs.d/{strict.address}/ca.crt")
    with strict.way_to(start_registry(authority=authority)) as address:
        with pytest.raises(EngineException, match="certificate is not one that the engine trusts") as raised:
            push(strict.client, image, f"{address}/app:1")
        assert "registry.test" in raised.value.reason.partition("x509")[2]


def test_a_registry_without_tls_that_is_not_this_machines(strict: Strict, registry: Any) -> None:
    with strict.way_to(registry) as address, pytest.raises(EngineException, match="speaks HTTP") as raised:
        pull(strict.client, f"{address}/app:1")
    assert "insecure-registries" in raised.value.hint


# the SDK does not close a socket that it could not connect
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_an_engine_that_is_killed_in_the_middle(strict: Strict, image: str, verb: str) -> None:
    def answer(connection: socket.socket) -> None:
        strict.process.kill()
        strict.process.wait()

    name = f"{strict.address}/app:1"
    with _listening(answer, strict.folder / "registry"):
        with pytest.raises(EngineException) as raised:
            push(strict.client, image, name) if verb == "push" else pull(strict.client, name)
        assert raised.value.message == f"{name} cannot be {verb}ed: the Docker engine has gone"
        assert raised.value.hint.startswith("start the engine")
    del raised
    gc.collect()  # here, where it is expected
