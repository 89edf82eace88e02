"""Tests of a service that takes a pandas frame: the same diagnoses as the model, whatever the columns' order."""

import json
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from mldeploy.exceptions import WebserviceException

HERE = Path(__file__).parent

pytestmark = pytest.mark.mldeploy(
    "inferenceconfig.json",
    models={"breast-cancer": "outputs/model.pkl"},
    deployment_config="deploymentconfig.json",
    name="breast-cancer",
)


@pytest.fixture(scope="module")
def model():
    return joblib.load(HERE / "outputs" / "model.pkl")


@pytest.fixture(scope="module")
def rows(model):
    return load_breast_cancer(as_frame=True).data[model.feature_names_in_]


def score(service, rows):
    """A frame of measurements in, a frame of diagnoses out."""
    return pd.DataFrame(service.run(json.dumps({"data": rows.to_dict("records")})))


def test_a_known_row(mldeploy_service, model, rows):
    [answer] = mldeploy_service.run(json.dumps({"data": rows[:1].to_dict("records")}))
    assert answer["diagnosis"] == model.predict(rows[:1])[0] == "malignant"
    assert answer["probability"] == pytest.approx(model.predict_proba(rows[:1]).max())


def test_all_rows_at_once_in_their_order(mldeploy_service, model, rows):
    answers = score(mldeploy_service, rows)
    assert answers["diagnosis"].tolist() == model.predict(rows).tolist()
    assert answers["probability"].tolist() == pytest.approx(model.predict_proba(rows).max(axis=1))


def test_columns_in_another_order(mldeploy_service, rows):
    turned = rows[rows.columns[::-1]]
    assert score(mldeploy_service, turned[:50]).equals(score(mldeploy_service, rows[:50]))


def test_it_is_right_most_of_the_time(mldeploy_service, rows):
    data = load_breast_cancer()
    actual = data.target_names[data.target]
    assert (score(mldeploy_service, rows)["diagnosis"] == actual).mean() > 0.9


def test_whole_numbers_are_measurements_too(mldeploy_service, rows):
    whole = rows[:3].round()
    integers = whole.astype(int)
    assert score(mldeploy_service, integers).equals(score(mldeploy_service, whole))


def without(column, rows):
    return {"data": rows.drop(columns=column).to_dict("records")}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda rows: without("mean radius", rows), id="a column too few"),
        pytest.param(lambda rows: {"data": rows.assign(age=50).to_dict("records")}, id="a column too many"),
        pytest.param(
            lambda rows: {"data": rows.rename(columns={"mean radius": "radius"}).to_dict("records")}, id="another name"
        ),
        pytest.param(lambda rows: {"data": rows.assign(**{"mean radius": "big"}).to_dict("records")}, id="a word"),
        pytest.param(lambda rows: {"rows": rows.to_dict("records")}, id="no data"),
        pytest.param(lambda rows: rows.to_dict("records"), id="rows without an object around"),
    ],
)
def test_what_does_not_fit_the_schema_is_an_error(mldeploy_service, rows, spoil):
    with pytest.raises(WebserviceException):
        mldeploy_service.run(json.dumps(spoil(rows[:2])))


def test_text_that_is_not_json_is_an_error(mldeploy_service):
    with pytest.raises(WebserviceException):
        mldeploy_service.run("mean radius=14.1")
