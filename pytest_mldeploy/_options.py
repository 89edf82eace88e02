"""The options: each setting of `mldeploy.config.settings` as a flag and an ini key of pytest."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from mldeploy.config import settings
from mldeploy.config.project import project_file
from mldeploy.config.settings import Setting, parse, said
from mldeploy.config.words import nearest
from mldeploy.errors import ConfigException, UserErrorException
from mldeploy.targets import BUILT, TARGETS

if TYPE_CHECKING:
    from mldeploy.config.harness import ServingSettings

SETTINGS = {name: setting for name, setting in settings.SETTINGS.items() if setting.plugin}
_THROWAWAY = "one that is thrown away after the run"
PLATFORMS = ("linux", "darwin")
Said = Mapping[str, Any]  # settings by name, as some file or mark says them


def add_options(parser: pytest.Parser) -> None:
    """Add a flag and an ini key for every setting."""
    group = parser.getgroup("mldeploy", "mldeploy: services deployed for tests")
    for setting in SETTINGS.values():
        group.addoption(flag(setting.name), dest=setting.ini_key, help=_help(setting), **_action(setting))
        kind: Any = "args" if setting.kind == "list" else "string"
        parser.addini(setting.ini_key, f"{setting.help} As {flag(setting.name)}.", type=kind, default=None)


def flag(name: str) -> str:
    """A setting's flag: `--mldeploy-scoring-timeout-ms`."""
    return f"--mldeploy-{name.replace('_', '-')}"


def _action(setting: Setting) -> dict[str, Any]:
    if setting.kind == "switch":
        return {"action": "store_true", "default": None}
    action = "append" if setting.kind == "list" else "store"
    return {"action": action, "default": None, "metavar": "|".join(setting.choices) or setting.name.upper()}


def _help(setting: Setting) -> str:
    default = " ".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    again = " Repeatable." if setting.kind == "list" else ""
    default = _THROWAWAY if setting.name == "workspace" else default
    told = f" Default: {default}." if default is not False else ""
    return f"{setting.help}{again}{told} Ini key {setting.ini_key}, environment variable {setting.variable}."


class Options:
    """What the command line, the environment, the ini file and the root folder's `mldeploy.toml` ask for.

    Args:
        config: Pytest's.

    Raises:
        pytest.UsageError: Something is asked for that cannot be had.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        for name in SETTINGS:
            self.value(name, file=self.file.get(name))
        if self.value("serving", file=self.file.get("serving")) != SETTINGS["serving"].default:
            try:
                self.serving({}, self.file)
            except ConfigException as error:
                raise pytest.UsageError(str(error)) from None

    def value(self, name: str, mark: Any = None, file: Any = None) -> Any:
        """A setting's value: flag > mark > environment variable > ini key > file > default.

        Raises:
            pytest.UsageError: The value that wins cannot be had.
        """
        value = self._said(name, mark, file)
        if value is None:
            return SETTINGS[name].default
        if name == "target":
            check_targets(value)
        return value

    def _said(self, name: str, mark: Any, file: Any) -> Any:
        setting = SETTINGS[name]
        flagged = self._config.getoption(setting.ini_key)
        try:
            flagged = None if flagged is None else parse(setting, flagged, flag(name))
            return said(name, flag=flagged, mark=mark, ini=self._config.getini(setting.ini_key), file=file)
        except ConfigException as error:
            raise pytest.UsageError(str(error)) from None

    def serving(self, mark: Said, file: Said) -> ServingSettings:
        """How the scoring server answers.

        Raises:
            ConfigException: The scoring server that is asked for cannot do what else is.
        """
        from mldeploy.config.harness import ServingSettings

        names = [name for name, setting in SETTINGS.items() if setting.serving]
        values = {name: self._said(name, mark.get(name), file.get(name)) for name in names}
        heard = {name: value for name, value in values.items() if value is not None}
        return ServingSettings.checked(heard, "the scoring server's settings")

    @functools.cached_property
    def file(self) -> Said:
        """What the root folder's `mldeploy.toml` (or `[tool.mldeploy]` of its `pyproject.toml`) says.

        Raises:
            pytest.UsageError: The file is wrong.
        """
        path = project_file(self._config.rootpath)
        if path is None:
            return {}
        from mldeploy.config import load_harness

        try:
            return load_harness(path).settings()
        except UserErrorException as error:
            raise pytest.UsageError(str(error)) from None

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that tests run on."""
        targets: tuple[str, ...] = self.value("target", file=self.file.get("target"))
        return targets

    @property
    def workspace(self) -> str:
        """The workspace that is named; empty for a throwaway one."""
        workspace: str = self.value("workspace", file=self.file.get("workspace"))
        return workspace

    def asked(self, *, but: str) -> list[str]:
        """The flags of ours that this run was given, to be typed again."""
        flags = [
            name for name in SETTINGS if name != but and self._config.getoption(SETTINGS[name].ini_key) is not None
        ]
        words = []
        for name in flags:
            value = self._config.getoption(SETTINGS[name].ini_key)
            words.append(flag(name) if value is True else f"{flag(name)}={value}")
        return words


def check_targets(targets: Iterable[str]) -> None:
    """Refuse targets that cannot be had.

    Raises:
        pytest.UsageError: One is unknown or not built yet; those there are are listed.
    """
    for target in targets:
        if target in BUILT:
            continue
        near = nearest(target, TARGETS)
        why = "comes with a later version" if target in TARGETS else "is no target"
        meant = f" (did you mean '{near}'?)" if near and near != target else ""
        raise pytest.UsageError(f"'{target}' {why}{meant}; targets to be had: {', '.join(BUILT)}")


def check_platform() -> None:
    """Deployments need processes, sessions and sockets as Linux and macOS have them.

    Raises:
        pytest.UsageError: This is another platform.
    """
    if sys.platform not in PLATFORMS:
        raise pytest.UsageError(f"mldeploy deploys on Linux and macOS, not on {sys.platform}")


OPTIONS: pytest.StashKey[Options] = pytest.StashKey()
