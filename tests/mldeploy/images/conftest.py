"""What tests that build images share: a label that tells theirs, and nothing left of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture
def label() -> str:
    """What tells this test's images and containers from all others."""
    return f"mldeploy-test-{uuid4().hex[:12]}"


@pytest.fixture
def nothing_left(client: DockerClient, label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the test's own, so that sweeping sees only its builds; what it made is removed."""
    from mldeploy.images.builds import building

    monkeypatch.setenv("MLDEPLOY_CACHE", str(tmp_path / "cache"))
    yield
    for image in client.images.list(filters={"label": f"test={label}"}):
        client.images.remove(image.id or "", force=True)
    building.sweep(client)
