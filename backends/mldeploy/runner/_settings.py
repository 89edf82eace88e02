"""Settings as the command line says them: a flag, else the environment, else the project's own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldeploy.config.project import project_file
from mldeploy.config.settings import SETTINGS, resolve, said
from mldeploy.runner._options import F, together

if TYPE_CHECKING:
    from mldeploy.config.harness import ServingSettings

SERVING = ("contract", "serving", "nan", "scoring_grace_ms", "worker_count", "metrics", "request_log")
DEPLOYING = ("engine", "timeout", "offline", *SERVING)


def setting_flags(*names: str) -> Callable[[F], F]:
    """A flag for each of these settings, with the help of the one table."""
    return together(*(_flag(name) for name in names))


def _flag(name: str) -> Any:
    setting = SETTINGS[name]
    flag = f"--{name.replace('_', '-')}"
    if setting.kind == "switch":
        return click.option(flag, is_flag=True, default=None, help=setting.help)
    choices = f"  [{', '.join(setting.choices)}]" if setting.choices else ""
    default = f"  [default: {setting.default}]" if setting.default else ""
    shown = f"{setting.help}{choices}{default}"
    return click.option(flag, metavar="N" if setting.kind == "whole" else name.upper(), help=shown)


def settings(flags: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The value of each setting that a command has a flag for; None where nobody says one of the scoring server's.

    Args:
        flags: What was typed; None where nothing was.
        project: The folder whose `mldeploy.toml`, or `pyproject.toml` with `[tool.mldeploy]`, counts.

    Raises:
        ConfigException: A value is not one the setting may have, or the file is wrong.
    """
    file = in_file(project)
    return {
        name: (said if SETTINGS[name].serving else resolve)(name, flag=flag, file=file.get(name))
        for name, flag in flags.items()
    }


def in_file(project: Path) -> dict[str, Any]:
    """What the project's own file says about settings.

    Raises:
        ConfigException: The file is wrong.
    """
    path = project_file(project)
    if path is None:
        return {}
    from mldeploy.config.harness import load_harness

    return load_harness(path).settings()


def serving(chosen: Mapping[str, Any]) -> ServingSettings:
    """How the scoring server answers, out of `settings`.

    Raises:
        ConfigException: The scoring server that is asked for cannot do what else is.
    """
    from mldeploy.config.harness import ServingSettings

    said_of_it = {name: value for name, value in chosen.items() if SETTINGS[name].serving and value is not None}
    return ServingSettings.checked(said_of_it, "the scoring server's settings")
