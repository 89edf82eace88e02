"""Tests of the diabetes service: it answers what the model answers, and refuses what it cannot score."""

import json
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from mldeploy.exceptions import WebserviceException

HERE = Path(__file__).parent

pytestmark = pytest.mark.mldeploy(
    "inferenceconfig.json",
    models={"diabetes": "outputs/model.pkl"},
    deployment_config="deploymentconfig.json",
    name="diabetes",
)


@pytest.fixture(scope="module")
def rows():
    return load_diabetes().data


@pytest.fixture(scope="module")
def model():
    return joblib.load(HERE / "outputs" / "model.pkl")


def score(service, rows):
    return service.run(json.dumps({"data": rows.tolist()}))


def test_a_known_row(mldeploy_service, model, rows):
    assert score(mldeploy_service, rows[:1]) == pytest.approx(model.predict(rows[:1]))


def test_all_rows_at_once_in_their_order(mldeploy_service, model, rows):
    assert score(mldeploy_service, rows) == pytest.approx(model.predict(rows))


def test_rows_do_not_influence_each_other(mldeploy_service, rows):
    one_by_one = [score(mldeploy_service, rows[index : index + 1])[0] for index in range(5)]
    assert score(mldeploy_service, rows[:5]) == pytest.approx(one_by_one)


def test_the_same_row_gives_the_same_answer(mldeploy_service, rows):
    assert score(mldeploy_service, rows[:1]) == score(mldeploy_service, rows[:1])


def test_it_predicts_rows_that_were_held_out(mldeploy_service):
    rows, progression = load_diabetes(return_X_y=True)
    _, held_out, _, expected = train_test_split(rows, progression, test_size=0.2, random_state=0)
    assert r2_score(expected, score(mldeploy_service, held_out)) > 0.3


def test_a_higher_body_mass_index_means_a_higher_progression(mldeploy_service, rows):
    heavier = rows[:20].copy()
    heavier[:, 2] += 0.05
    pairs = zip(score(mldeploy_service, rows[:20]), score(mldeploy_service, heavier), strict=True)
    assert all(low < high for low, high in pairs)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("not JSON", id="not JSON"),
        pytest.param(json.dumps({"rows": [[0.0] * 10]}), id="no data"),
        pytest.param(json.dumps({"data": [[0.0] * 9]}), id="a column too few"),
        pytest.param(json.dumps({"data": [[0.0] * 11]}), id="a column too many"),
        pytest.param(json.dumps({"data": [["high"] * 10]}), id="words"),
        pytest.param(json.dumps({"data": [[None] * 10]}), id="missing values"),
        pytest.param(json.dumps({"data": []}), id="no rows"),
    ],
)
def test_what_it_cannot_score_is_an_error(mldeploy_service, model, rows, body):
    with pytest.raises(WebserviceException):
        mldeploy_service.run(body)
    assert score(mldeploy_service, rows[:1]) == pytest.approx(model.predict(rows[:1]))
