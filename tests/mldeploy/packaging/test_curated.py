"""v1's curated names, each with packages that still install, each in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mldeploy.environment import Environment
from mldeploy.packaging.curated import curated, names
from mldeploy.packaging.environments import resolve


def test_the_names_of_v1_are_there() -> None:
    assert {
        "AzureML-Minimal",
        "AzureML-Tutorial",
        "AzureML-Scikit-learn-0.20.3",
        "AzureML-TensorFlow-2.0-CPU",
        "AzureML-PySpark-MmlSpark-0.15",
    } <= set(names())
    assert curated("AzureML-Nothing") is None


def test_the_minimal_one_is_the_serving_stack(wheels: Any, locks: Any) -> None:
    definition = curated("AzureML-Minimal")
    assert definition is not None
    resolved = resolve(Environment.from_definition(definition), locks)
    assert "inference-schema==1.0" in resolved.lock


@pytest.mark.parametrize("name", names())
def test_each_resolves_today(name: str, locks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path))  # a lock of another day would prove nothing
    definition = curated(name)
    assert definition is not None
    assert resolve(Environment.from_definition(definition), locks).lock.count("--hash=sha256:") > 3
