"""The official server and ours beside each other: the same script, the same variables, the same bytes.

What is asked is in `rows/`, what may differ in `differences.yaml`.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from mldeploy_serving.contract.table import rows

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Engine, Process, Running

HERE = Path(__file__).parent
OFFICIAL = HERE.parents[2] / ".tools" / "azmlinfsrv" / "bin" / "python"
CONTRACTS = ("v1", "compatible")
PATIENCE_S = 30.0
AHEAD = 2  # groups whose servers start while another's are asked

# Values that no two answers have in common: what they have to look like, and what stands for them.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_VARYING = {
    "x-ms-run-fn-exec-ms": (re.compile(r"\d+\.\d{3}"), "<ms>"),
    "x-request-id": (_UUID, "<uuid4>"),
    "x-ms-request-id": (_UUID, "<uuid4>"),
}
# What gunicorn says of every answer, and ours does not (differences `keep-alive` and `server-header`).
_OF_GUNICORN = {("connection", "close"), ("server", "gunicorn")}


@dataclass(frozen=True)
class Reply:
    """An answer as it came; status 0 is a connection that was closed without one."""

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """All of the header's values, joined."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    def comparable(self) -> Reply:
        """The same without what the official server says of itself, and with signs for values that always vary."""
        kept = [(name, _settled(name, value)) for name, value in self.headers if not _of_the_server(name, value)]
        kept.sort(key=lambda each: each[0].lower())
        # reasons are in capitals there, except those of gunicorn's own errors (difference `reason-phrase`)
        return Reply(self.status, self.reason.casefold(), tuple(kept), self.body)

    def has(
        self,
        status: int | None = None,
        reason: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        contains: str = "",
    ) -> bool:
        """Whether it is what `differences.yaml` says of an answer."""
        return (
            status in {None, self.status}
            and reason in {None, self.reason}
            and all(self.header(name) == value for name, value in (headers or {}).items())
            and contains.encode() in self.body
        )


def _of_the_server(name: str, value: str) -> bool:
    return name.lower() == "date" or (name.lower(), value) in _OF_GUNICORN


def _settled(name: str, value: str) -> str:
    if name.lower() == "allow":  # in the order of a set, which is another one in every process
        return ", ".join(sorted(value.split(", ")))
    pattern, sign = _VARYING.get(name.lower(), (None, ""))
    return sign if pattern is not None and pattern.fullmatch(value) else value


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str = "POST"
    target: str = "/score"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    chunked: bool = False
    sent: bytes | None = None
    """All of it, where it is not to be put together."""

    def encoded(self) -> bytes:
        """As it goes over the wire."""
        if self.sent is not None:
            return self.sent
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: here"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body or b""
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif self.body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass(frozen=True)
class Row:
    """A request, and by which difference the answers to it differ, if they do."""

    id: str
    asked: Asked
    differs: str | None
    ours: str | None
    """The body of our answer, where they differ."""
    holds: str | None
    """The rule in `contract/table.json` that says what is answered."""
    not_on: dict[str, str]
    """Why it makes no sense with one of the engines."""


@dataclass(frozen=True)
class Group:
    """Rows for one entry script and its variables."""

    name: str
    files: dict[str, str]
    variables: dict[str, str]
    rows: tuple[Row, ...] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """What is not the same on purpose; `here`, `official` and `why` are its row in docs/differences.md."""

    id: str
    here: str
    official: str
    why: str
    contracts: tuple[str, ...]
    answers: dict[str, dict[str, Any]]
    """`official` and `here`: what the answers that show it have: `status`, `contains`."""
    held_by: str | None
    """The test that shows it, where no row can."""

    def is_shown_by(self, official: Reply, ours: Reply) -> bool:
        return official.has(**self.answers["official"]) and ours.has(**self.answers["here"])


@cache
def groups() -> dict[str, Group]:
    """All of `rows/`, by name."""
    return {group.name: group for path in sorted(HERE.joinpath("rows").glob("*.yaml")) for group in _read(path)}


@cache
def differences() -> dict[str, Difference]:
    """All of `differences.yaml`, by id."""
    said = yaml.safe_load(HERE.joinpath("differences.yaml").read_text(encoding="utf-8"))
    return {
        name: Difference(
            name,
            each["here"],
            each["official"],
            each.get("why") or "",
            tuple(each.get("contracts", CONTRACTS)),
            each.get("answers", {}),
            each.get("held_by"),
        )
        for name, each in said.items()
    }


