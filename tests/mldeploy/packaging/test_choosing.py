"""Docker where a process will not do: asked for by nobody, refused by name, or missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy.environment import Environment
from mldeploy.errors import EngineException, NeedsImage
from mldeploy.events import Event, Notice
from mldeploy.packaging.choosing import docker_instead, resolved

if TYPE_CHECKING:
    from docker import DockerClient

NEED = NeedsImage("this needs an image", where="environment", reason="apt", hint="leave it out")


class _Locks(dict[str, str]):
    def put(self, key: str, text: str) -> None:
        self[key] = text


def test_a_process_that_was_asked_for_is_not_replaced() -> None:
    told: list[Event] = []
    with pytest.raises(NeedsImage) as caught:
        docker_instead(NEED, "process", told.append)
    assert (caught.value, told) == (NEED, [])


def test_without_docker_both_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    told: list[Event] = []
    with pytest.raises(NeedsImage, match="this needs an image") as caught:
        docker_instead(NEED, "auto", told.append)
    assert told == [Notice("Docker is taken: this needs an image")]
    assert caught.value.reason == "apt\nno Docker engine answers"
    assert caught.value.hint != NEED.hint


def test_what_fails_on_docker_then_is_told_as_it_is(client: DockerClient, free_port: int) -> None:
    environment = Environment("theirs")
    environment.docker.base_image = f"127.0.0.1:{free_port}/team/image:1"
    with pytest.raises(EngineException, match="team/image"):
        resolved(environment, _Locks(), "auto")
