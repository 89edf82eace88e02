"""Tests of the echo service: what goes in comes out."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mldeploy.exceptions import WebserviceException

pytestmark = pytest.mark.mldeploy("inferenceconfig.json", deployment_config="deploymentconfig.json", name="echo")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"data": [1, 2.5, -3e-9]}, id="numbers"),
        pytest.param(["a", "", '"quoted"', "back\\slash", "two\nlines"], id="text"),
        pytest.param("naïve 文字 🙂", id="unicode"),
        pytest.param({"a": {"b": {"c": [[], {}, None, True, False]}}}, id="nested"),
        pytest.param(2**53 + 1, id="a whole number that no double holds"),
        pytest.param(None, id="null"),
        pytest.param([], id="nothing"),
    ],
)
def test_json_comes_back_as_it_was(mldeploy_service, value):
    assert mldeploy_service.run(json.dumps(value)) == {"echo": value}


def test_a_megabyte(mldeploy_service):
    value = {"data": list(range(150_000))}
    assert mldeploy_service.run(json.dumps(value)) == {"echo": value}


def test_many_at_once_get_their_own_answers(mldeploy_service):
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda number: mldeploy_service.run(json.dumps(number)), range(100)))
    assert answers == [{"echo": number} for number in range(100)]


@pytest.mark.parametrize("body", ["", "{", "{'single': 'quotes'}"])
def test_what_is_not_json_is_an_error(mldeploy_service, body):
    with pytest.raises(WebserviceException):
        mldeploy_service.run(body)
    assert mldeploy_service.run("1") == {"echo": 1}
