"""Computes for a second when it is told how: in `matrix` products, which let go of the interpreter, or in `python`."""

from __future__ import annotations

import time

import numpy as np

SECONDS = 1.0
MATRIX = np.full((1500, 1500), 0.5)


def init() -> None:
    """Nothing to load."""


def run(data: str) -> list[float]:
    """When it began and ended, by the clock that all processes of a machine share."""
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS:
        if data == "matrix":
            np.matmul(MATRIX, MATRIX)
        elif data == "python":
            sum(number * number for number in range(10_000))
        else:
            break
    return [begun, time.monotonic()]
