"""Reads handwritten digits: `{"data": [image, ...]}`, an image being 8 rows of 8 pixels, each 0 (white) to 16."""

import json
import os

import numpy as np
import onnxruntime


def init():
    global session
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "digits.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(raw_data):
    images = np.array(json.loads(raw_data)["data"], dtype=np.float32)
    if images.shape[1:] != (8, 8):
        raise ValueError(f"an image is 8 rows of 8 pixels; got an array of shape {images.shape}")
    if not ((images >= 0) & (images <= 16)).all():  # also false for a NaN
        raise ValueError("a pixel is a number from 0 to 16")
    [probabilities] = session.run(["probabilities"], {"pixels": images.reshape(-1, 64)})
    return {"digits": probabilities.argmax(axis=1).tolist(), "probabilities": probabilities.tolist()}
