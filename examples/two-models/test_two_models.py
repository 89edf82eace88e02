"""Tests of a service with two models: each number comes from the model that it should come from."""

import json
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_diabetes

from mldeploy.exceptions import WebserviceException

HERE = Path(__file__).parent

pytestmark = pytest.mark.mldeploy(
    "inferenceconfig.json",
    models={"diabetes-expected": "outputs/expected.pkl", "diabetes-high": "outputs/high.pkl"},
    deployment_config="deploymentconfig.json",
    name="two-models",
)


@pytest.fixture(scope="module")
def rows():
    return load_diabetes().data


def score(service, rows):
    return service.run(json.dumps({"data": rows.tolist()}))


@pytest.mark.parametrize("name", ["expected", "high"])
def test_each_number_is_its_own_models(mldeploy_service, rows, name):
    model = joblib.load(HERE / "outputs" / f"{name}.pkl")
    answers = [answer[name] for answer in score(mldeploy_service, rows)]
    assert answers == pytest.approx(model.predict(rows))


@pytest.mark.parametrize(
    ("name", "share"), [pytest.param("expected", 0.5, id="half"), pytest.param("high", 0.9, id="nine of ten")]
)
def test_as_many_patients_as_should_be_are_below(mldeploy_service, name, share):
    rows, progression = load_diabetes(return_X_y=True)
    answers = score(mldeploy_service, rows)
    below = [actual <= answer[name] for actual, answer in zip(progression, answers, strict=True)]
    assert sum(below) / len(below) == pytest.approx(share, abs=0.05)


def test_high_is_above_expected(mldeploy_service, rows):
    assert all(answer["expected"] < answer["high"] for answer in score(mldeploy_service, rows))


def test_rows_of_the_wrong_width_are_an_error(mldeploy_service):
    with pytest.raises(WebserviceException):
        mldeploy_service.run(json.dumps({"data": [[0.0, 1.0]]}))
