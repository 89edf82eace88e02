"""`mldeploy workspace …`, `mldeploy folder attach`, and which workspace a command works in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

IDENTITY = ("-w", "team", "-g", "group", "--subscription-id", "sub")


def used(project: Project, *flags: str) -> str:
    """The workspace that commands use."""
    name: str = project.ok("workspace", "show", *flags)["name"]
    return name


def test_create_show_list_delete(project: Project) -> None:
    made = project.ok("workspace", "create", *IDENTITY, "-l", "here", "-t", "a=b", "--friendly-name", "Team")
    assert (made["name"], made["resourceGroup"], made["subscriptionId"]) == ("team", "group", "sub")
    assert (made["location"], made["tags"], made["friendlyName"]) == ("here", {"a": "b"}, "Team")
    assert project.ok("workspace", "show", "team") == project.ok("workspace", "show", *IDENTITY) == made
    assert project.ok("workspace", "list") == project.ok("workspace", "list", "-g", "group") == [made]
    assert project.ok("workspace", "list", "--resource-group=other") == []
    assert project.run("workspace", "create", *IDENTITY).code == 6
    assert project.ok("workspace", "create", *IDENTITY, "--exist-ok") == made
    assert project.run("workspace", "delete", "team", "--yes").code == 0
    assert project.ok("workspace", "list") == []
    assert project.run("workspace", "show", "team").code == 6


def test_delete_asks_and_wants_a_name(project: Project) -> None:
    project.ok("workspace", "create", "team")
    assert project.run("workspace", "delete").code == 2
    assert project.command("workspace", "delete", "team", typed="n\n").code == 130
    unanswered = project.command("workspace", "delete", "team", typed="")
    assert unanswered.code == 2
    assert "--yes" in unanswered.err
    assert len(project.ok("workspace", "list", "-o", "json")) == 1
    assert project.run("workspace", "list", "-o", "none").out == ""
    assert project.command("workspace", "delete", "team", typed="y\n").code == 0
    assert project.ok("workspace", "list") == []


def test_create_wants_a_name(project: Project) -> None:
    assert project.run("workspace", "create").code == 2


def test_gc_frees_what_a_deleted_model_left(project: Project) -> None:
    project.ok("model", "register", "-n", "m", "-p", "model.txt")
    assert project.ok("workspace", "gc") == {"bytesFreed": 0}
    project.ok("model", "delete", "m:1")
    assert project.ok("workspace", "gc") == {"bytesFreed": 4}


def test_flag_before_setting_before_config_before_default(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert used(project) == "default"
    for name in ("first", "second", "third"):
        project.ok("workspace", "create", name)
    project.ok("folder", "attach", "-w", "first")
    assert used(project) == "first"
    project.write("mldeploy.toml", 'workspace = "third"\n')
    assert used(project) == "third"
    monkeypatch.setenv("MLDEPLOY_WORKSPACE", "second")
    assert used(project) == "second"
    assert used(project, "-w", "first") == "first"


def test_attach_holds_for_the_folders_below(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.ok("workspace", "create", *IDENTITY)
    details = project.ok("folder", "attach", *IDENTITY, "-t", "out.json")
    assert json.loads(Path("out.json").read_text()) == details
    assert json.loads(Path(".azureml/config.json").read_text())["workspace_name"] == "team"
    (project.folder / "deep/down").mkdir(parents=True)
    monkeypatch.chdir("deep/down")
    assert used(project) == "team"
    monkeypatch.chdir("/")
    assert used(project) == "default"
    assert used(project, "--path", str(project.folder)) == "team"
    assert project.run("folder", "attach").code == 2
    assert project.run("folder", "attach", "-w", "team", "-e", "experiment").code == 2


def test_a_config_names_a_workspace_that_is_made_and_said(project: Project) -> None:
    identity = {"subscription_id": "s", "resource_group": "g", "workspace_name": "of-the-file"}
    project.write("config.json", json.dumps(identity))
    outcome = project.run("workspace", "show")
    assert outcome.json["name"] == "of-the-file"
    assert "workspace of-the-file" in outcome.err


def test_a_resource_group_alone_does_not_say_which(project: Project) -> None:
    outcome = project.run("model", "list", "-g", "group")
    assert outcome.code == 2
    assert "-w NAME" in outcome.err
