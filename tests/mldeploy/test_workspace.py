"""Workspaces: made, found, configured, removed."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from mldeploy.errors import UserErrorException, WorkspaceException
from mldeploy.events import Event, Notice
from mldeploy.model import Model
from mldeploy.workspace import Workspace

CONFIG = {"subscription_id": "s-1", "resource_group": "group", "workspace_name": "my-workspace"}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everybody's store, and an empty current folder."""
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    (tmp_path / "project/src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "store"


def test_create_and_get() -> None:
    made = Workspace.create(
        "my-workspace",
        subscription_id="s-1",
        resource_group="group",
        location="westeurope",
        friendly_name="Mine",
        tags={"a": "b"},
    )
    found = Workspace.get("my-workspace")
    assert (found.name, found.subscription_id, found.resource_group) == ("my-workspace", "s-1", "group")
    assert found.get_details() == made.get_details()
    details = found.get_details()
    assert details["location"] == found.location == "westeurope"
    assert details["friendlyName"] == "Mine"
    assert details["tags"] == found.tags == {"a": "b"}
    assert details["id"].endswith("/Microsoft.MachineLearningServices/workspaces/my-workspace")
    assert Workspace("s-1", "group", "my-workspace").name == "my-workspace"


def test_it_is_a_folder(store: Path) -> None:
    Workspace.create("my-workspace", subscription_id="s-1", resource_group="group")
    (folder,) = (store / "workspaces").iterdir()
    assert folder.name.startswith("my-workspace-")
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    assert Workspace.from_config(folder).subscription_id == "s-1"


def test_one_that_exists() -> None:
    Workspace.create("my-workspace")
    with pytest.raises(WorkspaceException, match="already exists"):
        Workspace.create("my-workspace")
    assert Workspace.create("my-workspace", exist_ok=True).name == "my-workspace"


def test_made_by_many_at_once() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: Workspace.create("my-workspace", exist_ok=True), range(8)))
    assert {str(one) for one in made} == {str(Workspace.get("my-workspace"))}


@pytest.mark.parametrize("name", ["ab", "-abc", "a b c", "a" * 34, "größe"])
def test_the_rule_is_quoted(name: str) -> None:
    with pytest.raises(WorkspaceException, match="cannot be a workspace's name") as caught:
        Workspace.create(name)
    assert caught.value.reason == "3 to 33 letters, digits, '-' and '_', the first one a letter or digit"


@pytest.mark.parametrize("name", ["abc", "0_a-B", "a" * 33])
def test_names_that_will_do(name: str) -> None:
    assert Workspace.create(name).name == name


def test_v1s_cloud_parameters_are_taken_and_others_not() -> None:
    Workspace.create("my-workspace", auth=object(), key_vault="x", hbi_workspace=True)
    with pytest.raises(TypeError, match="'colour'"):
        Workspace.create("other", colour="red")


def test_an_unknown_one_names_those_near() -> None:
    Workspace.create("production")
    Workspace.create("playground")
    with pytest.raises(WorkspaceException, match="no workspace prodution") as caught:
        Workspace.get("prodution")
    assert caught.value.reason == "there is production"
    with pytest.raises(WorkspaceException, match="no workspace production"):
        Workspace("other", "group", "production")


def test_none_at_all() -> None:
    with pytest.raises(WorkspaceException) as caught:
        Workspace.get("anything")
    assert caught.value.reason == "there is none at all"
    assert Workspace.list() == {}


def test_names_that_several_have() -> None:
    for group in ("one", "two"):
        Workspace.create("same", subscription_id="s", resource_group=group)
    with pytest.raises(WorkspaceException, match="2 workspaces named same") as caught:
        Workspace.get("same")
    assert caught.value.reason == "s / one\ns / two"
    assert Workspace.get("same", resource_group="two").resource_group == "two"


