"""An undecorated script: `json.loads` and a dot product."""

from __future__ import annotations

import json

import numpy as np

WEIGHTS = np.full(3 * 224 * 224, 0.5)


def init() -> None:
    """Nothing to load."""


def run(data: str) -> list[float]:
    rows = np.asarray(json.loads(data)["data"])
    rows = rows.reshape(len(rows), -1)
    return np.dot(rows, WEIGHTS[: rows.shape[1]]).tolist()  # type: ignore[no-any-return]
