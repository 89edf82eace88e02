from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.config.files import Document, read
from mldeploy.config.syntax import MAX_DEPTH, MAX_NODES, ParseError, parse_json, parse_yaml
from mldeploy.errors import ConfigException

Write = Callable[[str, str], Path]

JSON = """{
  "computeType": "aks",
  "autoScaler": {"minReplicas": 1,
    "maxReplicas": 3},
  "list": [
    {"a, \\"b\\"": "{[,]}"},
    "two"
  ]
}
"""
YAML = """\
computeType: aks
autoScaler: {minReplicas: 1,
  maxReplicas: 3}
list:
- 'a, "b"': "{[,]}"
- two
"""
TOML = '''\
computeType = "aks"
text = """
autoScaler = 5
"""
[autoScaler]
minReplicas = 1  # one
maxReplicas = 3

[[service]]
name = "a"
[service.deployment.local]
port = 8890
[[service.sample]]
request = 1
[[service.sample]]
"request" = 2

[[service]]
name = "b"
[[service.sample]]
request.deep = 3
'''


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.json", JSON, {"computeType": 2, "min": 3, "max": 4, "item": 6, "last": 7}),
        ("a.yml", YAML, {"computeType": 1, "min": 2, "max": 3, "item": 5, "last": 6}),
    ],
)
def test_every_key_has_its_line(write: Write, name: str, text: str, lines: dict[str, int]) -> None:
    document = read(write(name, text))
    assert document.data == {
        "computeType": "aks",
        "autoScaler": {"minReplicas": 1, "maxReplicas": 3},
        "list": [{'a, "b"': "{[,]}"}, "two"],
    }
    assert document.line(("computeType",)) == lines["computeType"]
    assert document.line(("autoScaler", "minReplicas")) == lines["min"]
    assert document.line(("autoScaler", "maxReplicas")) == lines["max"]
    assert document.line(("list", 0, 'a, "b"')) == lines["item"]
    assert document.line(("list", 1)) == lines["last"]
    assert document.place(("list", 1)) == f"{name}:{lines['last']}"


def test_keys_of_toml_tables_have_their_lines(write: Write) -> None:
    document = read(write("mldeploy.toml", TOML))
    assert document.line(("autoScaler",)) == 5
    assert document.line(("autoScaler", "maxReplicas")) == 7
    assert document.line(("service", 0, "deployment", "local", "port")) == 12
    assert document.line(("service", 0, "sample", 0, "request")) == 14
    assert document.line(("service", 0, "sample", 1, "request")) == 16
    assert document.line(("service", 1, "name")) == 19
    assert document.line(("service", 1, "sample", 0, "request", "deep")) == 21


def test_a_toml_key_with_escapes_has_the_line_of_its_table(write: Write) -> None:
    document = read(write("a.toml", '[table]\n"\\u0061" = 1\n'))
    assert document.data == {"table": {"a": 1}}
    assert document.line(("table", "a")) == 1


def test_an_absent_key_has_the_line_of_what_is_around_it() -> None:
    document = Document(Path("a.json"), {}, {("a",): 3})
    assert document.line(("a", "b", "c")) == 3
    assert document.line(("b",)) is None
    assert document.place(("b",)) == "a.json"


def test_a_part_keeps_its_lines(write: Write) -> None:
    part = read(write("mldeploy.toml", TOML)).below("service", 0, "deployment", "local")
    assert part.data == {"port": 8890}
    assert part.line(("port",)) == 12
    assert part.line(("absent",)) == 11


