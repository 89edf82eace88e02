"""What the plugin costs a run that does not use it; `benchmarks/` has the time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("numpy", "docker", "locust", "sqlalchemy", "pydantic", "psutil", "requests", "yaml", "mldeploy.deployment")
PROGRAM = f"""
import sys
import pytest

class Last:
    def pytest_unconfigure(self):
        print("loaded:", [name for name in {HEAVY} if name in sys.modules])
        print("ours:", "pytest_mldeploy.plugin" in sys.modules)

sys.exit(pytest.main(["-p", "no:hypothesispytest", "-p", "no:syrupy", *sys.argv[1:]], plugins=[Last()]))
"""


def test_nothing_heavy_is_imported_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_x(tmp_path): pass")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    for options in (["--collect-only"], [], ["--fixtures"]):
        command = [sys.executable, "-c", PROGRAM, *options]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "loaded: []" in run.stdout
        assert "ours: True" in run.stdout
