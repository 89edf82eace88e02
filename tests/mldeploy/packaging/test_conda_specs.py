"""Conda's package specifications in pip's spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from mldeploy.errors import EnvironmentException
from mldeploy.packaging.conda_specs import parse, table

VERSIONS = st.lists(st.integers(0, 2030), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("numpy", ""),
        ("numpy=1.2", "==1.2.*"),
        ("numpy =1.2", "==1.2.*"),
        ("numpy==1.2", "==1.2"),
        ("numpy=1.2.*", "==1.2.*"),
        ("numpy=1.16*", "==1.16.*"),
        ("numpy 1.2.* py36_0", "==1.2.*"),
        ("numpy=1.2=py36_0", "==1.2.*"),
        ("numpy=*=mkl", ""),
        ("numpy >=1 , <2", ">=1,<2"),
        ("numpy!=1.3", "!=1.3"),
        ("numpy~=1.3", "~=1.3"),
        ("numpy[version='>=1,<2']", ">=1,<2"),
        ("conda-forge::numpy=1.2", "==1.2.*"),
    ],
)
def test_versions(line: str, version: str) -> None:
    spec = parse(line)
    assert (spec.name, spec.version) == ("numpy", version)


@pytest.mark.parametrize("line", ["numpy=1.2|1.3", "numpy>=1|2", "=3", "", "numpy = 1.2", "numpy=>1"])
def test_what_pip_cannot_say_is_refused(line: str) -> None:
    with pytest.raises(EnvironmentException, match="cannot be read as a conda package"):
        parse(line)


@given(version=VERSIONS)
def test_one_sign_means_any_of_that_version_and_two_mean_that_one(version: str) -> None:
    loose, exact = (Requirement(f"x{parse(f'x{sign}{version}').version}").specifier for sign in ("=", "=="))
    assert loose.contains(version)
    assert exact.contains(version)
    assert loose.contains(f"{version}.7")
    assert not exact.contains(f"{version}.7")


def test_the_table_has_each_name_once_and_as_pip_reads_it() -> None:
    for conda_name, pip_name in table().items():
        assert conda_name == conda_name.lower()
        if pip_name:
            assert Requirement(pip_name).name == pip_name