def _read(path: Path) -> Iterator[Group]:
    """One file's group, or one for each variant of its variables."""
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    files = {"score.py": said["script"], **said.get("files", {})}
    for variant, variables in said.get("variants", {"": said.get("variables", {})}).items():
        name = f"{path.stem}-{variant}" if variant else path.stem
        rows = tuple(_row(f"{name}.{key}", each or {}) for key, each in said["rows"].items())
        yield Group(name, files, variables, rows)


def _row(name: str, said: dict[str, Any]) -> Row:
    if "sent" in said:
        return _of(name, said, Asked(sent=_joined(said["sent"]).encode("latin-1")))
    method, _, target = _joined(said.get("request", "POST /score")).partition(" ")
    headers: list[tuple[str, str]] = []
    kind = said.get("type", "application/json" if method == "POST" else False)
    if kind:
        headers.append(("Content-Type", kind))
    for key, values in said.get("headers", {}).items():
        headers += [(key, _joined([value])) for value in (values if isinstance(values, list) else [values])]
    body = bytes.fromhex(said["bytes"]) if "bytes" in said else None
    if "body" in said:
        body = _joined(said["body"]).encode(said.get("encoding", "utf-8"))
    if body is None and method in {"POST", "PUT", "PATCH"}:
        body = b""
    asked = Asked(method, target, tuple(headers), body, said.get("chunked", False))
    return _of(name, said, asked)


def _of(name: str, said: dict[str, Any], asked: Asked) -> Row:
    return Row(name, asked, said.get("differs"), said.get("ours"), said.get("holds"), said.get("not_on", {}))


def _joined(said: Any) -> str:
    """A text, or a list of its pieces, each of which may be `[piece, times]`."""
    if isinstance(said, list):
        return "".join(each[0] * each[1] if isinstance(each, list) else each for each in said)
    return str(said)


