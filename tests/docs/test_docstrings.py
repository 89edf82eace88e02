"""Every `>>>` example in a docstring of ours is run, those of the scoring server in a service's environment."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("mldeploy", "pytest_mldeploy", "mldeploy_emulators", "mldeploy_perf")
_RULES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
# run by alembic, not imported
_NOT_IMPORTED = "mldeploy.store.migrations"
# run by another Python, with arguments
_PROGRAMS = (".__main__", "._build_wheel", "._compile")
_IN_A_SERVICE = """
import doctest, importlib, pkgutil, mldeploy_serving
walked = pkgutil.walk_packages(mldeploy_serving.__path__, "mldeploy_serving.")
found = [each.name for each in walked if not each.name.endswith(("__main__", "entry_module"))]
results = [doctest.testmod(importlib.import_module(name)) for name in found]
print(sum(each.attempted for each in results), "attempted,", sum(each.failed for each in results), "failed")
"""


def _modules() -> Iterator[str]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.startswith(_NOT_IMPORTED) and not module.name.endswith(_PROGRAMS):
                yield module.name


@pytest.mark.parametrize("name", sorted(_modules()))
def test_the_examples_of_the_module_are_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name)
    if not any(each.examples for each in examples):
        return
    from mldeploy import Workspace

    # what an example may use without making it: a workspace, and a current folder of its own
    monkeypatch.setenv("MLDEPLOY_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    given = {"ws": Workspace.create("examples"), "Path": Path}
    runner = doctest.DocTestRunner(optionflags=_RULES)
    for each in examples:
        each.globs.update(given)
        runner.run(each)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def test_the_examples_of_the_scoring_server_are_true(serving_python: Path) -> None:
    done = subprocess.run([serving_python, "-c", _IN_A_SERVICE], capture_output=True, text=True, check=True)
    attempted, failed = (int(part.split()[0]) for part in done.stdout.splitlines()[-1].split(", "))
    assert attempted > 0
    assert failed == 0, done.stdout
