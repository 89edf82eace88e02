"""For MkDocs: what only the tests of the documentation read in a code block's first line is left out of the pages."""

from __future__ import annotations

import re

_FOR_TESTS = re.compile(r"^(\s*```\w+.*?)(?: (?:exit|needs|skip)=\"[^\"]*\")+", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Drop `exit="…"`, `needs="…"` and `skip="…"`, which `tests/docs/test_examples.py` describes."""
    return _FOR_TESTS.sub(r"\1", markdown)
