"""Registered models, as v1's scripts use them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mldeploy.errors import ModelNotFoundException, ModelPathNotFoundException, UserErrorException, WebserviceException
from mldeploy.events import Event, Progress, Step
from mldeploy.model import Model
from mldeploy.resource_configuration import ResourceConfiguration
from mldeploy.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace, and a current folder with a model in it."""
    monkeypatch.chdir(tmp_path)
    Path("model.txt").write_text("0.5")
    return Workspace.create("testing", store=str(tmp_path / "store"))


@pytest.fixture
def half(ws: Workspace) -> Model:
    """A registered model."""
    return Model.register(ws, "model.txt", "half", tags={"stage": "test"}, properties={"from": "here"})


def test_register_with_everything(ws: Workspace) -> None:
    told: list[Event] = []
    model = Model.register(
        workspace=ws,
        model_path="model.txt",
        model_name="half",
        tags={"stage": "test"},
        properties={"rows": 5},  # type: ignore[dict-item]
        description="Half of it.",
        datasets=[
            ("training", "d-1"),
            ("training", SimpleNamespace(id="d-2")),
            ("validation", SimpleNamespace(name="d-3")),
        ],
        model_framework=Model.Framework.SCIKITLEARN,
        model_framework_version="1.5",
        sample_input_dataset=SimpleNamespace(id="in"),
        sample_output_dataset="out",
        resource_configuration=ResourceConfiguration(cpu=1, memory_in_gb=0.5),
        report=told.append,
    )
    assert told == [Step("register", "Registering model half"), Progress("register", 3, 3)]
    again = Model(ws, "half")
    assert again.serialize() == model.serialize()
    assert {key: value for key, value in again.serialize().items() if not key.endswith("Time")} == {
        "datasets": [
            {"name": "training", "id": "d-1"},
            {"name": "training", "id": "d-2"},
            {"name": "validation", "id": "d-3"},
        ],
        "description": "Half of it.",
        "experimentName": None,
        "framework": "ScikitLearn",
        "frameworkVersion": "1.5",
        "id": "half:1",
        "name": "half",
        "properties": {"rows": "5"},
        "resourceConfiguration": {"cpu": 1, "memoryInGB": 0.5, "gpu": None},
        "runId": None,
        "sampleInputDatasetId": "in",
        "sampleOutputDatasetId": "out",
        "tags": {"stage": "test"},
        "version": 1,
    }
    assert again.created_time.utcoffset() is not None
    assert again.datasets == {"training": ["d-1", "d-2"], "validation": ["d-3"]}
    assert (again.sample_input_dataset_id, again.sample_output_dataset_id) == ("in", "out")
    assert again.resource_configuration == ResourceConfiguration(1, 0.5)
    assert (again.model_framework, again.model_framework_version) == ("ScikitLearn", "1.5")
    assert again.description == "Half of it."


def test_register_with_nothing_more(half: Model) -> None:
    assert half.model_framework == "Custom"
    assert half.resource_configuration is None
    assert half.description is None
    assert half.datasets == {}


@pytest.mark.parametrize("name", ["", "-half", "a b", "a/b", "a:1", "ä", "a" * 256])
def test_the_name_rule_is_quoted(ws: Workspace, name: str) -> None:
    with pytest.raises(WebserviceException, match="cannot be a model's name") as caught:
        Model.register(ws, "model.txt", name)
    assert r"^[a-zA-Z0-9][a-zA-Z0-9\-\._]{0,254}$" in caught.value.reason
    assert Model.list(ws) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_framework": "sklearn"}, "no model framework"),
        ({"tags": ["stage"]}, "tags is"),
        ({"properties": "stage"}, "properties is"),
        ({"datasets": [("training", object())]}, "no dataset"),
    ],
)
def test_values_that_will_not_do(ws: Workspace, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserErrorException, match=said):
        Model.register(ws, "model.txt", "half", **wrong)
    assert Model.list(ws) == []


def test_no_such_path(ws: Workspace) -> None:
    with pytest.raises(ModelPathNotFoundException, match=r"no model file or folder modle\.txt"):
        Model.register(ws, "modle.txt", "half")


@pytest.mark.parametrize("numbers", [{"cpu": 0}, {"memory_in_gb": -1}, {"gpu": -1}, {"cpu": "1"}, {"cpu": True}])
def test_resources_out_of_range(numbers: dict[str, Any]) -> None:
    with pytest.raises(UserErrorException, match=next(iter(numbers))):
        ResourceConfiguration(**numbers)


def test_the_constructor_finds_the_latest_that_fits(ws: Workspace) -> None:
    for stage, origin in (("a", "x"), ("b", "x"), ("a", "y")):
        Model.register(ws, "model.txt", "half", tags={"stage": stage}, properties={"origin": origin})
    Model.register(ws, "model.txt", "other", tags={"stage": "b", "more": ""})
    assert Model(ws, "half").id == "half:3"
    assert Model(ws, name="half", version=2).id == "half:2"
    assert Model(ws, name="half", version="2").id == "half:2"
    assert Model(ws, id="half:1").id == "half:1"
    assert Model(ws, "half", tags=[["stage", "b"]]).id == "half:2"
    assert Model(ws, tags=[["stage", "b"]]).id == "other:1"
    assert Model(ws, tags={"stage": "b"}).id == "other:1"
    assert Model(ws, tags=["more"]).id == "other:1"
    assert Model(ws, properties=[("origin", "x")]).id == "half:2"
    assert Model(ws, "half", tags=["stage"], properties=[["origin", "x"], "origin"]).id == "half:2"


