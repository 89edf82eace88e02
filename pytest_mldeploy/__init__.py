"""The pytest plugin: deployments as fixtures. `Deploy` and `Target` are for the annotations of tests."""

from pytest_mldeploy._types import Deploy, Target

__all__ = ["Deploy", "Target"]
