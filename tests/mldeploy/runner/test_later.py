"""Words that are to come exist as an answer, and only as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mldeploy.runner.later import WORDS

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project


@pytest.mark.parametrize("path", WORDS, ids=" ".join)
def test_a_word_that_is_to_come_says_so_in_one_line(project: Project, path: tuple[str, ...]) -> None:
    for rest in ((), ("create", "--name", "x", "-k", "Primary"), ("--help",)):
        outcome = project.run(*path, *rest)
        assert (outcome.code, outcome.out) == (7, "")
        assert outcome.err == f"Error: `mldeploy {' '.join(path)}` is not there yet: {WORDS[path]}\n"


def test_they_are_not_in_the_help(project: Project) -> None:
    for group in ((), ("model",), ("service",)):
        listed = {line.split()[0] for line in project.run(*group, "--help").out.splitlines() if line.startswith("  ")}
        assert not {path[-1] for path in WORDS if path[:-1] == group} & listed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("modle", "list"), "Did you mean 'model'?"),
        (("model", "lst"), "Did you mean 'list'?"),
        (("xyz",), "There is model"),
    ],
)
def test_a_word_that_is_unknown(project: Project, words: tuple[str, ...], said: str) -> None:
    outcome = project.run(*words)
    assert outcome.code == 2
    assert said in outcome.err
