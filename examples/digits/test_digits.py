"""Tests of an ONNX service: it reads digits as the model file does, and only images that are images."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from mldeploy.exceptions import WebserviceException

HERE = Path(__file__).parent

pytestmark = pytest.mark.mldeploy(
    "inferenceconfig.json",
    models={"digits": "outputs/digits.onnx"},
    deployment_config="deploymentconfig.json",
    name="digits",
)


@pytest.fixture(scope="module")
def images():
    return load_digits().images


def read(service, images):
    return service.run(json.dumps({"data": images.tolist()}))


def test_known_images(mldeploy_service, images):
    assert read(mldeploy_service, images[:5])["digits"] == [0, 1, 2, 3, 4]


def test_probabilities_are_the_model_files(mldeploy_service, images):
    session = onnxruntime.InferenceSession(HERE / "outputs" / "digits.onnx", providers=["CPUExecutionProvider"])
    [expected] = session.run(["probabilities"], {"pixels": images.reshape(-1, 64).astype(np.float32)})
    answer = read(mldeploy_service, images)
    assert np.array(answer["probabilities"]) == pytest.approx(expected, abs=1e-5)
    assert answer["digits"] == expected.argmax(axis=1).tolist()


def test_probabilities_add_up_to_one(mldeploy_service, images):
    probabilities = np.array(read(mldeploy_service, images[:100])["probabilities"])
    assert probabilities.shape == (100, 10)
    assert probabilities.min() >= 0
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_it_reads_images_that_were_held_out(mldeploy_service):
    data = load_digits()
    _, held_out, _, expected = train_test_split(data.images, data.target, test_size=0.25, random_state=0)
    assert np.mean(read(mldeploy_service, held_out)["digits"] == expected) > 0.95


def test_a_little_noise_changes_little(mldeploy_service, images):
    noise = np.random.default_rng(0).normal(0, 0.5, images[:200].shape)
    noisy = (images[:200] + noise).clip(0, 16)
    before, after = (np.array(read(mldeploy_service, batch)["digits"]) for batch in (images[:200], noisy))
    assert np.mean(before == after) > 0.98


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([[0] * 64], id="flat"),
        pytest.param([[[0] * 7] * 8], id="seven columns"),
        pytest.param([[0] * 8] * 8, id="an image without a list around"),
        pytest.param([[[17] * 8] * 8], id="too dark"),
        pytest.param([[[-1] * 8] * 8], id="too light"),
        pytest.param([[[None] * 8] * 8], id="missing pixels"),
        pytest.param([], id="no images"),
    ],
)
def test_what_is_no_image_is_an_error(mldeploy_service, data):
    with pytest.raises(WebserviceException):
        mldeploy_service.run(json.dumps({"data": data}))
