"""The table of the contract: its form, and that the server has no rule that is not in it."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import mldeploy_serving
from mldeploy_serving.contract.table import CONTRACTS, Table, rows

PACKAGE = Path(mldeploy_serving.__file__).parent
KINDS = ("body", "columns", "result", "run", "value")
WORDS = {"same", "closed", "exit 2", "exit 3"}


def test_every_rule_is_there_once() -> None:
    ids = [row["id"] for row in rows()]
    assert len(ids) == len(set(ids)) > 150


@pytest.mark.parametrize("row", rows(), ids=[row["id"] for row in rows()])
def test_form(row: dict[str, Any]) -> None:
    assert set(row) - {"says", "example"} == {"id", "group", "when", *CONTRACTS, "source"}
    assert re.fullmatch(r"[a-z]+\.[a-z0-9.-]+", row["id"])
    assert row["id"].partition(".")[0] in {row["group"], row["group"].removesuffix("s")}
    assert row["when"].endswith(".")
    said = {row[contract] for contract in CONTRACTS}
    assert all(each in WORDS or 200 <= each < 600 for each in said)
    assert len(said) == 1 or said.isdisjoint(WORDS - {"closed"})


def test_groups_are_together() -> None:
    groups = [row["group"] for row in rows()]
    assert [each for each, before in zip(groups, [None, *groups], strict=False) if each != before] == list(
        dict.fromkeys(groups)
    )


@pytest.mark.parametrize("contract", CONTRACTS)
def test_each_contract_has_every_rule(contract: str) -> None:
    table = Table(contract)
    for row in rows():
        rule = table[row["id"]]
        assert rule.status == (row[contract] if isinstance(row[contract], int) else 0)
        parts = {name: f"<{name}>" for _, name, _, _ in Formatter().parse(rule.says) if name}
        assert all(part in rule.message(**parts) for part in parts.values())
        if parts:
            with pytest.raises(KeyError):
                rule.message()


def test_a_rule_that_is_none() -> None:
    with pytest.raises(KeyError, match=r"value\.nothing"):
        Table("v1")["value.nothing"]


def test_the_server_has_no_other_rules() -> None:
    """It would fail only when such a request comes."""
    named = re.compile(rf'"((?:{"|".join(KINDS)})\.[a-z0-9-]+)"')
    used = {rule for path in PACKAGE.rglob("*.py") for rule in named.findall(path.read_text(encoding="utf-8"))}
    ids = {row["id"] for row in rows()}
    assert {"value.type", "body.json", "columns.missing", "result.not-finite", "run.raised"} <= used
    assert used - ids == set()


def test_strict_refuses_what_the_others_refuse() -> None:
    """Only whole numbers that are written as floats are taken by it alone."""
    taken = {row["id"] for row in rows() if row["strict"] == 200 and row["compatible"] not in {200, "same"}}
    assert taken == {"value.whole-float"}
