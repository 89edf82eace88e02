"""A layer's bytes follow from its content, and it is in the cache whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.images.layers import layer
from mldeploy.images.layers.layer import EPOCH_S, Entry, folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "layers"


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {member.name: member for member in archive}


def text(path: Path, name: str) -> bytes:
    with tarfile.open(path) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def test_the_same_entries_in_any_order_are_the_same_layer(cache: Path) -> None:
    entries = [Entry("opt/b", b"b"), Entry("opt/a", b"a", 0o755), Entry("opt/l", link="a"), folder("var/x", owner=1000)]
    one = layer.write("one", "test", entries)
    other = layer.write("other", "test", reversed(entries))
    assert one.diff_id == other.diff_id == "sha256:" + hashlib.sha256(one.path.read_bytes()).hexdigest()
    assert one.path == other.path
    assert len(list(cache.glob("*.tar"))) == 1


def test_times_owners_and_modes_are_fixed(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_bytes(b"1")
    file.chmod(0o600)
    os.utime(file, (1, 1))
    found = members(layer.write("k", "test", [Entry("a/b/c", file), folder("home/me", 0o1777, 1000)]).path)
    assert list(found) == ["a", "a/b", "a/b/c", "home", "home/me"]
    assert {member.mtime for member in found.values()} == {EPOCH_S}
    assert {(found[name].mode, found[name].uid, found[name].gid) for name in ("a", "a/b", "home")} == {(0o755, 0, 0)}
    assert found["a/b/c"].mode == 0o644
    assert (found["home/me"].mode, found["home/me"].uid) == (0o1777, 1000)


@pytest.mark.parametrize(
    "name",
    ["with space", "ünïcode/模型.bin", "x" * 300, "a/" + "b" * 99 + "/" + "c" * 155, "quote'\"\n"],
    ids=["space", "unicode", "long", "deep", "odd"],
)
def test_any_name_survives(name: str) -> None:
    assert text(layer.write("k", "test", [Entry(name, b"content")]).path, name) == b"content"


def test_a_name_that_is_no_unicode_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"latin-\xe4")
    assert text(layer.write("k", "test", [Entry(name, b"x")]).path, name) == b"x"


def test_a_sparse_file_of_many_megabytes_is_written_as_it_reads(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(5_000_000)
        file.seek(3_000_000)
        file.write(b"here")
    content = text(layer.write("k", "test", [Entry("m", sparse)]).path, "m")
    assert len(content) == 5_000_000
    assert content[3_000_000:3_000_004] == b"here"


def test_what_is_cached_is_not_read_again() -> None:
    def entries() -> Iterator[Entry]:
        raise AssertionError("read again")
        yield

    first = layer.write("k", "test", [Entry("a", b"1")])
    assert layer.write("k", "test", entries()) == first == layer.cached("k")


@pytest.mark.parametrize("harm", ["gone", "cut", "note"])
def test_a_damaged_layer_is_written_again(harm: str, cache: Path) -> None:
    first = layer.write("k", "test", [Entry("a", b"1")])
    if harm == "gone":
        first.path.unlink()
    elif harm == "cut":
        first.path.write_bytes(b"short")
    else:
        (note,) = (cache / "keys").iterdir()
        note.write_text("{")
    assert layer.cached("k") is None
    assert layer.write("k", "test", [Entry("a", b"1")]) == first
    assert text(first.path, "a") == b"1"


def test_a_file_that_reads_shorter_than_it_said_leaves_nothing(cache: Path) -> None:
    shorter = Path("/sys/kernel/uevent_seqnum")  # says 4096 bytes, and has a number
    if not shorter.exists():
        pytest.skip("no sysfs")
    with pytest.raises(EnvironmentException, match="could not be written"):
        layer.write("k", "test", [Entry("f", shorter)])
    assert [path.name for path in cache.iterdir()] == ["keys"]


def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    with pytest.raises(EnvironmentException, match="the disk is full") as caught:
        layer.write("k", "test", [Entry("f", bytes(3_000_000))])
    assert "MLDEPLOY_CACHE" in caught.value.hint
    assert [path.name for path in (small_disk / "layers").iterdir()] == ["keys"]


def test_joined_layers_have_each_folder_once() -> None:
    one = layer.write("1", "test", [Entry("opt/env/a", b"a"), Entry("opt/" + "long" * 60, b"l")])
    two = layer.write("2", "test", [Entry("opt/env/b", b"b")])
    joined = layer.join("12", "test", [one, two])
    with tarfile.open(joined.path) as archive:
        names = archive.getnames()
    assert sorted(names) == sorted({*names})
    assert {"opt/env/a", "opt/env/b", "opt/" + "long" * 60} < {*names}
    assert [text(joined.path, f"opt/env/{name}") for name in "ab"] == [b"a", b"b"]


def test_a_layer_that_nothing_asks_for_is_unused_after_an_hour() -> None:
    asked, forgotten = (layer.write(key, "test", [Entry(key, b"1")]) for key in ("asked", "forgotten"))
    assert layer.unused() == []
    for one in (asked, forgotten):
        os.utime(one.path, (0, 0))
    assert layer.cached("asked") == asked
    assert layer.unused() == [forgotten.path]
