"""Hashing while copying, for any length."""

import errno
import os
from pathlib import Path

import pytest
from blake3 import blake3

from mldeploy.errors import WorkspaceException
from mldeploy.store import copying
from mldeploy.store.local_files import LocalFiles


def refuse(*_: object) -> int:
    """As the kernel does between two file systems that it cannot copy between."""
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("kernel", ["copies", "has no such call", "refuses", "says nothing"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 129, 1000])
def test_any_length(size: int, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BLOCK", 64)
    monkeypatch.setattr(copying, "_AT_ONCE", 128)
    if kernel == "has no such call":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif kernel != "copies":
        monkeypatch.setattr(os, "copy_file_range", refuse if kernel == "refuses" else lambda *_: 0, raising=False)
    content = bytes(index % 251 for index in range(size))
    (tmp_path / "source").write_bytes(content)
    told: list[int] = []
    found = copying.copy_hashed(tmp_path / "source", tmp_path / "target", told.append)
    assert (found.digest, found.size) == (blake3(content).hexdigest(), size)
    assert (tmp_path / "target").read_bytes() == content
    assert sum(told) == size
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o444


def test_a_full_disk_is_not_taken_for_a_kernel_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "source").write_bytes(b"weights")
    monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        copying.copy_hashed(tmp_path / "source", tmp_path / "target", lambda _: None)


def test_a_service_gets_links_and_a_person_copies(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    (tmp_path / "source").write_bytes(b"weights")
    with files.staging() as staging:
        content = staging.add(tmp_path / "source", lambda _: None)
        staging.keep()
    files.fetch(content, tmp_path / "service/model")
    files.fetch(content, tmp_path / "download/model", link=False)
    assert (tmp_path / "service/model").stat().st_nlink == 2
    (tmp_path / "download/model").write_bytes(b"changed")
    assert (tmp_path / "service/model").read_bytes() == b"weights"


def test_what_was_not_kept_is_gone(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    (tmp_path / "source").write_bytes(b"weights")
    with files.staging() as staging:
        staging.add(tmp_path / "source", lambda _: None)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


def test_what_a_power_cut_has_left_is_told_and_mended_by_storing_it_again(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    (tmp_path / "source").write_bytes(b"weights")
    for _ in range(2):
        with files.staging() as staging:
            content = staging.add(tmp_path / "source", lambda _: None)
            staging.keep()
        stored = next(path for path in (tmp_path / "files").glob("??/*"))
        files.fetch(content, tmp_path / "model", link=False)
        stored.chmod(0o644)
        stored.write_bytes(b"wei")
        with pytest.raises(WorkspaceException, match="a stored file is damaged"):
            files.fetch(content, tmp_path / "service")
