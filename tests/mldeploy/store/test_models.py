"""Models and their bytes, the same wherever they are kept."""

from pathlib import Path

import pytest
from blake3 import blake3

from mldeploy.errors import UserErrorException
from mldeploy.events import Event, Notice, Progress
from mldeploy.model import Model
from mldeploy.store.local_files import LocalFiles
from mldeploy.store.remote_files import RemoteFiles
from mldeploy.store.services import ServiceRecord
from mldeploy.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two equal files and another."""
    made = tmp_path / "net"
    (made / "weights").mkdir(parents=True)
    (made / "weights/a.bin").write_bytes(b"same")
    (made / "weights/b.bin").write_bytes(b"same")
    (made / "graph.json").write_bytes(b"{}")
    return made


def test_what_is_registered_is_downloaded(ws: Workspace, folder: Path, tmp_path: Path) -> None:
    model = Model.register(ws, folder, "net")
    assert [(file.path, file.digest, file.size) for file in model.files] == [
        ("net/graph.json", blake3(b"{}").hexdigest(), 2),
        ("net/weights/a.bin", blake3(b"same").hexdigest(), 4),
        ("net/weights/b.bin", blake3(b"same").hexdigest(), 4),
    ]
    path = Path(Model(ws, "net").download(tmp_path / "out"))
    assert path == tmp_path / "out/net"
    assert {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*.*")} == {
        "graph.json": b"{}",
        "weights/a.bin": b"same",
        "weights/b.bin": b"same",
    }


def test_a_large_file_arrives_whole(ws: Workspace, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # 10 MB: more than two blocks
    (tmp_path / "large.bin").write_bytes(content)
    events: list[Event] = []
    model = Model.register(ws, tmp_path / "large.bin", "large", report=events.append)
    assert model.files[0].digest == blake3(content).hexdigest()
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in progress] == sorted({event.done for event in progress})
    assert progress[-1] == Progress("register", len(content), len(content))
    model.download(tmp_path / "out")
    assert (tmp_path / "out/large.bin").read_bytes() == content


def test_versions_count_up_and_are_not_given_twice(ws: Workspace, folder: Path) -> None:
    assert [Model.register(ws, folder, "net").version for _ in range(3)] == [1, 2, 3]
    Model(ws, "net").delete()
    assert Model.register(ws, folder, "net").version == 4
    assert Model.register(ws, folder, "other").version == 1
    assert [model.id for model in Model.list(ws, "net")] == ["net:4", "net:2", "net:1"]


def test_gc_frees_what_no_model_has(ws: Workspace, folder: Path, tmp_path: Path) -> None:
    Model.register(ws, folder, "net")
    (tmp_path / "extra.bin").write_bytes(b"0123456789")
    Model.register(ws, tmp_path / "extra.bin", "extra")
    assert ws.store.models.gc() == 0
    Model(ws, "extra").delete()
    told: list[Event] = []
    assert ws.store.models.gc(told.append) == 10
    assert told == [Notice("10 bytes freed")]
    Model(ws, "net").download(tmp_path / "out")
    Model(ws, "net").delete()
    # Equal files were stored once.
    assert ws.store.models.gc() == 6


def test_gc_leaves_what_is_not_ours(ws: Workspace, folder: Path) -> None:
    Model.register(ws, folder, "net").delete()
    files = ws.store.files
    if isinstance(files, LocalFiles):
        for path in ("uk/prices.csv", "tmp/.DS_Store", "notes.txt"):
            (files._root / path).parent.mkdir(parents=True, exist_ok=True)
            (files._root / path).write_text("mine")
    else:
        assert isinstance(files, RemoteFiles)
        files._system.pipe_file(f"{files._prefix}/uk/prices.csv", b"mine")
    assert ws.store.models.gc() == 6
    if isinstance(files, LocalFiles):
        found = sorted(path.relative_to(files._root).as_posix() for path in files._root.rglob("*.*"))
        assert found == ["notes.txt", "tmp/.DS_Store", "uk/prices.csv"]
    else:
        assert files._system.cat_file(f"{files._prefix}/uk/prices.csv") == b"mine"


def test_gc_leaves_other_workspaces_their_files(ws: Workspace, store: str, folder: Path, tmp_path: Path) -> None:
    other = Workspace.create("other", store=store)
    Model.register(other, folder, "net")
    ws.store.models.gc()
    Model(other, "net").download(tmp_path / "out")
    assert (tmp_path / "out/net/graph.json").read_bytes() == b"{}"


def test_a_model_in_use_is_not_deleted(ws: Workspace, folder: Path, service: ServiceRecord) -> None:
    model = Model.register(ws, folder, "net")
    ws.store.services.begin(service, overwrite=False)
    with pytest.raises(UserErrorException, match="used by service dancer") as caught:
        model.delete()
    assert caught.value.hint == "mldeploy service delete dancer"
    assert [one.id for one in Model.list(ws)] == ["net:1"]
    ws.store.services.delete("dancer")
    model.delete()
    assert Model.list(ws) == []


def test_bytes_swept_while_they_are_stored_are_stored_again(
    ws: Workspace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mldeploy.store import models

    swept: list[int] = []
    stage = models._stage

    def stage_and_lose(*arguments: object) -> object:
        files = stage(*arguments)  # type: ignore[arg-type]
        if not swept:
            swept.append(ws.store.models.gc())
        return files

    monkeypatch.setattr(models, "_stage", stage_and_lose)
    Model.register(ws, folder, "net").download(tmp_path / "out")
    assert (tmp_path / "out/net/weights/a.bin").read_bytes() == b"same"
    # In a folder nothing that is on its way can be swept at all.
    assert swept == [0 if isinstance(ws.store.files, LocalFiles) else 6]
