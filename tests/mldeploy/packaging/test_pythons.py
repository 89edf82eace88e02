"""Which Python an environment gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.packaging import pythons
from mldeploy.packaging.pythons import PREFERRED, choose, nearest, running


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path))
    return tmp_path


def test_the_running_one_is_found_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose(running(), offline=True).version == running()


@pytest.mark.parametrize("asked", ["3.6.2", "3.9", "2.7", "4.0", "==3.8.*", ">=3.6,<3.9"])
def test_one_that_cannot_be_had_is_refused_with_one_that_can(asked: str) -> None:
    with pytest.raises(EnvironmentException, match=f"Python {asked.replace('*', '.')} cannot be had") as caught:
        choose(asked, offline=True)
    near = caught.value.hint.split("python=")[1].split(" ")[0]
    assert choose(near, offline=True).version == near


def test_the_last_number_is_not_kept_to_and_this_is_said() -> None:
    chosen = choose(f"{running()}.99", offline=True)
    assert chosen.version == running()
    assert f"python={running()}.99 was asked for" in chosen.notice


def test_a_range_takes_the_preferred_one_or_one_in_it() -> None:
    assert choose(">=3.6", offline=True).version in {PREFERRED, running()}
    assert choose(f"=={running()}.*", offline=True).version == running()
    assert choose("==3.*", offline=True).version in pythons.SUPPORTED


def test_without_the_preferred_one_ours_is_taken_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(pythons, "PREFERRED", "3.99")
    chosen = choose(None, offline=True)
    assert chosen.version == running()
    assert "3.99 cannot be had" in chosen.notice


def test_what_was_found_is_remembered_until_it_is_gone_or_refreshed(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(pythons, "PREFERRED", "3.99")
    memory = own_cache / "python-3.99.json"
    memory.write_text(json.dumps("/bin/sh"))
    assert choose(None, offline=True).interpreter == "/bin/sh"
    assert not choose(None, offline=True, refresh=True).interpreter.endswith("/bin/sh")
    memory.write_text(json.dumps("/nowhere/python"))
    assert choose(None, offline=True).version == running()


def test_the_nearest_is_the_least_far_away() -> None:
    assert nearest(running()) == running()
    assert nearest("3.6.2") == min(
        (minor for minor in pythons.SUPPORTED if pythons._find(minor, offline=True)), key=lambda minor: int(minor[2:])
    )
