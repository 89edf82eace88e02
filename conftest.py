"""Pytest's own plugin for testing plugins, for `tests/pytest_mldeploy/`; ours is found as a user's pytest finds it."""

pytest_plugins = ["pytester"]
