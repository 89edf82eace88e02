"""What is tested is the built wheel, and the wheel is what it should be."""

from __future__ import annotations

import importlib
import os
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

PACKAGES = ("mldeploy", "mldeploy_emulators", "mldeploy_perf", "pytest_mldeploy")
WHEEL = os.environ.get("MLDEPLOY_WHEEL", "")
on_the_wheel = pytest.mark.skipif(not WHEEL, reason="`make test` builds the wheel and sets MLDEPLOY_WHEEL")


@on_the_wheel
@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_imported_from_site_packages(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert Path(file).is_relative_to(sysconfig.get_path("purelib"))


@on_the_wheel
def test_every_module_in_site_packages_is_the_wheels() -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")}
    site = Path(sysconfig.get_path("purelib"))
    assert packed
    assert {name for name, content in packed.items() if (site / name).read_bytes() != content} == set()


@on_the_wheel
def test_the_wheel_drops_nothing_else_into_site_packages() -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


@on_the_wheel
def test_the_scoring_servers_wheel_is_carried_and_shares_no_file_with_ours(tmp_path: Path) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        ours = set(wheel.namelist())
        (carried,) = [name for name in ours if name.startswith("mldeploy/_serving/")]
        inner = wheel.extract(carried, tmp_path)
    with zipfile.ZipFile(inner) as serving:
        theirs = set(serving.namelist())
    assert Path(carried).name.startswith("mldeploy_serving-")
    assert "mldeploy_serving/__main__.py" in theirs
    assert ours.isdisjoint(theirs)
    assert "mldeploy_serving" not in {name.split("/")[0] for name in ours}


@on_the_wheel
@pytest.mark.parametrize("folder", ["foundations/base", "builds/builder"])
def test_what_images_are_built_from_is_in_the_wheel(folder: str) -> None:
    here, there = Path(__file__).parents[2] / "backends/mldeploy/images" / folder, f"mldeploy/images/{folder}/"
    with zipfile.ZipFile(WHEEL) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if name.startswith(there)}
    assert packed == {f"{there}{file.name}": file.read_bytes() for file in here.iterdir()}
    assert f"{there}Dockerfile" in packed


def test_it_says_what_it_is() -> None:
    metadata = distribution("pytest-mldeploy").metadata
    assert "Framework :: Pytest" in (metadata.get_all("Classifier") or [])
    assert set(metadata.get_all("Provides-Extra") or []) == {"perf", "postgres", "blob", "conda"}
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10"


def test_it_brings_a_command_and_a_plugin() -> None:
    points = {(point.group, point.name) for point in distribution("pytest-mldeploy").entry_points}
    assert {("console_scripts", "mldeploy"), ("pytest11", "mldeploy")} <= points
