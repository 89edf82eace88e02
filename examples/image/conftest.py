"""Trains before the first test where nobody has trained yet."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def trained():
    with FileLock(HERE / "outputs" / ".lock"):  # under pytest-xdist one worker trains and the others wait
        if not (HERE / "outputs/shapes.npz").exists():
            subprocess.run([sys.executable, "train.py"], cwd=HERE, check=True)
