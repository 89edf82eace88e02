"""`mldeploy model …`, every verb but deploy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project


@pytest.fixture
def registered(project: Project) -> Project:
    """A project with `answer:1` and `answer:2` registered."""
    project.ok("model", "register", "-n", "answer", "-p", "model.txt", "--tag", "area=mnist", "-d", "first")
    project.ok("model", "register", "-n", "answer", "-p", "model.txt", "--property", "run=7")
    return project


def test_register_prints_the_keys_that_v1_printed(project: Project) -> None:
    given = ("--model-framework", "ScikitLearn", "--model-framework-version", "1.5", "--cc", "1", "--gb", "0.5")
    record = project.ok("model", "register", "-n", "answer", "-p", "model.txt", "--tag", "a=b=c", *given)
    v1 = {
        *("createdTime", "description", "experimentName", "framework", "frameworkVersion", "id", "name"),
        *("properties", "runId", "tags", "version"),
    }
    assert v1 <= record.keys()
    assert (record["id"], record["version"], record["framework"]) == ("answer:1", 1, "ScikitLearn")
    assert record["tags"] == {"a": "b=c"}
    assert record["resourceConfiguration"] == {"cpu": 1.0, "memoryInGB": 0.5, "gpu": None}


def test_the_workspace_made_at_first_use_is_named_and_stdout_has_the_result_only(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "answer", "-p", "model.txt")
    assert outcome.json["id"] == "answer:1"
    assert "workspace default" in outcome.err
    assert "workspace default" not in project.run("model", "list").err


def test_a_metadata_file_feeds_later_commands(project: Project) -> None:
    record = project.ok("model", "register", "-n", "answer", "-p", "model.txt", "-t", "info.json")
    written = json.loads(Path("info.json").read_text())
    assert written["modelId"] == "answer:1"
    assert written["workspaceName"] == "default"
    assert record.items() <= written.items()
    plan = project.ok("model", "deploy", "-n", "svc", "-f", "info.json", "--es", "score.py", "--dry-run")
    assert plan["modelIds"] == ["answer:1"]


def test_a_metadata_file_that_is_none(project: Project) -> None:
    project.write("info.json", "{}")
    outcome = project.run("model", "deploy", "-n", "svc", "-f", "info.json", "--es", "score.py")
    assert outcome.code == 2
    assert "info.json" in outcome.err


def test_list(registered: Project) -> None:
    def ids(*flags: str) -> list[str]:
        return registered.run("model", "list", *flags, "--query", "[].id", "-o", "tsv").out.split()

    assert ids() == ["answer:2", "answer:1"]
    assert ids("-l") == ["answer:2"]
    assert ids("--tag", "area") == ids("--tag", "area=mnist") == ids("-n", "answer", "--tag", "area") == ["answer:1"]
    assert ids("--tag", "area=other") == ids("-n", "other") == ids("--run-id", "7") == []
    assert ids("--property", "run=7") == ["answer:2"]


@pytest.mark.parametrize(
    ("words", "version"),
    [
        (("answer",), 2),
        (("answer:1",), 1),
        (("-n", "answer"), 2),
        (("-n", "answer", "--version", "1"), 1),
        (("-i", "answer:1"), 1),
        (("--model-id", "answer:1"), 1),
    ],
)
def test_show(registered: Project, words: tuple[str, ...], version: int) -> None:
    assert registered.ok("model", "show", *words)["version"] == version


def test_show_what_is_not_there(registered: Project) -> None:
    outcome = registered.run("model", "show", "answr")
    assert (outcome.code, outcome.out) == (3, "")
    assert "there is answer" in outcome.err
    assert registered.run("model", "show", "answer:9").code == 3
    assert registered.run("model", "show").code == 2
    assert registered.run("model", "show", "a", "-n", "b").code == 2


def test_update(registered: Project) -> None:
    changed = registered.ok(
        *("model", "update", "answer:1", "--add-tag", "stage=prod", "--remove-tag", "area"),
        *("--add-property", "k=v", "-d", "second", "--gb", "2"),
    )
    assert changed["tags"] == {"stage": "prod"}
    assert changed["properties"] == {"k": "v"}
    assert changed["description"] == "second"
    assert changed["resourceConfiguration"]["memoryInGB"] == 2
    outcome = registered.run("model", "update", "-i", "answer:1", "--add-property", "k=other")
    assert outcome.code == 2
    assert "stays so" in outcome.err


def test_update_and_delete_want_a_version(registered: Project) -> None:
    for verb in ("update", "delete"):
        outcome = registered.run("model", verb, "answer")
        assert outcome.code == 2
        assert "answer:2 is the latest" in outcome.err
    assert len(registered.ok("model", "list")) == 2


def test_download(registered: Project) -> None:
    path = registered.ok("model", "download", "-i", "answer:1", "-t", "back")["downloadPath"]
    assert Path(path).read_text() == "0.5\n"
    assert registered.run("model", "download", "answer:1", "-t", "back").code == 2
    registered.ok("model", "download", "answer:1", "-t", "back", "--overwrite")


def test_delete(registered: Project) -> None:
    assert registered.run("model", "delete", "answer:1").out == ""
    assert [each["id"] for each in registered.ok("model", "list")] == ["answer:2"]
    assert registered.run("model", "delete", "-i", "answer:1").code == 3


def test_delete_is_refused_while_a_service_uses_it(registered: Project, serving_python: Path) -> None:
    registered.ok("model", "deploy", "-n", "svc", "-m", "answer:1", "--es", "score.py")
    outcome = registered.run("model", "delete", "answer:1")
    assert outcome.code != 0
    assert "mldeploy service delete svc" in outcome.err
    assert registered.ok("model", "show", "answer:1")["id"] == "answer:1"


def test_a_model_of_a_training_run_is_refused_with_the_line_that_does_it(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "m", "--asset-path", "outputs/m.pkl", "--run-id", "r")
    assert outcome.code == 2
    assert "mldeploy model register -n m -p outputs/m.pkl" in outcome.err
    assert "-p PATH" in project.run("model", "register", "-n", "m").err


def test_a_tag_that_is_no_pair(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "m", "-p", "model.txt", "--tag", "lonely")
    assert outcome.code == 2
    assert "KEY=VALUE" in outcome.err
