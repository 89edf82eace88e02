"""What keeps the official server from starting keeps ours, with the same exit code and words of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Difference, Server, Servers

FAILED_TO_START = 3
AHEAD = 3
STARTS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("starts.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def begun() -> dict[str, tuple[Server, Server]]:
    """Both servers of a start by its name; those of the next ones start meanwhile."""
    return {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.holds(said["holds"])) for name, said in STARTS.items()]
)
def test_start(
    servers: Servers, known: dict[str, Difference], begun: dict[str, tuple[Server, Server]], name: str
) -> None:
    names = list(STARTS)
    at = names.index(name)
    for each in names[at : at + 1 + AHEAD]:
        if each not in begun:
            said = STARTS[each]
            files = {"score.py": said["script"], **said.get("files", {})}
            variables = said.get("variables", {})
            begun[each] = servers.official(files, variables), servers.ours(files, variables)
    expected = STARTS[name]
    for server, words in zip(begun[name], (expected["official"], expected["here"]), strict=True):
        if words is None:
            assert known[expected["shows"]].held_by == "test_start.py::test_start"
            server.wait_until_healthy()
        else:
            assert server.wait() == FAILED_TO_START
            assert words in server.log()
