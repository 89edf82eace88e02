"""Writes docs/contract.md and docs/scoring-server.md: the scoring server's rules, for users and with their tests.

The rules are `contract/table.json`; a test says by the mark `holds` which of them it holds. With `--check`, nothing is
written: a page that is out of date, a rule without a test and a mark for no rule end it with 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/mldeploy_serving"
TABLE = ROOT / "backends/mldeploy_serving/contract/table.json"
CONTRACTS = ("compatible", "strict", "v1")
GROUPS = {
    "routes": "Paths and methods",
    "swagger": "Swagger documents",
    "body": "Bodies",
    "values": "Declared values",
    "columns": "Columns of data frames",
    "results": "Results",
    "run": "Calls of run()",
    "rawhttp": "@rawhttp and AMLResponse",
    "ids": "Ids of requests",
    "headers": "Headers",
    "cors": "Cross-origin requests",
    "signature": "Signatures",
    "start": "Start",
    "imports": "What scripts import",
    "paths": "Folders and models",
    "variables": "Variables",
    "workers": "Workers",
    "timeout": "Scoring timeout",
    "log": "Log",
    "http": "HTTP",
}
GENERATED = "<!-- Written by scripts/contract_docs.py from the scoring server's contract/table.json. -->\n\n"
CONTRACT = """# The contract

What the scoring server answers is decided by rules, and there are three contracts that say what becomes of each:

| contract | for | what it does |
| --- | --- | --- |
| `compatible` | the default | What the official server answers with 200 is answered the same, to the byte. What it \
answers with 500 because a request does not fit its declared schema is a 400 that says why; results that it cannot \
encode are encoded. |
| `strict` | new services | Nothing is converted silently, and no answer is invalid JSON. |
| `v1` | comparing with a service in the cloud | The official server's statuses and bodies, wrong ones included. |

`contract = "strict"` in `mldeploy.toml` chooses one, as does the variable `MLDEPLOY_CONTRACT`.

A request that does not fit its schema is answered with the rule that it breaks and the place:

> `{"message": "x[0][1]: expected a number, found 'a'", "rule": "value.type", "place": "x[0][1]"}`

Those rules are in the tables below. One status is that of all three contracts, and `exit 3` is a server that does not
start (the command has [exit codes](runner.md#exit-codes) of its own). Which test holds which rule is in
[The scoring server's rules](scoring-server.md).
"""
EXAMPLES = """
## Examples

What each contract answers to the same request. The tests ask all of these.
"""
SERVER = """# The scoring server's rules

Every rule of the scoring server's [contract](contract.md), where it was observed (S: on the official server, C: in v1's
documents, ours: on purpose), and the tests that hold it, below `tests/mldeploy_serving/`. Those in `differential/` ask
the official server and ours the same.
"""


def contract_page(table: dict[str, Any]) -> str:
    """The page for users."""
    rows = table["rules"]
    parts = [GENERATED, CONTRACT, EXAMPLES]
    for name, lines in table["scripts"].items():
        parts.append(f'\n```python title="{name}.py"\n' + "\n".join(lines) + "\n```\n")
        parts.append("\n| rule | body | `compatible` | `strict` | `v1` |\n| --- | --- | --- | --- | --- |\n")
        parts += [_example(row) for row in rows if row.get("example", {}).get("script") == name]
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n\n| rule | when | answer |\n| --- | --- | --- |\n")
        parts += [f"| `{row['id']}` | {row['when']} | {_answer(row)} |\n" for row in rows if row["group"] == group]
    return "".join(parts)


def _answer(row: dict[str, Any]) -> str:
    message = f"`{row['says']}`" if "says" in row else ""
    return "<br>".join(part for part in (_statuses(row), message) if part)


def _statuses(row: dict[str, Any]) -> str:
    said = [str(row[contract]) for contract in CONTRACTS]
    if len(set(said)) > 1:
        return ", ".join(f"`{contract}` {each}" for contract, each in zip(CONTRACTS, said, strict=True))
    return "" if said[0] == "same" else said[0]


def _example(row: dict[str, Any]) -> str:
    answers = [row["example"][contract] for contract in CONTRACTS]
    shown = [f"{row[contract]}<br>{_code(answer)}" for contract, answer in zip(CONTRACTS, answers, strict=True)]
    return f"| `{row['id']}` | {_code(row['example']['body'])} | {' | '.join(shown)} |\n"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else "(nothing)"


def server_page(rows: list[dict[str, Any]], held: dict[str, list[str]]) -> str:
    """The page with the tests."""
    parts = [GENERATED, SERVER]
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n\n| rule | answer | observed in | held by |\n| --- | --- | --- | --- |\n")
        for row in rows:
            if row["group"] == group:
                tests = "<br>".join(f"`{test}`" for test in held.get(row["id"], []))
                parts.append(f"| `{row['id']}` | {_statuses(row)} | {row['source']} | {tests} |\n")
    return "".join(parts)


class Collected:
    """A plugin of pytest's: the tests that hold each rule, in their order."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read the marks of what was collected."""
        for item in session.items:
            # the cases of one test are one line, but where each has marks of its own
            own = [mark for mark in getattr(getattr(item, "callspec", None), "marks", []) if mark.name == "holds"]
            for mark in item.iter_markers("holds"):
                name = item.nodeid if mark in own else item.nodeid.partition("[")[0]
                name = re.sub(r"-process\]$", "]", name.removeprefix(f"{TESTS}/")).replace("[process-", "[")
                name = re.sub(rf"\[({'|'.join(CONTRACTS)})-", "[…-", name)
                for rule in mark.args:
                    tests = self.tests.setdefault(rule, [])
                    if name not in tests:
                        tests.append(name)


def main(flags: list[str]) -> int:
    """Write the pages, or check them."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = table["rules"]
    collected, said = Collected(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(
            # each test once, whichever engines it runs with
            ["-q", "--collect-only", "--mldeploy-engine=process", "-p", "no:cacheprovider", str(ROOT / TESTS)],
            [collected],
        )
    if code:
        print(said.getvalue())
        return 1
    pages = {"contract.md": contract_page(table), "scoring-server.md": server_page(rows, collected.tests)}
    ids = [row["id"] for row in rows]
    wrong = [f"{rule} has no test" for rule in ids if rule not in collected.tests]
    wrong += [
        f"{rule} is held by {tests[0]}, but is no rule" for rule, tests in collected.tests.items() if rule not in ids
    ]
    wrong += [f"the group of {row['id']} has no title" for row in rows if row["group"] not in GROUPS]
    for name, text in pages.items():
        page = ROOT / "docs" / name
        if "--check" not in flags:
            page.write_text(text, encoding="utf-8")
        elif page.read_text(encoding="utf-8") != text:
            wrong.append(f"docs/{name} is out of date: run scripts/contract_docs.py")
    for each in wrong:
        print(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
