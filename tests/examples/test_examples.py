"""Each example's own tests pass in a copy of its folder, where nothing was trained yet."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()))
def test_an_example_is_whole_by_itself(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("outputs", "__pycache__", ".pytest_cache"))
    command = ["pytest", "-W", "error", "--strict-markers", "--mldeploy-target=local"]
    ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 deployed, none left" in ran.stdout
