"""Which packages an environment gets: from a channel that the test makes, and what is said where it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.events import Event, Step
from mldeploy.images import conda
from mldeploy.images.conda import rattling
from mldeploy.packaging.requirements import CondaWanted

if TYPE_CHECKING:
    from mldeploy.images.foundations.foundation import Foundation

    # the fixtures' classes are conftest.py's, which cannot be imported
    Channel = Any
    Serve = Callable[..., Any]


def asked(*packages: str, channels: tuple[str, ...], **more: Any) -> CondaWanted:
    return CondaWanted(packages, channels=channels, **more)


def versions(lock: conda.CondaLock) -> dict[str, str]:
    return {one.name: one.version for one in lock.records}


def test_a_lock_has_every_package_with_its_hash_and_is_the_same_text_each_time(
    channel: Channel, serve: Serve, nowhere: Foundation
) -> None:
    served = serve()
    wanted = asked("teller", "greeter", channels=(served.url,))
    lock = conda.solve(wanted, nowhere)
    assert versions(lock) == {"greeter": "0.3", "shapes": "1.2", "teller": "2.0"}
    assert lock.python is None, "the channel has none: it is the foundation's"
    assert lock.present == ("gree-ter==0.3",), "pip's name of it"
    shapes = lock.records[1]
    assert shapes.url == f"{served.url}/noarch/shapes-1.2-0.tar.bz2"
    assert shapes.sha256 == channel.index["noarch"]["shapes-1.2-0.tar.bz2"]["sha256"]
    assert shapes.purl.startswith("pkg:conda/shapes@1.2?build=0&channel=http%3A%2F%2F127.0.0.1")
    assert conda.CondaLock.parse(lock.text) == lock
    assert conda.solve(wanted, nowhere, refresh=True).text == lock.text


def test_what_was_decided_needs_no_channel_any_more(serve: Serve, nowhere: Foundation) -> None:
    served = serve()
    wanted = asked("teller", channels=(served.url,))
    told: list[Event] = []
    first = conda.solve(wanted, nowhere, report=told.append)
    assert [event.name for event in told if isinstance(event, Step)] == ["resolve", "install"]
    count = len(served.asked)
    told.clear()
    assert conda.solve(wanted, nowhere, offline=True, report=told.append) == first
    assert (len(served.asked), told) == (count, [])


def test_offline_asks_folders_only(channel: Channel, serve: Serve, nowhere: Foundation) -> None:
    with pytest.raises(EnvironmentException, match="not decided yet") as caught:
        conda.solve(asked("teller", channels=(serve().url,)), nowhere, offline=True)
    assert "--offline" in caught.value.hint
    lock = conda.solve(asked("teller", channels=(channel.folder.as_uri(),)), nowhere, offline=True)
    assert versions(lock)["teller"] == "2.0"


def test_the_key_follows_from_what_is_asked_and_for_what(nowhere: Foundation, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = asked("teller", channels=("conda-forge",))
    keys = {
        conda.key(wanted, nowhere),
        conda.key(replace(wanted, packages=("teller>=2",)), nowhere),
        conda.key(replace(wanted, bounds=("numpy=1",)), nowhere),
        conda.key(replace(wanted, channels=("bioconda",)), nowhere),
        conda.key(replace(wanted, python="3.12"), nowhere),
        conda.key(wanted, replace(nowhere, python="3.10")),
        conda.key(wanted, replace(nowhere, platform="x86_64-manylinux_2_28")),
    }
    assert len(keys) == 7
    assert conda.key(wanted, nowhere) in keys
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    assert conda.key(wanted, nowhere) not in keys


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("shapes", "1.2"),
        ("shapes=1.1", "1.1"),
        ("shapes==1.1", "1.1"),
        ("shapes 1.1 0", "1.1"),
        ("shapes=1.1=0", "1.1"),
        ("shapes<1.2", "1.1"),
        ("shapes[version='1.0|1.1']", "1.1"),
    ],
)
def test_the_ways_to_ask_for_a_version(channel: Channel, nowhere: Foundation, spec: str, version: str) -> None:
    assert versions(conda.solve(asked(spec, channels=(str(channel.folder),)), nowhere)) == {"shapes": version}


def test_the_first_channel_that_has_a_package_counts(
    channel: Channel, serve: Serve, nowhere: Foundation, tmp_path: Path
) -> None:
    other = type(channel)(tmp_path / "other")
    other.add("shapes", "1.3", {"share/shapes/x": b"x"}, noarch="generic")
    first, second = serve().url, serve(other.folder).url
    assert versions(conda.solve(asked("shapes", channels=(first, second)), nowhere)) == {"shapes": "1.2"}
    assert versions(conda.solve(asked("shapes", channels=(second, first)), nowhere)) == {"shapes": "1.3"}
    assert versions(conda.solve(asked(f"{second}::shapes", channels=(first,)), nowhere)) == {"shapes": "1.3"}


def test_a_channel_by_name_is_below_the_users_alias(
    channel: Channel, serve: Serve, nowhere: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", serve(channel.folder.parent).url)
    lock = conda.solve(asked("channel::shapes", channels=("channel",)), nowhere)
    assert lock.records[0].url.endswith("/channel/noarch/shapes-1.2-0.tar.bz2")


def test_what_pip_installs_bounds_what_conda_brings(channel: Channel, nowhere: Foundation) -> None:
    channels = (str(channel.folder),)
    channel.add("numpy", "1.26.4", {"share/n": b"1"})
    channel.add("numpy", "2.1.0", {"share/n": b"2"})
    channel.add("counter", "1.0", {"share/c": b"c"}, depends=("numpy",))
    assert versions(conda.solve(asked("counter", channels=channels), nowhere))["numpy"] == "2.1.0"
    bounded = asked("counter", channels=channels, bounds=("numpy=1.26", "scipy=1"))
    assert versions(conda.solve(bounded, nowhere)) == {"counter": "1.0", "numpy": "1.26.4"}


def test_a_python_of_the_channels_is_the_environments(channel: Channel, nowhere: Foundation) -> None:
    for version in ("3.10.9", "3.11.8", "3.12.1", "3.14.0"):
        channel.add("python", version, {"bin/python": b"", "lib/libpython.so": b""})
    channels = (str(channel.folder),)
    assert conda.solve(asked("teller", channels=channels), nowhere).python is None, "nothing needs one"
    assert conda.solve(asked("greeter", channels=channels), nowhere).python == "3.11.8"
    for python, version in (("3.12", "3.12.1"), ("3.10.4", "3.10.9"), (">=3.12", "3.12.1"), ("==3.*", "3.12.1")):
        assert conda.solve(asked("greeter", channels=channels, python=python), nowhere).python == version
    assert conda.solve(asked("teller", channels=channels, python="3.12"), nowhere).python == "3.12.1", (
        "not the foundation's"
    )
    with pytest.raises(EnvironmentException, match=r"Python 3\.8 cannot be had"):
        conda.solve(asked("teller", channels=channels, python="3.8"), nowhere)


def test_where_nobody_asked_another_python_than_the_foundations_will_do(channel: Channel, nowhere: Foundation) -> None:
    channel.add("python", "3.12.1", {"bin/python": b""})
    channel.add("modern", "1.0", {"share/m": b"m"}, depends=("python >=3.12,<3.13.0a0",))
    assert conda.solve(asked("modern", channels=(str(channel.folder),)), nowhere).python == "3.12.1"


def test_scripts_that_are_not_run_are_told(channel: Channel, nowhere: Foundation) -> None:
    channel.add("caching", "1.0", {"bin/.caching-post-link.sh": b"#!/bin/sh\n"})
    channel.add("pointing", "1.0", {"etc/conda/activate.d/pointing.sh": b"export A=1\n"})
    lock = conda.solve(asked("caching", "pointing", "shapes", channels=(str(channel.folder),)), nowhere)
    linked, activated = lock.notices
    assert "link scripts of caching are not run" in linked
    assert "activation scripts of pointing are not run" in activated


def refused(foundation: Foundation, *packages: str, channels: tuple[str, ...], **more: Any) -> EnvironmentException:
    with pytest.raises(EnvironmentException) as caught:
        conda.solve(asked(*packages, channels=channels, **more), foundation)
    return caught.value


def test_a_package_that_no_channel_has_is_named(serve: Serve, nowhere: Foundation) -> None:
    url = serve().url
    error = refused(nowhere, "teller", "no-such-thing", channels=(url,))
    assert error.message == "no channel has the conda package no-such-thing for this platform"
    assert f"channels asked: {url}" in error.hint


def test_a_version_that_no_channel_has_is_named_with_those_there_are(serve: Serve, nowhere: Foundation) -> None:
    error = refused(nowhere, "shapes>=2", channels=(serve().url,))
    assert error.message == "no channel has shapes >=2"
    assert "there are: 1.2, 1.1" in error.hint


def test_what_cannot_be_together_is_told_in_the_solvers_words(serve: Serve, nowhere: Foundation) -> None:
    error = refused(nowhere, "picky", channels=(serve().url,))
    assert error.message == "the conda packages cannot be installed together"
    assert "shapes >=9, for which no candidates were found" in error.reason
    error = refused(nowhere, "teller", "shapes=1.1", channels=(serve().url,))
    assert "teller" in error.reason
    assert "shapes" in error.reason


def test_an_old_foundation_is_told(serve: Serve, nowhere: Foundation) -> None:
    error = refused(replace(nowhere, platform="x86_64-manylinux_2_12"), "teller", channels=(serve().url,))
    assert "__glibc" in error.reason


def test_a_line_that_conda_cannot_read_is_named(channel: Channel, nowhere: Foundation) -> None:
    error = refused(nowhere, "shapes>>1", channels=(str(channel.folder),))
    assert error.message == "'shapes>>1' cannot be read as a conda package"


def test_a_channel_that_is_not_there(serve: Serve, nowhere: Foundation, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}/team"
    error = refused(nowhere, "shapes", channels=(closed,))
    assert error.message == "the conda channel cannot be reached"
    assert error.where.startswith(closed)
    assert "Connection refused" in error.reason
    missing = f"{serve().url}/elsewhere"
    assert refused(nowhere, "shapes", channels=(missing,)).message == f"there is no conda channel at {missing}/"
    folder = (tmp_path / "nothing").as_uri()
    assert refused(nowhere, "shapes", channels=(folder,)).message == f"there is no conda channel at {folder}/"


def test_a_server_in_trouble(serve: Serve, nowhere: Foundation) -> None:
    error = refused(nowhere, "shapes", channels=(serve(trouble=lambda path: 503).url,))
    assert "503" in str(error)
    assert error.hint.startswith(("try again later", "check the network"))


def test_credentials_come_from_netrc_and_are_kept_nowhere(
    serve: Serve, nowhere: Foundation, own_settings: Path, tmp_path: Path
) -> None:
    served = serve(password="s3cr3tpw")
    error = refused(nowhere, "shapes", channels=(served.url,))
    assert error.message == "the conda channel is not for everybody"
    netrc = own_settings / ".netrc"
    netrc.write_text("machine 127.0.0.1\nlogin me\npassword s3cr3tpw\n")
    netrc.chmod(0o600)
    lock = conda.solve(asked("shapes", channels=(served.url,)), nowhere)
    assert "s3cr3tpw" not in lock.text
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and b"s3cr3tpw" in file.read_bytes()]
    assert kept == []


@pytest.mark.parametrize("silent", ["/linux-64/repodata", "/noarch/shapes-1.2"])
def test_a_server_that_falls_silent(
    serve: Serve, nowhere: Foundation, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rattling, "PATIENCE_S", 1.0)
    done = threading.Event()
    served = serve(trouble=lambda path: 503 if path.startswith(silent) and done.wait(60) else None)
    error = refused(nowhere, "shapes", channels=(served.url,))
    done.set()
    assert error.message.endswith("cannot be reached")
    assert "timed out" in error.reason or "error sending request" in error.reason


def test_whoever_is_killed_leaves_nothing_that_counts(
    serve: Serve, nowhere: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def trouble(path: str) -> int | None:
        if path.startswith("/noarch/shapes-1.2") and not go_on.is_set():
            arrived.set()
            go_on.wait(60)
        return None

    served = serve(trouble=trouble)
    code = (
        "from mldeploy.images import conda\n"
        "from mldeploy.images.foundations.base import BaseImage\n"
        "from mldeploy.images.foundations.foundation import Foundation\n"
        "from mldeploy.packaging.requirements import CondaWanted\n"
        "image = BaseImage('mldeploy/base:none', 'sha256:0', (), {}, 'amd64', 'linux', 0)\n"
        f"foundation = Foundation(image, {nowhere.python!r}, {nowhere.interpreter!r}, {nowhere.platform!r})\n"
        f"conda.solve(CondaWanted(('teller',), channels=({served.url!r},)), foundation)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    assert arrived.wait(60)
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert alive == [], "py-rattler's process ends with its caller"
    go_on.set()
    assert list((tmp_path / "cache" / "locks").glob("*.json")) == []
    assert versions(conda.solve(asked("teller", channels=(served.url,)), nowhere))["shapes"] == "1.2"


def test_what_was_left_half_unpacked_long_ago_is_removed(channel: Channel, nowhere: Foundation, tmp_path: Path) -> None:
    old, new = (tmp_path / "cache" / "conda" / "packages" / name for name in (".old-1.0-0abc", ".new-1.0-0abc"))
    for half in (old, new):
        (half / "share").mkdir(parents=True)
    os.utime(old, (0, 0))
    conda.solve(asked("shapes", channels=(str(channel.folder),)), nowhere)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_broken_py_rattler_is_told(nowhere: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken" / "rattler").mkdir(parents=True)
    (tmp_path / "broken" / "rattler" / "__init__.py").write_text("raise ImportError('libssl is missing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    error = refused(nowhere, "shapes", channels=("conda-forge",))
    assert error.message == "py-rattler does not work"
    assert "libssl is missing" in error.reason


def test_a_package_that_is_another_one_is_refused(channel: Channel, serve: Serve, nowhere: Foundation) -> None:
    archive = channel.folder / "noarch" / "shapes-1.2-0.tar.bz2"
    archive.write_bytes((channel.folder / "noarch" / "shapes-1.1-0.tar.bz2").read_bytes())
    error = refused(nowhere, "shapes", channels=(serve().url,))
    assert error.message == (
        "the conda package shapes-1.2-0.tar.bz2 is not the one that was decided on: its hash is another one"
    )
    archive.unlink()
    error = refused(nowhere, "shapes", channels=(serve().url,))
    assert error.message == "the conda package shapes-1.2-0.tar.bz2 is gone"


def test_a_package_without_a_hash_is_refused(channel: Channel, nowhere: Foundation) -> None:
    del channel.index["noarch"]["shapes-1.2-0.tar.bz2"]["sha256"]
    channel.write()
    assert "has no SHA-256" in refused(nowhere, "shapes", channels=(str(channel.folder),)).message


def test_a_full_disk(channel: Channel, nowhere: Foundation, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel.add("large", "1.0", {"share/large": bytes(4_000_000)})
    monkeypatch.setenv("MLDEPLOY_CACHE", str(small_disk))
    error = refused(nowhere, "large", channels=(str(channel.folder),))
    assert error.message == "the disk is full: the environment was not installed"
    assert not list(small_disk.glob("locks/*.json"))


def test_without_py_rattler_it_is_said_what_to_type(nowhere: Foundation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rattler", None)  # as import finds it where it is not installed
    error = refused(nowhere, "shapes", channels=("conda-forge",))
    assert error.hint == "pip install 'pytest-mldeploy[conda]'"
