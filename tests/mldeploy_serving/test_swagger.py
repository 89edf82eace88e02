"""`/swagger.json` in its versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service


def fetch(service: Service, version: str | None = None) -> Any:
    answer = service.ask("GET", "/swagger.json" + (f"?version={version}" if version is not None else ""))
    return answer.status_code, answer.json()


@pytest.mark.holds("swagger.versions", "swagger.declared", "swagger.service", "variables.quoted-name")
@pytest.mark.parametrize(
    ("asked", "key", "value"),
    [
        (None, "swagger", "2.0"),
        ("2", "swagger", "2.0"),
        ("2.0", "swagger", "2.0"),
        ("3", "openapi", "3.0.3"),
        ("3.0", "openapi", "3.0.3"),
        ("3.1", "openapi", "3.1.0"),
    ],
)
def test_versions(decorated: Service, asked: str | None, key: str, value: str) -> None:
    status, document = fetch(decorated, asked)
    assert (status, document[key]) == (200, value)
    assert document["info"] == {
        "title": 'say "hi"',
        "description": 'API specification for the Azure Machine Learning service say "hi"',
        "version": "7",
    }
    schemas = document["definitions"] if key == "swagger" else document["components"]["schemas"]
    assert schemas["ServiceInput"]["example"]["data"] == [[1.0, 2.0]]
    assert schemas["ServiceInput"]["properties"]["data"]["format"] == "numpy.ndarray"
    assert schemas["ServiceOutput"]["example"] == [3.0]
    assert list(document["paths"]) == ["/", "/score", "/swagger.json"]


@pytest.mark.holds("swagger.other-version")
@pytest.mark.parametrize("asked", ["1", "", "v2"])
def test_other_versions(plain: Service, asked: str) -> None:
    message = f"Swagger version [{asked}] is not valid. Supported versions: [2, 3, 3.1]."
    assert fetch(plain, asked) == (404, {"message": message})


@pytest.mark.holds("swagger.undecorated")
def test_an_undecorated_run_has_an_empty_schema(plain: Service) -> None:
    _, document = fetch(plain)
    assert document["definitions"]["ServiceInput"] == {"type": "object", "example": {}}
    assert document["definitions"]["ServiceOutput"] == {"type": "object", "example": {}}


@pytest.mark.holds("swagger.mixed-types", "swagger.service")
def test_mixed_types_cannot_be_told_in_version_2(serve: Serve) -> None:
    service = serve(
        """
        from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
        from inference_schema.schema_decorators import input_schema
        def init(): pass
        @input_schema("data", StandardPythonParameterType([1, "a"]))
        def run(data): pass
        """,
        SERVICE_PATH_PREFIX="/v1/",
    )
    message = "Swagger version [2] is not supported for the scoring script. Supported swagger versions: [3, 3.1]."
    assert fetch(service) == (404, {"message": message})
    status, document = fetch(service, "3")
    assert status == 200
    assert list(document["paths"]) == ["/v1/", "/v1/score", "/v1/swagger.json"]


@pytest.mark.holds("swagger.own")
def test_the_users_own_documents_win(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "swagger.json").write_text(json.dumps({"mine": 2}))
    (tmp_path / "app" / "swagger3.json").write_text(json.dumps({"mine": 3}))
    service = serve("def init(): pass\ndef run(data): pass")
    assert fetch(service) == (200, {"mine": 2})
    assert fetch(service, "3.0") == (200, {"mine": 3})
    assert fetch(service, "3.1")[1]["openapi"] == "3.1.0"


@pytest.mark.holds("swagger.broken")
def test_a_broken_document_stops_the_start(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "swagger.json").write_text("{")
    ended = serve("def init(): pass\ndef run(data): pass", wait=False).wait()
    assert ended["exit_code"] == 3
    assert "swagger.json is not JSON" in ended["reason"]
