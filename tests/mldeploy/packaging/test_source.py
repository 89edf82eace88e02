"""What of a source directory goes into a package, and how it lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mldeploy.errors import UserErrorException
from mldeploy.events import Event, Notice
from mldeploy.packaging import source
from mldeploy.packaging.source import collect


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("score.py", "lib/util.py", "models/model1.onnx", "notes.tmp"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def paths(root: Path) -> set[str]:
    return {file.path for file in collect(root / "score.py", root).files}


def test_a_script_alone_takes_nothing_with_it(project: Path) -> None:
    found = collect(project / "score.py", None)
    assert (found.entry_script, found.directory) == ("score.py", None)
    assert [file.path for file in found.files] == ["score.py"]


def test_the_whole_folder_goes(project: Path) -> None:
    found = collect(project / "score.py", project)
    assert found.entry_script == "project/score.py"
    assert paths(project) == {"score.py", "lib/util.py", "models/model1.onnx", "notes.tmp"}


@pytest.mark.parametrize("never", [".git/config", "lib/.git", "lib/__pycache__/util.pyc", ".env", "lib/.env.local"])
def test_some_files_never_go(project: Path, never: str) -> None:
    (project / never).parent.mkdir(exist_ok=True)
    (project / never).write_text("secret")
    assert never not in paths(project)


def test_a_virtual_environment_never_goes(project: Path) -> None:
    (project / "venv").mkdir()
    (project / "venv" / "pyvenv.cfg").write_text("")
    (project / "venv" / "big").write_text("")
    assert not any(path.startswith("venv") for path in paths(project))


def test_amlignore_counts_before_gitignore(project: Path) -> None:
    (project / ".gitignore").write_text("*.tmp\n")
    assert "notes.tmp" not in paths(project)
    (project / ".amlignore").write_text("lib/\n!lib/keep\n")
    assert "notes.tmp" in paths(project)
    assert "lib/util.py" not in paths(project)


def test_an_ignored_entry_script_is_an_error(project: Path) -> None:
    (project / ".amlignore").write_text("*.py\n")
    with pytest.raises(UserErrorException, match=r"score\.py is excluded by .*\.amlignore"):
        collect(project / "score.py", project)


def test_an_entry_script_elsewhere_is_an_error(project: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("")
    with pytest.raises(UserErrorException, match="not in the source directory"):
        collect(tmp_path / "other.py", project)


def test_a_link_that_leaves_is_an_error(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("")
    (project / "data.csv").symlink_to(tmp_path / "outside.csv")
    with pytest.raises(UserErrorException, match=r"data\.csv leaves the source directory"):
        collect(project / "score.py", project)


def test_a_broken_link_is_an_error(project: Path) -> None:
    (project / "data.csv").symlink_to("gone")
    with pytest.raises(UserErrorException, match=r"data\.csv is broken"):
        collect(project / "score.py", project)


def test_a_pipe_is_an_error(project: Path) -> None:
    os.mkfifo(project / "pipe")
    with pytest.raises(UserErrorException, match="pipe is neither a file nor a folder"):
        collect(project / "score.py", project)


def test_both_documented_layouts(project: Path, tmp_path: Path) -> None:
    (project / "link").symlink_to(project / "lib")
    (project / "file-link").symlink_to("score.py")
    app = tmp_path / "app"
    collect(project / "score.py", project).copy_to(app)
    assert (app / "models" / "model1.onnx").read_text() == "models/model1.onnx"
    assert (app / "project" / "models" / "model1.onnx").read_text() == "models/model1.onnx"
    assert (app / "project" / "link" / "util.py").read_text() == "lib/util.py"
    assert not (app / "project" / "file-link").is_symlink()
    assert not (app / "project" / "link").readlink().is_absolute()


def test_an_entry_called_as_its_folder_stays_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "serve"
    (root / "serve").mkdir(parents=True)
    (root / "serve" / "inner.txt").write_text("")
    (root / "score.py").write_text("")
    app = tmp_path / "app"
    collect(root / "score.py", root).copy_to(app)
    assert (app / "serve" / "score.py").is_file()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "lib" / "util.py").write_text("other"),
        lambda root: (root / "lib" / "util.py").rename(root / "lib" / "renamed.py"),
        lambda root: (root / "score.py").chmod(0o755),
        lambda root: (root / "lib" / "more.py").write_text(""),
    ],
    ids=["content", "name", "mode", "addition"],
)
def test_the_digest_sees_every_change(project: Path, change) -> None:  # type: ignore[no-untyped-def]
    before = collect(project / "score.py", project).digest()
    assert collect(project / "score.py", project).digest() == before
    change(project)
    assert collect(project / "score.py", project).digest() != before


def test_a_large_folder_is_a_notice_that_names_the_largest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGE_BYTES", 10)
    events: list[Event] = []
    (project / "weights.bin").write_bytes(b"0" * 2_000_000)
    collect(project / "score.py", project, events.append)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "weights.bin (2 MB)" in notices[0]
