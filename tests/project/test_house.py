"""The habits of the house that no linter knows. (Who may import whom is import-linter's, in `make lint`.)"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pytest_mldeploy", "backends", "emulators", "perf", "benchmarks", "scripts")
LONGEST = 500
# v1's own classes with all of their methods, signatures and docstrings: a class is not cut in two
LONGEST_OF_V1S_CLASSES = {"backends/mldeploy/model.py": 600}
# a person's home folder; examples say `~` or name a user that nobody is
_HOME = re.compile(r"/(?:home|Users)/(?!user\b|me\b|<)[A-Za-z][\w.-]*/")


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and not file.is_symlink()]


def _texts() -> Iterator[tuple[str, str]]:
    for file in _tracked():
        content = file.read_bytes()
        if b"\0" not in content:
            yield file.relative_to(ROOT).as_posix(), content.decode(errors="replace")


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    modules = [module for folder in SOURCES for module in (ROOT / folder).rglob("*.py")]
    assert modules
    lengths = {module.relative_to(ROOT).as_posix(): len(module.read_text().splitlines()) for module in modules}
    limits = dict.fromkeys(lengths, LONGEST) | LONGEST_OF_V1S_CLASSES
    assert {name: length for name, length in lengths.items() if length > limits[name]} == {}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    here = f"{ROOT}/"
    assert [name for name, text in _texts() if here in text or _HOME.search(text)] == []


def test_no_file_names_the_index_that_this_machine_installs_from() -> None:
    hosts = set(_own_indexes())
    assert [(name, host) for name, text in _texts() for host in hosts if host in text] == []


def _own_indexes() -> Iterator[str]:
    """The hosts of package indexes that pip or uv are configured with here, if any but the public one."""
    urls = [value for name, value in os.environ.items() if re.fullmatch(r"(PIP|UV)_.*INDEX(_URL)?", name)]
    for file in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        config = configparser.ConfigParser(interpolation=None)
        config.read(file)
        urls += [value for section in config.values() for key, value in section.items() if key.endswith("index-url")]
    for url in " ".join(urls).split():
        host = urlsplit(url).hostname
        if host and host != "pypi.org":
            yield host


def test_every_changelog_fragment_is_of_a_kind_that_towncrier_knows() -> None:
    fragments = [path for path in (ROOT / "changelog").iterdir() if not path.name.startswith(".")]
    assert [
        path.name for path in fragments if not re.fullmatch(r"\+?[\w-]+\.(feature|bugfix|removal|misc)\.md", path.name)
    ] == []
