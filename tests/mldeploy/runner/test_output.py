"""Formats and queries."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.runner._output import render

if TYPE_CHECKING:
    from tests.mldeploy.runner.conftest import Project

RECORDS = [
    {"name": "a", "version": 1, "tags": {"k": "v"}, "ready": True, "error": None},
    {"name": "ü\tx", "version": 22, "tags": {}, "ready": False, "error": None},
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["C", "Z"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), inner)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_json_and_yaml_give_the_value_back(value: Any) -> None:
    assert json.loads(render(value, "json")) == value
    assert json.loads(render(value, "jsonc")) == value
    assert yaml.safe_load(render(value, "yaml")) == value


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES)) | VALUES)
def test_tables_and_tsv_take_any_value(value: Any) -> None:
    for output in ("table", "tsv"):
        assert not any(line != line.rstrip("\n") for line in render(value, output).split("\n"))


def test_table_shows_plain_values_only() -> None:
    assert render(RECORDS, "table").splitlines() == [
        "Name    Version  Ready  Error",
        "------  -------  -----  -----",
        "a       1        true",
        "ü x     22       false",
    ]
    assert render(RECORDS, "table", ("version", "name", "unknown")).splitlines()[2] == "1        a"
    assert render([], "table") == ""
    assert render(["x", "y"], "table").splitlines() == ["Result", "------", "x", "y"]
    assert render(RECORDS[0], "table").splitlines()[2].split() == ["a", "1", "true"]


def test_tsv_has_no_header_and_nothing_nested() -> None:
    assert render(RECORDS, "tsv") == "a\t1\t\ttrue\t\nü x\t22\t\tfalse\t"
    assert render("text", "tsv") == "text"
    assert render([["a", "b"], ["c", "d"]], "tsv") == "a\tb\nc\td"


def test_a_query_picks_out_of_the_result(project: Project) -> None:
    project.ok("model", "register", "-n", "answer", "-p", "model.txt")
    assert project.ok("model", "list", "--query", "[].{n: name, v: version}") == [{"n": "answer", "v": 1}]
    assert project.run("model", "show", "answer", "--query", "id", "-o", "tsv").out == "answer:1\n"
    assert project.run("model", "show", "answer", "--query", "nothing").out == ""


def test_a_query_that_is_none_is_refused_before_anything_is_done(project: Project) -> None:
    outcome = project.run("model", "register", "-n", "answer", "-p", "model.txt", "--query", "[].[")
    assert (outcome.code, outcome.out) == (2, "")
    assert "JMESPath" in outcome.err
    assert project.ok("model", "list") == []


def test_a_format_that_is_none(project: Project) -> None:
    outcome = project.run("model", "list", "-o", "xml")
    assert outcome.code == 2
    assert "jsonc" in outcome.err


def test_jsonc_has_no_colours_in_a_pipe(project: Project) -> None:
    assert project.run("workspace", "list", "-o", "jsonc").out == "[]\n"


def test_jsonc_has_colours_on_a_terminal(project: Project) -> None:
    _, seen = project.on_terminal("stdout", "workspace", "show", "-o", "jsonc")
    assert "\x1b[" in seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert json.loads(plain)["name"] == "default"


@pytest.mark.parametrize("args", [("workspace", "list"), ("config", "schema", "deployment"), ("--help",)])
def test_a_reader_that_has_gone_is_no_error(project: Project, args: tuple[str, ...]) -> None:
    process = project.start(*args, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait()
