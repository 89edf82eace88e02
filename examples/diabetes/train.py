"""Trains a ridge regression on scikit-learn's diabetes data and writes it to outputs/model.pkl."""

from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

OUTPUTS = Path(__file__).parent / "outputs"


def main():
    rows, progression = load_diabetes(return_X_y=True)
    train_rows, test_rows, train_y, test_y = train_test_split(rows, progression, test_size=0.2, random_state=0)
    model = Ridge(alpha=0.03).fit(train_rows, train_y)
    print(f"R² on {len(test_rows)} rows that were held out: {model.score(test_rows, test_y):.3f}")
    OUTPUTS.mkdir(exist_ok=True)
    joblib.dump(model, OUTPUTS / "model.pkl")
    print("wrote outputs/model.pkl")


if __name__ == "__main__":
    main()
