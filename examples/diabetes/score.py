"""Scores rows of ten numbers: `{"data": [[0.038, 0.05, ...], ...]}` gives one number per row."""

import json
import os

import joblib
import numpy as np


def init():
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.pkl"))


def run(raw_data):
    rows = np.array(json.loads(raw_data)["data"], dtype=float)
    return model.predict(rows).tolist()
