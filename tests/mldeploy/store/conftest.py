"""Real places to keep a store in: a folder, PostgreSQL with a folder, PostgreSQL with Azure Blob (Azurite)."""

import importlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mldeploy.store.owners import this_process
from mldeploy.store.services import ServiceRecord
from mldeploy.workspace import Workspace

ROOT = Path(__file__).parents[3]
PASSWORD = "s3cret-Word"
START_SECONDS = 60
# Azurite's documented account: the same for everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int

    def url(self, database: str) -> str:
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def lacking(tool: str, reason: str) -> NoReturn:
    if tool in os.environ.get("MLDEPLOY_REQUIRE", "").split(","):
        pytest.fail(f"{tool} is required: {reason}")
    pytest.skip(reason)


def package(name: str, tool: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        lacking(tool, f"{name} is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"not started:\n{log.read_text()}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    initdb = next((Path(one).resolve() for one in found if one), None)
    if initdb is None:
        lacking("postgres", "no PostgreSQL is installed (scripts/test-services)")
    # The server refuses to run as root.
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = None if os.geteuid() else ("postgres" if "postgres" in names else "nobody")
    with tempfile.TemporaryDirectory(prefix="mldeploy-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        command = [
            str(initdb),
            "-D",
            str(folder / "data"),
            "-U",
            "tester",
            "-A",
            "scram-sha-256",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run([*command, f"--pwfile={folder / 'password'}"], user=user, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        log = folder / "log"
        settings = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [initdb.with_name("postgres"), "-D", folder / "data", "-p", str(port), *settings],
                user=user,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(server, lambda: b"ready to accept connections" in log.read_bytes(), log)
            yield Postgres(port)
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for its clients
            server.wait()


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """A new, empty database."""
    psycopg = package("psycopg", "postgres")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url(name)


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of a running Azurite."""
    local = ROOT / ".tools/azurite/node_modules/.bin/azurite-blob"
    program = str(local) if local.exists() else shutil.which("azurite-blob")
    if program is None:
        lacking("azurite", "no Azurite is installed (scripts/test-services)")
    with tempfile.TemporaryDirectory(prefix="mldeploy-azurite-") as name:
        log = Path(name, "log")
        port = free_port()
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", f"{name}/data"]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [program, *place, "--skipApiVersionCheck", "--disableTelemetry"], stdout=output, stderr=output
            )
        try:
            wait_for(server, lambda: listens(port), log)
            yield (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
            )
        finally:
            server.kill()  # it would wait for connections that are kept alive
            server.wait()


@pytest.fixture
def blob_prefix(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An fsspec URL in a new container."""
    adlfs = package("adlfs", "azurite")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite)
    container = f"test-{uuid.uuid4().hex}"
    adlfs.AzureBlobFileSystem(connection_string=azurite).mkdir(container)
    return f"abfs://{container}/models"


# What aiohttp warns of is adlfs' own way to send a block.
BLOB = pytest.param("blob", marks=pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"))


@pytest.fixture(params=["folder", "postgres", BLOB])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of place, empty."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "postgres":
        return f"{request.getfixturevalue('database_url')}?files={tmp_path / 'files'}"
    return f"{request.getfixturevalue('database_url')}?files={request.getfixturevalue('blob_prefix')}"


@pytest.fixture
def ws(store: str) -> Workspace:
    """A new workspace in each kind of place."""
    return Workspace.create("testing", store=store)


@pytest.fixture
def folder_ws(tmp_path: Path) -> Workspace:
    """A new workspace in a folder."""
    return Workspace.create("testing", store=str(tmp_path / "store"))


@pytest.fixture
def service() -> ServiceRecord:
    """A service that this process deploys."""
    now = datetime.now(timezone.utc)
    return ServiceRecord(
        name="dancer",
        compute_type="Local",
        engine="process",
        created_time=now,
        updated_time=now,
        package_digest="0" * 64,
        operation="Running",
        operation_id=str(uuid.uuid4()),
        model_ids=("net:1",),
        inference_config={"entryScript": "score.py"},
        owner=this_process(),
    )
