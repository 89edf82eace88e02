"""The pytest plugin: deployments as fixtures. `Deploy` and `Target` are for the annotations of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_mldeploy._types import Deploy, Target

__all__ = ["Deploy", "Target"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_mldeploy import _types

    return getattr(_types, name)
