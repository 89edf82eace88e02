"""Stored bytes that are gone, damaged, or out of reach."""

from pathlib import Path

import pytest
from fsspec import get_filesystem_class
from fsspec.core import url_to_fs

from mldeploy.errors import WorkspaceException
from mldeploy.model import Model
from mldeploy.workspace import Workspace


@pytest.fixture
def half(ws: Workspace, tmp_path: Path) -> Model:
    (tmp_path / "model.txt").write_text("0.5")
    return Model.register(ws, tmp_path / "model.txt", "half")


def test_gone(half: Model, tmp_path: Path) -> None:
    half.workspace.store.files.sweep(())
    with pytest.raises(WorkspaceException, match="a stored file is gone") as caught:
        half.download(tmp_path / "out")
    assert caught.value.hint == "register the model again"
    assert not (tmp_path / "out/model.txt").exists()


def test_damaged_on_the_way(database_url: str, blob_prefix: str, tmp_path: Path) -> None:
    ws = Workspace.create("testing", store=f"{database_url}?files={blob_prefix}")
    (tmp_path / "model.txt").write_text("0.5")
    model = Model.register(ws, tmp_path / "model.txt", "half")
    system, prefix = url_to_fs(blob_prefix)
    (stored,) = system.find(prefix)
    system.pipe_file(stored, b"0.6")
    with pytest.raises(WorkspaceException, match="damaged"):
        model.download(tmp_path / "out")
    assert not (tmp_path / "out/model.txt").exists()


def test_wrong_credentials(
    database_url: str, blob_prefix: str, azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "d3Jvbmc" + "A" * 80 + "="
    key = azurite.partition("AccountKey=")[2].partition(";")[0]
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.replace(key, wrong))
    # fsspec keeps what it has opened before, with the credentials of then.
    get_filesystem_class("abfs").clear_instance_cache()
    ws = Workspace.create("testing", store=f"{database_url}?files={blob_prefix}")
    (tmp_path / "model.txt").write_text("0.5")
    with pytest.raises(WorkspaceException, match="cannot be reached") as caught:
        Model.register(ws, tmp_path / "model.txt", "half")
    assert wrong not in f"{caught.value} {caught.value!r}"
    assert caught.value.where == blob_prefix
    assert Model.list(ws) == []
    get_filesystem_class("abfs").clear_instance_cache()
