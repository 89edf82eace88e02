"""v1's curated environments, under their names, with packages that still install.

`curated.json` is the table; `docs/environments.md` shows it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldeploy.config.environment import EnvironmentDefinition


@cache
def table() -> tuple[dict[str, Any], ...]:
    """The curated environments.

    Returns:
        For each its `name`, the `pip` packages it has now, what it `was`, and a `note`.
    """
    text = (files("mldeploy.packaging") / "curated.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def names() -> tuple[str, ...]:
    """The names of all curated environments.

    Examples:
        >>> names()[0]
        'AzureML-Minimal'
    """
    return tuple(entry["name"] for entry in table())


def curated(name: str) -> EnvironmentDefinition | None:
    """Find a curated environment.

    Args:
        name: Such as `AzureML-Minimal`.

    Returns:
        Its definition, version "1"; None if there is no curated one of that name.
    """
    from mldeploy.config.environment import EnvironmentDefinition

    for entry in table():
        if entry["name"] == name:
            conda = {
                "name": "project_environment",
                "channels": ["conda-forge"],
                "dependencies": [{"pip": entry["pip"]}],
            }
            return EnvironmentDefinition.model_validate(
                {"name": name, "version": "1", "python": {"condaDependencies": conda}}
            )
    return None
