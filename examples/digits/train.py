"""Trains a classifier on scikit-learn's digits and writes it to outputs/digits.onnx.

A logistic regression is one matrix product and a softmax, so its ONNX graph is built by hand here; the service
needs onnxruntime and no scikit-learn.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

OUTPUTS = Path(__file__).parent / "outputs"
LARGEST = 16  # a pixel is 0 to 16


def main():
    pixels, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(pixels / LARGEST, digits, test_size=0.25, random_state=0)
    model = LogisticRegression(max_iter=1000).fit(train_x, train_y)
    print(f"accuracy on {len(test_x)} images that were held out: {model.score(test_x, test_y):.3f}")
    OUTPUTS.mkdir(exist_ok=True)
    onnx.save(to_onnx(model), OUTPUTS / "digits.onnx")
    print("wrote outputs/digits.onnx")


def to_onnx(model):
    """softmax(pixels @ weights + bias) for pixels of 0 to 16, any number of images at once."""
    weights = (model.coef_.T / LARGEST).astype(np.float32)
    bias = model.intercept_.astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["pixels", "weights", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "digits",
        inputs=[helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["images", 64])],
        outputs=[helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["images", 10])],
        initializer=[numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    # an opset and a file version that every onnxruntime of the last years reads
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(exported)
    return exported


if __name__ == "__main__":
    main()
