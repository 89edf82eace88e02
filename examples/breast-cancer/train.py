"""Trains a classifier on five measurements of scikit-learn's breast cancer data and writes it to outputs/model.pkl."""

from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

OUTPUTS = Path(__file__).parent / "outputs"
FEATURES = ["mean radius", "mean texture", "mean smoothness", "mean concavity", "mean symmetry"]


def main():
    data = load_breast_cancer(as_frame=True)
    diagnosis = data.target_names[data.target]
    train_rows, test_rows, train_y, test_y = train_test_split(
        data.data[FEATURES], diagnosis, test_size=0.25, random_state=0, stratify=diagnosis
    )
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_rows, train_y)
    print(f"accuracy on {len(test_rows)} rows that were held out: {model.score(test_rows, test_y):.3f}")
    OUTPUTS.mkdir(exist_ok=True)
    joblib.dump(model, OUTPUTS / "model.pkl")
    print("wrote outputs/model.pkl")


if __name__ == "__main__":
    main()
