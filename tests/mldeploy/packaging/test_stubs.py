"""What is there already, and at no index: uv takes it for the only version, and checks what others ask of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mldeploy.packaging import stubs
from mldeploy.packaging.locking import compile_requirements
from mldeploy.packaging.uv import UvFailure


def compiled(folder: Path, wheels: Any, provided: list[tuple[str, list[str]]], *asked: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    lines = stubs.written(folder, provided)
    options = ("--no-index", "--find-links", str(wheels.folder), "--no-annotate", "--no-header", "--quiet")
    kept_out = [argument for pin, _ in provided for argument in ("--no-emit-package", pin.split("==")[0])]
    return compile_requirements(asked, lines, sys.executable, *options, *kept_out).split()


def test_it_need_not_be_at_an_index_and_its_own_requirements_do_not_count(wheels: Any, tmp_path: Path) -> None:
    wheels.wheel("above", "1.0", ["conda-only>=1.0"])
    wheels.wheel("shared", "2.0", ["not-there-at-all"])
    wheels.wheel("needs_shared", "1.0", ["shared>=2"])
    provided: list[tuple[str, list[str]]] = [("conda-only==1.5", []), ("shared==2.0", [])]
    assert compiled(tmp_path / "stubs", wheels, provided, "above", "needs-shared", "Conda.Only") == [
        "above==1.0",
        "needs-shared==1.0",
    ]


def test_what_others_ask_of_it_is_checked(wheels: Any, tmp_path: Path) -> None:
    wheels.wheel("above", "1.0", ["conda-only>=2"])
    with pytest.raises(UvFailure, match="conda-only"):
        compiled(tmp_path / "stubs", wheels, [("conda-only==1.5", [])], "above")


def test_its_extras_are_resolved(wheels: Any, tmp_path: Path) -> None:
    wheels.wheel("socks", "1.0")
    lines = ["Provides-Extra: proxy", "Requires-Dist: socks>=1; extra == 'proxy'"]
    assert compiled(tmp_path / "stubs", wheels, [("conda-only==1.5", lines)], "conda-only[proxy]") == ["socks==1.0"]