@pytest.mark.parametrize(
    ("asked", "said", "reason"),
    [
        ({"name": "hlaf"}, "Model with name hlaf not found", "there is half"),
        ({"name": "half", "version": 7}, "Model with name half, version 7 not found", "half has version 1"),
        ({"id": "half:7"}, "Model with name half, version 7 not found", "half has version 1"),
        ({"tags": [["stage", "live"]]}, "Model with tags", "there is half"),
    ],
)
def test_an_unknown_model(half: Model, asked: dict[str, Any], said: str, reason: str) -> None:
    with pytest.raises(ModelNotFoundException, match=said) as caught:
        Model(half.workspace, **asked)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("asked", "error"), [({}, WebserviceException), ({"id": "half"}, UserErrorException)])
def test_asked_for_by_nothing(ws: Workspace, asked: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"asked for by nothing|no model id"):
        Model(ws, **asked)
    with pytest.raises(UserErrorException, match="no model version"):
        Model(ws, "half", version="latest")


def test_list_filters(ws: Workspace) -> None:
    for stage in ("a", "b"):
        Model.register(ws, "model.txt", "half", tags={"stage": stage}, datasets=[("training", stage)])
    Model.register(ws, "model.txt", "other", tags={"stage": "a"}, model_framework="Onnx")

    def ids(**filters: Any) -> list[str]:
        return [model.id for model in Model.list(ws, **filters)]

    assert ids() == ["other:1", "half:2", "half:1"]
    assert ids(name="half") == ["half:2", "half:1"]
    assert ids(latest=True) == ["other:1", "half:2"]
    assert ids(tags=[["stage", "a"]]) == ["other:1", "half:1"]
    assert ids(tags=[["stage", "a"]], latest=True, name="half") == ["half:1"]
    assert ids(tags=["stage", ["stage", "b"]]) == ["half:2"]
    assert ids(dataset_id="a") == ["half:1"]
    assert ids(model_framework="Onnx") == ["other:1"]
    assert ids(properties=["none"]) == []


def test_tags_change_and_properties_are_only_added(half: Model) -> None:
    half.add_tags({"stage": "live", "owner": "me"})
    half.remove_tags("owner")
    half.remove_tags(["unknown"])
    half.add_properties({"from": "here", "to": "there"})
    with pytest.raises(UserErrorException, match="only added to"):
        half.update_tags_properties(add_tags={"lost": "x"}, add_properties={"from": "elsewhere"})
    again = Model(half.workspace, "half")
    assert again.tags == half.tags == {"stage": "live"}
    assert again.properties == half.properties == {"from": "here", "to": "there"}
    half.tags["not"] = "kept"
    assert half.tags == {"stage": "live"}


def test_update_replaces_what_is_given(half: Model) -> None:
    half.update(description="new", sample_input_dataset="in", resource_configuration=ResourceConfiguration(gpu=0))
    half.add_dataset_references([("training", "d-1")])
    half.update(tags={"only": "this"})
    again = Model(half.workspace, "half")
    assert again.tags == {"only": "this"}
    assert (again.description, again.sample_input_dataset_id) == ("new", "in")
    assert again.resource_configuration == ResourceConfiguration(gpu=0)
    assert again.datasets == {"training": ["d-1"]}
    assert again.serialize()["modifiedTime"] > again.serialize()["createdTime"]


def test_a_deleted_one_cannot_be_changed(half: Model) -> None:
    Model(half.workspace, "half").delete()
    with pytest.raises(ModelNotFoundException, match="half:1 was deleted meanwhile"):
        half.add_tags({"a": "b"})


def test_download_overwrites_only_if_that_is_wanted(half: Model) -> None:
    path = half.download("out")
    assert path == "out/model.txt"
    Path(path).write_text("mine")
    with pytest.raises(UserErrorException, match="already exists") as caught:
        half.download("out")
    assert "--overwrite" in caught.value.hint
    assert Path(path).read_text() == "mine"
    half.download("out", exist_ok=True)
    assert Path(path).read_text() == "0.5"


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("x" * 300, "File name too long"), ("model.txt", "Not a directory"), ("in-the-way", "Is a dir")],
)
def test_a_folder_that_cannot_be_written(half: Model, folder: str, reason: str) -> None:
    Path("in-the-way/model.txt").mkdir(parents=True)
    with pytest.raises(UserErrorException, match="half:1 cannot be downloaded") as caught:
        half.download(folder, exist_ok=True)
    assert reason in caught.value.reason
    assert folder in caught.value.where


def test_materialize_links(half: Model, tmp_path: Path) -> None:
    half.materialize(tmp_path / "azureml-models/half/1")
    half.materialize(tmp_path / "azureml-models/half/1")
    assert (tmp_path / "azureml-models/half/1/model.txt").stat().st_nlink == 2


def test_deserialize(half: Model) -> None:
    half.add_tags({"new": "tag"})
    assert Model.deserialize(half.workspace, half.serialize()).serialize() == half.serialize()


def test_get_model_path(half: Model) -> None:
    assert Model.get_model_path("model.txt") == "model.txt"
    for version in (1, 2, 10):
        half.materialize(Path(f"azureml-models/half/{version}"))
    assert Model.get_model_path("half") == "azureml-models/half/10/model.txt"
    assert Model.get_model_path("half", version=2) == "azureml-models/half/2/model.txt"
    with pytest.raises(WebserviceException, match="version 7 of model half"):
        Model.get_model_path("half", version=7)
    Path("azureml-models/half/10/more.txt").write_text("")
    with pytest.raises(WebserviceException) as caught:
        Model.get_model_path("half")
    assert caught.value.reason == "there are 2"
    with pytest.raises(ModelNotFoundException, match="Model not found in cache at azureml-models"):
        Model.get_model_path("unknown")
