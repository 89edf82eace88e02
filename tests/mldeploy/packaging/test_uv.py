"""What uv is heard to say has no credentials in it."""

from __future__ import annotations

import pytest

from mldeploy.packaging.uv import UvFailure, run, scrub


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:pw@host/x?y", "at https://***@host/x?y"),
        ("at https://token@host/x", "at https://***@host/x"),
        ("at https://host/x@1.0", "at https://host/x@1.0"),
        ("mail me@host", "mail me@host"),
        ("tok3n-in-a-header", "***-in-a-header"),
    ],
)
def test_scrubbed(text: str, shown: str) -> None:
    environ = {"UV_INDEX_TEAM_PASSWORD": "tok3n", "HOME": "mail", "UV_PUBLISH_TOKEN": "x"}
    assert scrub(text, environ) == shown


def test_a_failure_has_uvs_words() -> None:
    with pytest.raises(UvFailure, match="unrecognized subcommand"):
        run("nonsense")


def test_what_is_not_done_in_time_is_a_failure() -> None:
    with pytest.raises(UvFailure, match="not done within"):
        run("python", "list", timeout=0.001)
