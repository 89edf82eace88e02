"""The pages that are made from the table and the tests are up to date, and every rule has a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_pages_are_up_to_date_and_every_rule_has_a_test() -> None:
    command = [sys.executable, "scripts/contract_docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
