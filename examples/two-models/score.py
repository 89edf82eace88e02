"""Asks two registered models about the same rows: an expected and a high number for each of `{"data": [row, ...]}`."""

import json
import os

import joblib
import numpy as np
from azureml.core.model import Model


def load(name):
    # the path of a model that was registered as a file is that file
    path = Model.get_model_path(name)
    print(f"{name}: {os.path.basename(path)}")
    return joblib.load(path)


def init():
    global expected_model, high_model
    expected_model = load("diabetes-expected")
    high_model = load("diabetes-high")


def run(raw_data):
    rows = np.array(json.loads(raw_data)["data"], dtype=float)
    pairs = zip(expected_model.predict(rows), high_model.predict(rows), strict=True)
    return [{"expected": float(expected), "high": float(high)} for expected, high in pairs]
