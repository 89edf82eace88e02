"""The contract as a table: every observable rule of the scoring server, and what each contract answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CONTRACTS = ("compatible", "strict", "v1")


@dataclass(frozen=True)
class Rule:
    """What one contract says to one kind of request, answer or setting.

    Args:
        id: Its name, as `value.shape`; answers and `docs/scoring-server.md` name it so.
        status: The HTTP status; 0 for a rule that is about something else than an answer.
        says: The message, with its parts in braces; empty where there is none.
    """

    id: str
    status: int
    says: str

    def message(self, **parts: object) -> str:
        """The message with its parts filled in.

        Raises:
            KeyError: A part is missing.

        Examples:
            >>> Rule("value.shape", 400, "{place}: expected {expected}").message(place="x[0]", expected=3)
            'x[0]: expected 3'
        """
        return self.says.format_map(parts)


class Table:
    """The rules as one contract has them.

    Args:
        contract: `compatible`, `strict` or `v1`.

    Examples:
        >>> Table("strict")["value.null"].status, Table("v1")["value.null"].status
        (400, 200)
    """

    def __init__(self, contract: str) -> None:
        self.contract = contract
        self._rules = {row["id"]: _rule(row, contract) for row in rows()}

    def __getitem__(self, rule: str) -> Rule:
        return self._rules[rule]


@dataclass(frozen=True)
class Example:
    """A request that shows a rule.

    Args:
        rule: The rule's id.
        script: The text of the entry script that it is sent to.
        body: What is posted, as `application/json`.
        answers: Status and body of the answer, by contract.
    """

    rule: str
    script: str
    body: str
    answers: dict[str, tuple[int, str]]


@cache
def rows() -> tuple[dict[str, Any], ...]:
    """All rows of `table.json`, in its order.

    Every one has `id`, `group`, `when` (a sentence), `compatible`, `strict` and `v1` (a status, or a few words where
    a status says nothing) and `source` (where it was observed); some have `says` (a message) and `example`.
    """
    return tuple(_read()["rules"])


def examples() -> tuple[Example, ...]:
    """The examples of those rules that a single request shows.

    Examples:
        >>> next(each.answers["strict"] for each in examples() if each.rule == "value.fraction")[0]
        400
    """
    scripts = {name: "\n".join(lines) + "\n" for name, lines in _read()["scripts"].items()}
    return tuple(
        Example(
            row["id"],
            scripts[row["example"]["script"]],
            row["example"]["body"],
            {contract: (row[contract], row["example"][contract]) for contract in CONTRACTS},
        )
        for row in rows()
        if "example" in row
    )


@cache
def _read() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("table.json").read_bytes())
    return table


def _rule(row: dict[str, Any], contract: str) -> Rule:
    status = row[contract]
    return Rule(row["id"], status if isinstance(status, int) else 0, row.get("says", ""))
