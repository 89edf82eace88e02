"""A workspace that cannot be used: each a clear error, with nothing lost and nothing left."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from mldeploy.errors import WorkspaceException
from mldeploy.model import Model
from mldeploy.store import database
from mldeploy.workspace import Workspace

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def file(folder_ws: Workspace, tmp_path: Path) -> Path:
    """The workspace's database."""
    (found,) = tmp_path.glob("store/workspaces/*/workspace.db")
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 1 MB."""
    made = tmp_path / "model.bin"
    made.write_bytes(os.urandom(2**20))
    return made


def test_no_database_file(file: Path, tmp_path: Path) -> None:
    file.unlink()
    with pytest.raises(WorkspaceException, match="lost its database") as caught:
        Workspace.get("testing", store=str(tmp_path / "store"))
    assert caught.value.where == str(file)
    assert not file.exists()


def test_not_a_database(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"no database at all" * 1000)
    with pytest.raises(WorkspaceException, match="damaged") as caught:
        Workspace.get("testing", store=str(tmp_path / "store"))
    assert caught.value.where == str(file)
    assert str(file) in caught.value.hint


def test_a_damaged_database(file: Path, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(WorkspaceException, match="damaged") as caught:
        Workspace.get("testing", store=str(tmp_path / "store")).store.locks.get("key")
    assert caught.value.where == str(file)


def test_a_damaged_config(file: Path, tmp_path: Path) -> None:
    config = file.with_name("config.json")
    config.write_text("{")
    with pytest.raises(WorkspaceException, match=r"config\.json is damaged") as caught:
        Workspace.list(store=str(tmp_path / "store"))
    assert caught.value.where == str(config)


def test_locked(file: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    ws = Workspace.get("testing", store=str(tmp_path / "store"))
    holder = sqlite3.connect(file, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceException, match="locked") as caught:
            Model.register(ws, model, "late")
        assert caught.value.where == str(file)
        assert f"fuser {file}" in caught.value.hint
        # Reading goes on.
        assert Model.list(ws) == []
        holder.execute("ROLLBACK")
    finally:
        holder.close()
    assert Model.register(ws, model, "late").version == 1
    assert ws.store.models.gc() == 0


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceException, match="cannot be made") as caught:
        Workspace.create("testing", store=str(tmp_path / "file"))
    assert "MLDEPLOY_STORE" in caught.value.hint


@needs_root
def test_a_full_disk_while_copying(small_disk: Path, tmp_path: Path, model: Path) -> None:
    ws = Workspace.create("testing", store=str(small_disk))
    Model.register(ws, model, "fits")
    free = shutil.disk_usage(small_disk).free
    (tmp_path / "large.bin").write_bytes(os.urandom(3 * 2**20))
    with pytest.raises(WorkspaceException, match="disk is full") as caught:
        Model.register(ws, tmp_path / "large.bin", "large")
    assert "mldeploy workspace gc" in caught.value.hint
    assert [one.id for one in Model.list(ws)] == ["fits:1"]
    assert shutil.disk_usage(small_disk).free == free
    assert ws.store.models.gc() == 0


@needs_root
def test_a_full_disk_while_recording(small_disk: Path, tmp_path: Path, model: Path) -> None:
    ws = Workspace.create("testing", store=str(small_disk))
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        filler.write(bytes(shutil.disk_usage(small_disk).free - 2**20))
        # The model fits to the last byte; its row does not.
        with pytest.raises(WorkspaceException, match="disk is full"):
            Model.register(ws, model, "exact", description="x" * 100_000)
        assert Model.list(ws) == []
    assert list(small_disk.glob("workspaces/*/files/??/*")) == []
    (small_disk / "filler").unlink()
    assert Model.register(ws, model, "exact").version == 1


@needs_root
def test_read_only(small_disk: Path, model: Path) -> None:
    ws = Workspace.create("testing", store=str(small_disk))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(WorkspaceException, match="read-only") as caught:
        Workspace.get("testing", store=str(small_disk))
    assert "MLDEPLOY_STORE" in caught.value.hint
    with pytest.raises(WorkspaceException) as caught:
        Model.register(ws, model, "never")
    assert "Read-only file system" in caught.value.reason
    with pytest.raises(WorkspaceException, match="cannot be made"):
        Workspace.create("another", store=str(small_disk))
