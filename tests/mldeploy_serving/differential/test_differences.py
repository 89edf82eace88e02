"""Every difference is a row of docs/differences.md, and something would fail if it were none any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mldeploy_serving.differential.conftest import Difference, Group

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "differences.md"


@pytest.fixture(scope="module")
def section() -> list[str]:
    """The lines of the section about the scoring server."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition("\n## Scoring server\n")
    return rest.partition("\n## ")[0].splitlines()


def test_it_is_documented(section: list[str], difference: Difference) -> None:
    assert f"| {difference.here} | {difference.official} | {difference.why} |" in section


def test_it_would_be_missed(scripts: dict[str, Group], difference: Difference) -> None:
    if difference.held_by is not None:
        name, _, test = difference.held_by.partition("::")
        assert f"\ndef {test}(" in HERE.joinpath(name).read_text(encoding="utf-8")
    else:
        assert any(row.differs == difference.id for group in scripts.values() for row in group.rows)