class Server:
    """A server in a folder of its own."""

    def __init__(self, running: Running, log_file: Path) -> None:
        self._running = running
        self._log_file = log_file
        self.port = running.port
        self.was_healthy = False

    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace") if self._log_file.exists() else ""

    def send(self, data: bytes, method: str = "POST") -> Reply:
        """Send bytes on a connection of their own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before all is sent
                connection.sendall(data)
            return _receive(connection, method)

    def ask(self, asked: Asked) -> Reply:
        return self.send(asked.encoded(), asked.method)

    def healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask(Asked("GET", "/")).status == 200
        return False

    def wait_until_healthy(self) -> None:
        if self.was_healthy:
            return
        deadline = time.monotonic() + PATIENCE_S
        while not self.healthy():
            assert self._running.ended() is None, self.log()
            assert time.monotonic() < deadline, f"not healthy in {PATIENCE_S} s:\n{self.log()}"
            time.sleep(0.01)
        self.was_healthy = True

    def wait_until_answering(self) -> None:
        """Wait until it answers anything; a container's port closes connections until its server listens."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._running.ended() is None, self.log()
            assert time.monotonic() < deadline, f"no answer in {PATIENCE_S} s:\n{self.log()}"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask(Asked("GET", "/")).status != 0
        return False

    def wait(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while (code := self._running.ended()) is None:
            assert time.monotonic() < deadline, f"it still runs after {PATIENCE_S} s:\n{self.log()}"
            time.sleep(0.01)
        return code

    def stop(self) -> None:
        self._running.stop()


def _receive(connection: socket.socket, method: str = "POST") -> Reply:
    """One answer."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
    except (http.client.BadStatusLine, http.client.IncompleteRead, ConnectionError):
        return Reply(0)
    finally:
        response.close()
    return Reply(response.status, response.reason, tuple(response.getheaders()), body)


class Starter:
    """Starts servers; those of a group are started once.

    Args:
        root: Where their folders are.
        start: Starts one, given its folder, log file and variables.
    """

    def __init__(self, root: Path, start: Callable[[Path, Path, Mapping[str, str]], Running]) -> None:
        self._root = root
        self._start = start
        self._servers: list[Server] = []
        self._shared: dict[tuple[str, str], Server] = {}

    def __call__(self, files: Mapping[str, str], variables: Mapping[str, str]) -> Server:
        folder = self._root / str(len(self._servers)) / "app"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        settings = {
            "AML_APP_ROOT": str(folder),
            "AZUREML_ENTRY_SCRIPT": "score.py",
            "HTTP_X_MS_SERVER_VERSION": "the same",
            **variables,
        }
        log = folder.with_name("log")
        self._servers.append(Server(self._start(folder, log, settings), log))
        return self._servers[-1]

    def shared(self, group: Group, contract: str = "") -> Server:
        """The server of a group, which may still be starting."""
        if (group.name, contract) not in self._shared:
            more = {"MLDEPLOY_CONTRACT": contract} if contract else {}
            self._shared[group.name, contract] = self(group.files, {**group.variables, **more})
        return self._shared[group.name, contract]

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


class Servers:
    """The official server and ours."""

    official_python = OFFICIAL

    def __init__(self, official: Starter, ours: Starter) -> None:
        self.official, self.ours = official, ours

    def pair(self, group: Group, contract: str) -> tuple[Server, Server]:
        """Both for a group, healthy; those of the groups after it are started meanwhile."""
        names = list(groups())
        at = names.index(group.name)
        for name in names[at : at + 1 + AHEAD]:
            self.official.shared(groups()[name])
            self.ours.shared(groups()[name], contract)
        both = self.official.shared(group), self.ours.shared(group, contract)
        for server in both:
            server.wait_until_healthy()
        return both


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory, as_process: type[Process]) -> Iterator[Starter]:
    """gunicorn on the official application, as `azmlinfsrv` starts it, but on loopback; the same for every engine."""
    if not OFFICIAL.exists():
        reason = "the official server is not installed (scripts/test-services)"
        if "azmlinfsrv" in os.environ.get("MLDEPLOY_REQUIRE", "").split(","):
            pytest.fail(f"azmlinfsrv is required: {reason}")
        pytest.skip(reason)

    def start(folder: Path, log: Path, variables: Mapping[str, str]) -> Running:
        command = [
            *(str(OFFICIAL), "-m", "gunicorn", "--bind", "fd://{fd}", "--no-control-socket"),
            *("--timeout", variables.get("WORKER_TIMEOUT", "300"), "--access-logfile", "-", "--error-logfile", "-"),
            "azureml_inference_server_http.server.entry:app",
        ]
        with log.open("wb") as output:
            return as_process(command, folder, variables, output)

    starter = Starter(tmp_path_factory.mktemp("official"), start)
    yield starter
    starter.stop()


@pytest.fixture(scope="session")
def servers(official: Starter, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    def start(folder: Path, log: Path, variables: Mapping[str, str]) -> Running:
        return engine.start(folder, ("--log-file", str(log)), variables)

    ours = Starter(tmp_path_factory.mktemp("ours"), start)
    yield Servers(official, ours)
    ours.stop()


@cache
def _answered() -> set[str]:
    """The rules by which both servers answer a request with the same status under `v1`."""
    return {row["id"] for row in rows() if row["v1"] not in {"same", "exit 2", "exit 3"} and row["source"] != "ours"}


def _marks(row: Row) -> list[pytest.MarkDecorator]:
    held = [] if row.holds is None else [pytest.mark.holds(row.holds)]
    return [*held, *(pytest.mark.not_on(*each) for each in row.not_on.items())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every row, under each contract; what is asked of the same servers comes together."""
    for name, contracts in (("row", CONTRACTS), ("held_row", (*CONTRACTS, "strict"))):
        if name in metafunc.fixturenames:
            cases = [
                pytest.param(group, row, contract, id=f"{contract}-{row.id}", marks=_marks(row))
                for group in groups().values()
                for contract in contracts
                for row in group.rows
                if name == "row" or row.holds in _answered()
            ]
            metafunc.parametrize(("group", name, "contract"), cases)
    if "difference" in metafunc.fixturenames:
        metafunc.parametrize("difference", [pytest.param(each, id=each.id) for each in differences().values()])


@pytest.fixture(scope="session")
def scripts() -> dict[str, Group]:
    """The groups of `rows/`, by name."""
    return groups()


@pytest.fixture(scope="session")
def answered() -> set[str]:
    """The rules of `contract/table.json` that a row can show."""
    return _answered()


@pytest.fixture(scope="session")
def asking() -> type[Asked]:
    """To make requests of."""
    return Asked


@pytest.fixture(scope="session")
def receive() -> Callable[..., Reply]:
    """Reads one answer from a connection; its second argument is the request's method, if it is not POST."""
    return _receive


@pytest.fixture(scope="session")
def known() -> dict[str, Difference]:
    """What may differ, by id."""
    return differences()
