"""What entry scripts import, without the packages that it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldeploy_serving.entry.model_path import Model, ModelNotFoundException, WebserviceException

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve

# the packages under test are in the tests' environment; a service's own has neither
WITHOUT_OURS = """
import sys
from pathlib import Path
import werkzeug.wrappers
sys.path[:] = [each for each in sys.path if not (Path(each) / "mldeploy").is_dir()]
for name in [name for name in sys.modules if name.partition(".")[0] == "mldeploy"]:
    del sys.modules[name]
"""
NAMES = """
from {core}.model import Model
from {core} import Model as also
from {errors} import ModelNotFoundException, WebserviceException
from {services}.aml_request import AMLRequest, rawhttp
from {services}.aml_response import AMLResponse
def init():
    global path
    path = Model.get_model_path("m")
    try:
        also.get_model_path("n")
    except ModelNotFoundException as error:
        assert "Model n is not in this service" in error.message
@rawhttp
def run(request):
    assert isinstance(request, AMLRequest)
    return AMLResponse(path, 200)
"""


@pytest.mark.holds("imports.v1", "paths.model-path", "rawhttp.isinstance")
@pytest.mark.parametrize(
    ("core", "errors", "services"),
    [
        ("azureml.core", "azureml.exceptions", "azureml.contrib.services"),
        ("azureml.core", "azureml.exceptions", "azureml_inference_server_http.api"),
        ("mldeploy", "mldeploy.exceptions", "mldeploy.contrib.services"),
    ],
)
def test_scripts_run_unchanged(serve: Serve, tmp_path: Path, core: str, errors: str, services: str) -> None:
    (tmp_path / "app" / "azureml-models" / "m" / "2").mkdir(parents=True)
    (tmp_path / "app" / "azureml-models" / "m" / "2" / "m.pkl").touch()
    script = WITHOUT_OURS + NAMES.format(core=core, errors=errors, services=services)
    assert serve(script).post("").text == "azureml-models/m/2/m.pkl"


@pytest.mark.holds("imports.missing")
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from azureml.core import Workspace", "azureml.core.Workspace"),
        ("from azureml.core.model import InferenceConfig", "azureml.core.model.InferenceConfig"),
        ("import azureml.core.webservice", "azureml.core.webservice"),
        ("from azureml.monitoring import ModelDataCollector", "azureml.monitoring"),
    ],
)
def test_a_name_that_is_not_there_says_so(serve: Serve, line: str, name: str) -> None:
    ended = serve(line, wait=False).wait()
    assert f"ModuleNotFoundError: {name} is not part of the scoring server" in ended["reason"]


def test_names_that_are_not_there_may_be_looked_for(serve: Serve) -> None:
    """Pickle looks for what it pickles on every module that is imported."""
    service = serve(
        """
        import pickle
        import azureml.core.model
        class Singleton:
            def __reduce__(self): return "only"
        only = Singleton()
        only.__module__ = None
        def init(): pass
        def run(data):
            return [hasattr(azureml.core, "Workspace"), pickle.loads(pickle.dumps(only)) is only]
        """
    )
    assert service.post("").json() == [False, True]


@pytest.mark.holds("imports.installed")
def test_an_installed_package_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app" / "azureml" / "core").mkdir(parents=True)
    (tmp_path / "app" / "azureml" / "core" / "__init__.py").write_text("Model = 'the real one'")
    service = serve(
        """
        from azureml.core import Model
        from azureml.contrib.services.aml_request import AMLRequest
        def init(): pass
        def run(data): return [Model, AMLRequest.__module__]
        """
    )
    assert service.post("").json() == ["the real one", "mldeploy_serving.entry.aml_request"]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "azureml-models"
    for path in ("a/9/x.pkl", "a/10/x.pkl", "b/1/folder/deep", "two/1/x", "two/1/y"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    (tmp_path / "local.pkl").touch()
    return folder


@pytest.mark.holds("paths.model-path")
@pytest.mark.parametrize(
    ("name", "version", "path"),
    [
        ("a", None, "azureml-models/a/10/x.pkl"),
        ("a", 9, "azureml-models/a/9/x.pkl"),
        ("b", None, "azureml-models/b/1/folder"),
        ("local.pkl", None, "local.pkl"),
    ],
)
def test_model_paths(models: Path, name: str, version: int | None, path: str) -> None:
    assert Model.get_model_path(name, version) == path


def test_model_paths_are_found_after_the_script_has_left_the_app_root(
    models: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AML_APP_ROOT", str(models.parent))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert Model.get_model_path("a") == str(models / "a" / "10" / "x.pkl")


@pytest.mark.holds("paths.model-missing")
@pytest.mark.parametrize(
    ("name", "version", "error", "words"),
    [
        ("c", None, ModelNotFoundException, "Model c is not in this service"),
        ("c", 1, WebserviceException, "Model c with version 1 is not in this service"),
        ("a", 3, WebserviceException, "has no version 3 in this service; there are: 10, 9"),
        ("two", None, WebserviceException, "holds 2 files and folders; exactly one is expected"),
    ],
)
def test_models_that_are_not_there(
    models: Path, name: str, version: int | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Model.get_model_path(name, version)
