from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mldeploy.config.entry_script import check_entry_script
from mldeploy.errors import UserErrorException

Write = Callable[[str, str], Path]

GOOD = [
    "def init(): pass\ndef run(data): return data",
    "from other import init, run",
    "from other import start as init\nimport run",
    "from other import *",
    "init = lambda: None\nrun = print",
    "try:\n    def init(): pass\nexcept ImportError:\n    pass\nif True:\n    async def run(data): pass",
    "init, (run, x) = y",
    "def make():\n    global init, run\n    init = run = print\nmake()",
    "class init: pass\nrun: object = print",
    "exec('def init(): pass')\nglobals()['run'] = print",
    "with open('x') as run: init = 1",
    "# -*- coding: latin-1 -*-\ndef init(): pass\ndef run(data): pass",
]


@pytest.mark.parametrize("text", GOOD)
def test_scripts_that_have_both_or_may_have(write: Write, text: str) -> None:
    check_entry_script(write("score.py", text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "init() and run()"),
        ("def init(): pass", "run()"),
        ("def run(data): pass", "init()"),
        ("def init():\n    def run(data): pass", "run()"),
        ("class Model:\n    def init(self): pass\n    def run(self, data): pass", "init() and run()"),
        ("import init.run", "run()"),
        ("def init(): run = 1", "run()"),
        ("run(init)", "init() and run()"),
    ],
)
def test_what_is_missing_is_named(write: Write, text: str, names: str) -> None:
    with pytest.raises(UserErrorException) as caught:
        check_entry_script(write("score.py", text))
    assert caught.value.message == f"The entry script has no {names}"
    assert caught.value.where == "score.py"


def test_a_syntax_error_has_its_line_and_points_at_it(write: Write) -> None:
    with pytest.raises(UserErrorException, match="is not Python") as caught:
        check_entry_script(write("score.py", "def init():\n    pass\n    rows = (1,\n"))
    assert caught.value.where == "score.py:3"
    assert caught.value.reason == "rows = (1,\n       ^"


def test_warnings_about_the_users_code_are_not_errors(write: Write) -> None:
    """The tests' own setting turns warnings into errors, as users' do."""
    check_entry_script(write("score.py", r"PATTERN = '\d'" + "\n" + GOOD[0]))


@pytest.mark.parametrize("text", ["\0", "a = " + "(" * 5000 + ")" * 5000])
def test_what_no_parser_takes(write: Write, text: str) -> None:
    with pytest.raises(UserErrorException, match="is not Python"):
        check_entry_script(write("score.py", text))


@pytest.mark.parametrize("name", ["my-score.py", "1score.py", "class.py", "a b.py"])
def test_names_that_cannot_be_imported(write: Write, name: str) -> None:
    with pytest.raises(UserErrorException, match="is not a Python name"):
        check_entry_script(write(name, GOOD[0]))


def test_what_is_no_python_file(write: Write) -> None:
    with pytest.raises(UserErrorException, match="not a Python file"):
        check_entry_script(write("score.ipynb", "{}"))
    with pytest.raises(UserErrorException, match="cannot be read") as caught:
        check_entry_script("missing.py")
    assert caught.value.reason == "there is no such file"
    with pytest.raises(UserErrorException, match="cannot be read") as caught:
        check_entry_script(".")
    assert caught.value.reason == "it is a folder"