@pytest.mark.parametrize(
    ("name", "text", "where", "message"),
    [
        ("a.json", '{"a": 1,\n}', "a.json:2:1", "Not JSON"),
        ("a.json", '{"a": 1} x', "a.json:1:10", "Not JSON"),
        ("a.json", '{"a": NaN}', "a.json", "NaN is not a JSON number"),
        ("a.json", '{"a": 1,\n "a": 2}', "a.json:2", "The key 'a' is there twice, first on line 1"),
        ("a.json", '{"a": {"b": 1,\n "\\u0062": 2}}', "a.json:2", "The key 'b' is there twice"),
        ("a.json", "[1]", "a.json", "Expected an object with keys, found a list"),
        ("a.json", "null", "a.json", "Expected an object with keys, found null"),
        ("a.json", "[" * 20_000, "a.json", "Nested deeper"),
        ("a.json", "[" * 100 + "]" * 100, "a.json:1", "Nested deeper"),
        ("a.yml", "a: [1\nb: 2", "a.yml:2:2", "Not YAML"),
        ("a.yml", "a: 1\na: 2", "a.yml:2", "The key 'a' is there twice, first on line 1"),
        ("a.yml", "a: &x [*x]", "a.yml:1", "Nested deeper"),
        ("a.yml", "a: " + "[" * 1100, "a.yml", "Nested deeper"),
        ("a.yml", "a: 2020-99-99", "a.yml", "Not YAML: month must be in"),
        ("a.yml", "a: !!python/name:os.system x", "a.yml:1:4", "Not YAML"),
        ("a.yml", "a: 1\n2: 3", "a.yml:2:1", "Not a key: expected text"),
        ("a.yml", "a: \x07", "a.yml", "Not YAML"),
        ("a.yaml", "just words", "a.yaml", "Expected an object with keys, found text"),
        ("a.yaml", "---\na: 1\n---\nb: 1\n", "a.yaml:3:1", "Not YAML"),
        ("a.toml", "a = 1\nb = = 2\n", "a.toml:2:5", "Not TOML"),
        ("a.toml", "a = 1\na = 2\nb = 1\n", "a.toml:2:6", "Not TOML"),
        ("a.toml", "a = ", "a.toml", "Not TOML"),
        ("a.toml", "a = " + "[" * 20_000, "a.toml", "Nested"),
        ("a.json", " \n\t", "a.json", "The file is empty"),
        ("a.yml", "", "a.yml", "The file is empty"),
    ],
)
def test_a_text_that_is_not_of_its_format(write: Write, name: str, text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigException) as caught:
        read(write(name, text))
    assert message in caught.value.message
    assert caught.value.where == where


def test_aliases_cannot_multiply_a_text_without_end(write: Write) -> None:
    rows = ["a: &a [" + ",".join("x" * 9) + "]"]
    rows += [f"{chr(98 + row)}: &{chr(98 + row)} [{','.join([f'*{chr(97 + row)}'] * 9)}]" for row in range(9)]
    with pytest.raises(ConfigException, match=f"More than {MAX_NODES}"):
        read(write("bomb.yml", "\n".join(rows)))


def test_merge_keys_give_way(write: Write) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert read(write("a.yml", text)).data["more"] == {"a": 1, "b": 3}


def test_without_a_known_ending_the_text_decides(write: Write) -> None:
    assert read(write("config", '{"a": 1}')).data == {"a": 1}
    assert read(write("other", "a: 1")).data == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_editors_and_shells_write(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"description": "größer"}'.encode(encoding))
    assert read(path).data == {"description": "größer"}


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{\n"a": "\xe9"}')
    with pytest.raises(ConfigException, match="not UTF-8 text") as caught:
        read(path)
    assert caught.value.where == f"{path}:2"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(ConfigException, match="cannot be read") as caught:
            read(path)
        assert caught.value.where == str(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES))
def test_lines_of_any_json_are_those_where_its_keys_stand(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1)
    parsed, lines = parse_json(text)
    rows = text.split("\n")
    assert parsed == data
    assert {way[0] for way in lines} == set(data)
    assert all(
        rows[line - 1].lstrip().startswith(json.dumps(way[-1]))
        for way, line in lines.items()
        if isinstance(way[-1], str)
    )


@given(st.dictionaries(st.text("abc"), VALUES))
def test_json_and_yaml_say_the_same(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, allow_unicode=False)
    assert parse_yaml(text)[0] == data


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_json, parse_yaml):
        with contextlib.suppress(ParseError):
            parse(text)


def test_the_limit_is_above_what_configs_need() -> None:
    nested: Any = {}
    for _ in range(MAX_DEPTH - 1):
        nested = {"a": nested}
    assert parse_json(json.dumps(nested))[0] == nested
