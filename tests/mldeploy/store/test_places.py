"""The one setting that says where workspaces live."""

import subprocess
import sys
from pathlib import Path

import pytest

from mldeploy.errors import WorkspaceException
from mldeploy.store.places import (
    DatabaseStore,
    FolderStore,
    cache_root,
    data_root,
    local_folder,
    store_location,
)
from mldeploy.workspace import Workspace

SECRET = "s3cret-Word"


def test_a_folder_is_taken_for_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "store"
    assert cache_root() == tmp_path / "cache"
    assert store_location() == FolderStore(tmp_path / "store")
    assert store_location(str(tmp_path / "other")) == FolderStore(tmp_path / "other")


def test_without_settings_the_users_folders_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLDEPLOY_STORE", "MLDEPLOY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert data_root().is_relative_to(tmp_path)
    assert cache_root().is_relative_to(tmp_path)
    assert data_root() != cache_root()
    assert store_location() == FolderStore(data_root())


def test_a_url_is_a_database_and_a_place_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://me:{SECRET}@db.test:5433/team?sslmode=require&files=abfs://models/prefix"
    monkeypatch.setenv("MLDEPLOY_STORE", url)
    monkeypatch.setenv("HOME", str(tmp_path))
    location = store_location()
    assert location == DatabaseStore(
        f"postgresql+psycopg://me:{SECRET}@db.test:5433/team?sslmode=require",
        "abfs://models/prefix",
        "postgresql://db.test:5433/team",
    )
    assert SECRET not in repr(location)
    # Running services' folders stay on this machine.
    assert data_root().is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db?files=/x", r"cannot be a mysql:// URL"),
        ("postgresql://host/db", r"does not say where its files go"),
    ],
)
def test_a_url_that_will_not_do(url: str, said: str) -> None:
    with pytest.raises(WorkspaceException, match=said) as caught:
        store_location(url)
    assert "postgresql://user@host/database?files=" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["postgresql://me:{}@127.0.0.1:1/db?files=/x", "postgresql://me:{}@host:port/db?files=/x"]
)
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(WorkspaceException) as caught:
        Workspace.list(store=url.format(SECRET))
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("files", "folder"),
    [("file:///srv/models", Path("/srv/models")), ("/srv/models", Path("/srv/models")), ("abfs://c/p", None)],
)
def test_files_in_a_folder(files: str, folder: Path | None) -> None:
    assert local_folder(files) == folder


@pytest.mark.parametrize(("package", "extra"), [("psycopg", "postgres"), ("adlfs", "blob")])
def test_a_missing_extra_is_named(package: str, extra: str) -> None:
    if extra == "blob":
        script = "from mldeploy.store.remote_files import RemoteFiles; RemoteFiles.at('abfs://c/p')"
    else:
        script = "from mldeploy.workspace import Workspace; Workspace.list(store='postgresql://h/d?files=/x')"
    output = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{package!r}] = None\n{script}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert f'pip install "pytest-mldeploy[{extra}]"' in output.stderr
