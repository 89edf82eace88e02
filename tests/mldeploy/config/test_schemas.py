from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mldeploy.config import json_schema
from mldeploy.config.schemas import KINDS
from mldeploy.errors import ConfigException

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"

VALID: list[tuple[str, Any]] = [
    ("inference", {"entryScript": "score.py", "sourceDirectory": "./working_dir"}),
    ("inference", {"entryScript": "score.py", "environment": {"docker": {"baseImage": None}}, "enableGpu": False}),
    ("deployment", {"computeType": "local", "port": 8890}),
    ("deployment", {"computeType": "LoCaL", "port": None}),
    ("deployment", {"computeType": "ACI", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 0.5}}),
    ("deployment", {"computeType": "aks", "autoScaler": {"autoscaleEnabled": True}, "keys": {"primaryKey": "x"}}),
    ("deployment", {"computeType": "aksendpoint", "trafficPercentile": 20, "type": "Control"}),
    ("environment", {"name": "x", "python": {"condaDependencies": {"dependencies": ["a", {"pip": ["b"]}]}}}),
    ("mldeploy", {"serving": {"contract": "v1"}, "service": [{"name": "a", "inference_config": "ic.json"}]}),
]
INVALID: list[tuple[str, Any]] = [
    ("inference", {"sourceDirectory": "x"}),
    ("inference", {"entryScript": "score.py", "entryscript": "x"}),
    ("deployment", {"port": 8890}),
    ("deployment", {"computeType": "local", "autoScaler": {}}),
    ("deployment", {"computeType": "local", "port": "8890"}),
    ("deployment", {"computeType": "iot"}),
    ("environment", {"version": 1}),
    ("mldeploy", {"service": [{"name": "a"}]}),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_current(kind: str) -> None:
    """To publish: `mldeploy config schema KIND > docs/schemas/KIND.schema.json`."""
    assert json.loads((PUBLISHED / f"{kind}.schema.json").read_text("utf-8")) == json_schema(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_schema(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))


@pytest.mark.parametrize(("kind", "data"), VALID)
def test_an_editor_takes_what_we_take(kind: str, data: Any) -> None:
    jsonschema.Draft202012Validator(json_schema(kind)).validate(data)


@pytest.mark.parametrize(("kind", "data"), INVALID)
def test_an_editor_refuses_what_we_refuse(kind: str, data: Any) -> None:
    assert not jsonschema.Draft202012Validator(json_schema(kind)).is_valid(data)


def test_an_unknown_kind() -> None:
    with pytest.raises(ConfigException, match="not a kind of config file"):
        json_schema("deploymnt")
