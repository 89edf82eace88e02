"""The registry and its services beside plain dicts: whatever is done in whatever order, both say the same."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from mldeploy.errors import ModelNotFoundException, UserErrorException, WebserviceException
from mldeploy.inference_config import InferenceConfig
from mldeploy.model import Model
from mldeploy.webservice import Webservice
from mldeploy.workspace import Workspace

names = st.sampled_from(["a", "b-1", "C.c"])
service_names = st.sampled_from(["one", "two"])
keys = st.sampled_from(["stage", "owner", "ü"])
values = st.sampled_from(["", "x", "long " * 20])
pairs = st.dictionaries(keys, values, max_size=3)
contents = st.dictionaries(st.sampled_from(["f", "sub/g", "sub/h"]), st.sampled_from([b"1", b"22", b""]), min_size=1)


@dataclass
class Expected:
    """A model as a plain value."""

    name: str
    version: int
    files: dict[str, bytes]
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.name}:{self.version}"


class Registry(RuleBasedStateMachine):
    """Models of one workspace."""

    ids: Bundle[str] = Bundle("ids")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mldeploy-machine-"))
        self.ws = Workspace.create("machine", store=str(self.folder / "store"))
        (self.folder / "score.py").write_text("def init():\n    pass\n\ndef run(data):\n    return data\n")
        self.services: dict[str, list[str]] = {}
        self.expected: dict[str, Expected] = {}
        self.last: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for name in self.services:
                Webservice(self.ws, name).delete()
            assert not any(self.folder.glob("store/services/*/*"))
            shutil.rmtree(self.folder)

    def model(self, model_id: str) -> Model:
        return Model(self.ws, id=model_id)

    @rule(target=ids, name=names, files=contents, tags=pairs, properties=pairs)
    def register(
        self, name: str, files: dict[str, bytes], tags: dict[str, str], properties: dict[str, str]
    ) -> str | MultipleResults[str]:
        source = self.folder / "model"
        shutil.rmtree(source, ignore_errors=True)
        for path, content in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(content)
        if not any(files.values()):
            with pytest.raises(UserErrorException, match="0 bytes"):
                Model.register(self.ws, source, name)
            return multiple()
        model = Model.register(self.ws, source, name, tags=tags, properties=properties)
        self.last[name] = self.last.get(name, 0) + 1
        expected = Expected(name, self.last[name], dict(files), dict(tags), dict(properties))
        self.expected[expected.id] = expected
        assert model.id == expected.id
        return model.id

    @rule(model_id=ids, tags=pairs)
    def tag(self, model_id: str, tags: dict[str, str]) -> None:
        self.model(model_id).add_tags(tags)
        self.expected[model_id].tags |= tags

    @rule(model_id=ids, removed=st.lists(keys))
    def untag(self, model_id: str, removed: list[str]) -> None:
        self.model(model_id).remove_tags(removed)
        for key in removed:
            self.expected[model_id].tags.pop(key, None)

    @rule(model_id=ids, properties=pairs)
    def add_properties(self, model_id: str, properties: dict[str, str]) -> None:
        expected = self.expected[model_id].properties
        if all(expected.get(key, value) == value for key, value in properties.items()):
            self.model(model_id).add_properties(properties)
            expected |= properties
        else:
            with pytest.raises(UserErrorException, match="only added to"):
                self.model(model_id).add_properties(properties)

    @rule(target=ids, model_id=consumes(ids))
    def delete(self, model_id: str) -> str | MultipleResults[str]:
        model = self.model(model_id)
        if users := sorted(name for name, used in self.services.items() if model_id in used):
            with pytest.raises(UserErrorException, match=f"used by service {', '.join(users)}"):
                model.delete()
            return model_id
        model.delete()
        del self.expected[model_id]
        with pytest.raises(ModelNotFoundException):
            self.model(model_id)
        with pytest.raises(ModelNotFoundException, match="deleted meanwhile"):
            model.add_tags({"a": "b"})
        return multiple()

    @precondition(lambda self: bool(self.expected))
    @rule(name=service_names, overwrite=st.booleans(), data=st.data())
    def deploy(self, name: str, overwrite: bool, data: st.DataObject) -> None:
        used = data.draw(st.lists(st.sampled_from(sorted(self.expected)), max_size=2, unique=True))
        config = InferenceConfig(str(self.folder / "score.py"))
        if name in self.services and not overwrite:
            with pytest.raises(WebserviceException, match=f"already a service with name {name}"):
                Model.deploy(self.ws, name, used, config)
            return
        Model.deploy(self.ws, name, used, config, overwrite=overwrite)
        self.services[name] = used

    @precondition(lambda self: bool(self.services))
    @rule(data=st.data())
    def score(self, data: st.DataObject) -> None:
        service = Webservice(self.ws, data.draw(st.sampled_from(sorted(self.services))))
        service.wait_for_deployment()
        assert service.run("text") == "text"

    @rule(name=service_names)
    def undeploy(self, name: str) -> None:
        if name in self.services:
            Webservice(self.ws, name).delete()
            del self.services[name]
        with pytest.raises(WebserviceException, match="WebserviceNotFound"):
            Webservice(self.ws, name)

    @rule(model_id=ids)
    def download(self, model_id: str) -> None:
        target = self.folder / "out"
        shutil.rmtree(target, ignore_errors=True)
        path = Path(self.model(model_id).download(target))
        found = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        assert found == self.expected[model_id].files

    @rule()
    def collect(self) -> None:
        self.ws.store.models.gc()
        kept = sum(path.stat().st_size for path in self.folder.glob("store/workspaces/*/files/??/*"))
        assert kept == sum(map(len, {c for model in self.expected.values() for c in model.files.values()}))

    @rule(key=keys, value=values)
    def list_tagged(self, key: str, value: str) -> None:
        everything = list(self.expected.values())
        assert self.listed(tags=[key]) == {one.id for one in everything if key in one.tags}
        assert self.listed(tags=[[key, value]]) == {one.id for one in everything if one.tags.get(key) == value}
        assert self.listed(properties=[key]) == {one.id for one in everything if key in one.properties}

    def listed(self, **filters: list[str] | list[list[str]]) -> set[str]:
        return {model.id for model in Model.list(self.ws, **filters)}  # type: ignore[arg-type]

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "ws"):
            return
        found = {model.id: (model.tags, model.properties) for model in Model.list(self.ws)}
        assert found == {one.id: (one.tags, one.properties) for one in self.expected.values()}
        latest: dict[str, int] = {}
        for one in self.expected.values():
            latest[one.name] = max(one.version, latest.get(one.name, 0))
        assert {name: model.version for name, model in self.ws.models.items()} == latest
        services = {record.name: list(record.model_ids) for record in self.ws.store.services.list()}
        assert services == self.services


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