def test_list_as_v1() -> None:
    for subscription, group, name in (("s", "one", "same"), ("s", "two", "same"), ("t", "one", "other")):
        Workspace.create(name, subscription_id=subscription, resource_group=group)

    def shown(found: dict[str, list[Workspace]]) -> dict[str, list[str]]:
        return {name: [one.resource_group for one in ones] for name, ones in found.items()}

    assert shown(Workspace.list()) == {"same": ["one", "two"], "other": ["one"]}
    assert shown(Workspace.list("s")) == {"same": ["one", "two"]}
    assert shown(Workspace.list(resource_group="one")) == {"same": ["one"], "other": ["one"]}


def test_the_default_is_made_once() -> None:
    told: list[Event] = []
    made = Workspace.default(told.append)
    assert Workspace.default(told.append).name == made.name == "default"
    assert [type(event) for event in told] == [Notice]
    assert "workspace default was not here yet" in str(told[0])


def test_write_config_and_from_config_from_below(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Workspace.create("my-workspace", subscription_id="s-1", resource_group="group")
    made.write_config()
    assert json.loads(Path(".azureml/config.json").read_text()) == CONFIG
    monkeypatch.chdir("src")
    assert str(Workspace.from_config()) == str(made)


@pytest.mark.parametrize("place", ["config.json", "aml_config/config.json", ".azureml/config.json", "src/ws.json"])
def test_from_config_makes_what_is_not_here_and_says_so(place: str, caplog: pytest.LogCaptureFixture) -> None:
    file = Path(place)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**CONFIG, "Scope": "v1 wrote more at times"}))
    told: list[Event] = []
    path = place if place.startswith("src") else None
    with caplog.at_level(logging.WARNING, "mldeploy"):
        found = Workspace.from_config(path, report=told.append)
        assert (found.name, found.subscription_id, found.resource_group) == ("my-workspace", "s-1", "group")
        assert len(told) == 1
        assert caplog.messages == []
        Workspace.from_config(path)
        assert caplog.messages == []
        found.delete()
        Workspace.from_config(path)
        assert "workspace my-workspace was not here yet" in caplog.messages[0]


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(UserErrorException, match="no workspace configuration is found") as caught:
        Workspace.from_config()
    assert ".azureml/config.json" in caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "list"),
        ('{"subscription_id": "a", "resource_group": "b"}', "'workspace_name' is missing"),
    ],
)
def test_a_config_that_is_none(text: str, reason: str) -> None:
    Path("config.json").write_text(text)
    with pytest.raises(UserErrorException, match="no workspace configuration") as caught:
        Workspace.from_config()
    assert reason in caught.value.reason
    assert caught.value.where.endswith("config.json")


def test_models_are_the_latest_ones(tmp_path: Path) -> None:
    ws = Workspace.default()
    (tmp_path / "model.txt").write_text("0.5")
    for name in ("one", "one", "two"):
        Model.register(ws, tmp_path / "model.txt", name)
    assert {name: model.id for name, model in ws.models.items()} == {"one": "one:2", "two": "two:1"}


def test_delete(store: Path) -> None:
    ws = Workspace.create("my-workspace")
    ws.store.services_folder.mkdir(parents=True)
    (store / "workspaces/.gone-by-a-killed-one/my-workspace/files").mkdir(parents=True)
    ws.delete()
    assert Workspace.list() == {}
    assert list((store / "workspaces").iterdir()) == []
    assert list((store / "services").iterdir()) == []


def test_the_version_as_v1s_scripts_print_it() -> None:
    import mldeploy

    assert version("pytest-mldeploy") == mldeploy.VERSION


def test_importing_it_stays_light() -> None:
    heavy = {"sqlalchemy", "alembic", "pydantic", "numpy", "fsspec", "psutil", "requests"}
    script = f"import sys, mldeploy.workspace, mldeploy.model; print(sorted({heavy!r} & sys.modules.keys()))"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert output.stdout == "[]\n"
