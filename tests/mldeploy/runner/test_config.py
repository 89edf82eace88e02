"""`mldeploy config …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mldeploy.config.schemas import KINDS as BUILT_KINDS
from mldeploy.runner.config import KINDS

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project


def test_the_kinds_are_those_there_are() -> None:
    assert KINDS == BUILT_KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_schema(project: Project, kind: str) -> None:
    assert project.ok("config", "schema", kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_check(project: Project) -> None:
    project.write("good.json", '{"computeType": "local", "port": 8890}')
    project.write("bad.json", '{\n  "computeType": "local",\n  "prot": 8890\n}')
    project.write("ic.json", '{"entryScript": "score.py"}')
    assert project.ok("config", "check", "good.json", "ic.json") == []
    outcome = project.run("config", "check", "good.json", "bad.json")
    assert outcome.code == 2
    (finding,) = outcome.json
    assert (finding["level"], finding["file"], finding["line"]) == ("error", "bad.json", 3)
    assert "port" in finding["hint"]
    table = project.run("config", "check", "bad.json", "-o", "table").out
    assert table.splitlines()[0].split() == ["Level", "File", "Line", "Message", "Hint"]
    assert project.run("config", "check").code == 2
    assert project.run("config", "check", "nowhere.json").code == 2
