"""Diagnoses tumours from five measurements; the schema of its input and output is declared by samples."""

import os

import joblib
import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

# made-up values: samples are published in swagger.json
SAMPLE_INPUT = pd.DataFrame(
    [
        {
            "mean radius": 14.1,
            "mean texture": 19.3,
            "mean smoothness": 0.096,
            "mean concavity": 0.089,
            "mean symmetry": 0.18,
        }
    ]
)
SAMPLE_OUTPUT = [{"diagnosis": "benign", "probability": 0.9}]


def init():
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.pkl"))


@input_schema("data", PandasParameterType(SAMPLE_INPUT))
@output_schema(StandardPythonParameterType(SAMPLE_OUTPUT))
def run(data):
    # by name: the schema accepts the columns in any order
    probabilities = model.predict_proba(data[model.feature_names_in_])
    return [{"diagnosis": str(model.classes_[row.argmax()]), "probability": float(row.max())} for row in probabilities]
