"""Trains before the first test where nobody has trained yet."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    # a hook and not a fixture, because the checks that pytest collects from mldeploy.toml use no fixtures
    with FileLock(HERE / "outputs" / ".lock"):  # under pytest-xdist one worker trains and the others wait
        if not (HERE / "outputs/model.pkl").exists():
            subprocess.run([sys.executable, "train.py"], cwd=HERE, check=True)
