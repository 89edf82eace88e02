"""What belongs to a model, and what does not."""

from pathlib import Path

import pytest

from mldeploy.errors import ModelPathNotFoundException, UserErrorException
from mldeploy.events import Event, Notice
from mldeploy.store.sources import find_sources


@pytest.fixture
def net(tmp_path: Path) -> Path:
    made = tmp_path / "net"
    (made / "weights").mkdir(parents=True)
    (made / "weights/a.bin").write_bytes(b"aaa")
    (made / "graph.json").write_bytes(b"{}")
    (made / "empty.txt").write_bytes(b"")
    return made


def paths(net: Path, child_paths: list[str] | None = None) -> list[str]:
    return [source.path for source in find_sources(net, child_paths)]


def test_a_file_goes_under_its_name(net: Path) -> None:
    assert paths(net / "weights/a.bin") == ["a.bin"]


def test_a_folder_goes_under_its_name(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ["net/empty.txt", "net/graph.json", "net/weights/a.bin"]
    assert paths(net) == everything
    monkeypatch.chdir(net)
    assert paths(Path()) == everything


@pytest.mark.parametrize(
    ("children", "found"),
    [
        (["graph.json"], ["net/graph.json"]),
        (["weights", "weights/a.bin", "./graph.json"], ["net/graph.json", "net/weights/a.bin"]),
    ],
)
def test_child_paths_choose(net: Path, children: list[str], found: list[str]) -> None:
    assert paths(net, children) == found


@pytest.mark.parametrize("child", ["missing.bin", "../other.bin", "/etc/hostname"])
def test_child_paths_that_will_not_do(net: Path, child: str) -> None:
    with pytest.raises(ModelPathNotFoundException, match=child):
        find_sources(net, [child])


def test_child_paths_of_a_file(net: Path) -> None:
    with pytest.raises(UserErrorException, match="child_paths needs a folder"):
        find_sources(net / "graph.json", ["x"])


def test_no_such_path(net: Path) -> None:
    with pytest.raises(ModelPathNotFoundException, match="no model file or folder") as caught:
        find_sources(net / "missing")
    assert caught.value.where == str(net / "missing")


def test_a_link_inside_is_what_it_points_to(net: Path) -> None:
    (net / "latest.bin").symlink_to("weights/a.bin")
    (net / "best").symlink_to("weights")
    found = {source.path: source.file.read_bytes() for source in find_sources(net)}
    assert found["net/latest.bin"] == found["net/best/a.bin"] == b"aaa"


@pytest.mark.parametrize("target", ["outside.bin", "."])
def test_a_link_that_leaves_is_refused(net: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside.bin").write_bytes(b"x")
    (net / "weights/link").symlink_to(tmp_path / target)
    with pytest.raises(ModelPathNotFoundException, match=r"link weights/link leaves the model's folder") as caught:
        find_sources(net)
    assert caught.value.where == str(net / "weights/link")
    assert str(tmp_path) in caught.value.reason


def test_a_link_to_nothing_is_refused(net: Path) -> None:
    (net / "link").symlink_to("gone.bin")
    with pytest.raises(ModelPathNotFoundException, match="points to nothing"):
        find_sources(net)


def test_a_link_that_goes_round_is_refused(net: Path) -> None:
    (net / "weights/up").symlink_to("..")
    with pytest.raises(UserErrorException, match="leads back"):
        find_sources(net)


def test_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.pkl").write_bytes(b"")
    with pytest.raises(UserErrorException, match="0 bytes") as caught:
        find_sources(tmp_path / "zero.pkl")
    assert caught.value.where == str(tmp_path / "zero.pkl")
    with pytest.raises(UserErrorException, match="0 bytes"):
        find_sources(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserErrorException, match="no files in it"):
        find_sources(tmp_path / "none")


def test_a_pointer_is_told(net: Path) -> None:
    (net / "big.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    told: list[Event] = []
    find_sources(net, report=told.append)
    assert [event.text for event in told if isinstance(event, Notice)] == [
        "net/big.bin is a Git LFS pointer, not the file itself: `git lfs pull` fetches that"
    ]
