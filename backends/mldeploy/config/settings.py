"""The one table of settings, and which of the places that may say a setting wins.

A setting has one name everywhere: flag `--mldeploy-timeout` of pytest (`--timeout` of `mldeploy`), keyword `timeout`
of the mark, environment variable `MLDEPLOY_TIMEOUT`, ini key `mldeploy_timeout`, key `timeout` in `mldeploy.toml`.
Precedence: flag > mark > environment variable > ini key > file > default.

The pytest plugin reads this when pytest starts, so nothing but the standard library is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mldeploy.errors import ConfigException


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Args:
        name: Its one name.
        kind: "text", "list", "number" (above 0), "whole" (a whole number above 0) or "switch".
        default: What holds when nobody says anything.
        help: One sentence for `--help` and the docs.
        choices: The values it may have; empty where anything goes.
        serving: Whether its key stands under `[serving]`, as what changes a service's answers does.
        plugin: Whether tests have a use for it, so that pytest gets a flag for it.
    """

    name: str
    kind: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    serving: bool = False
    plugin: bool = True

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"MLDEPLOY_{self.name.upper()}"

    @property
    def ini_key(self) -> str:
        """Its key in pytest's ini file."""
        return f"mldeploy_{self.name}"


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("target", "list", ("local",), "Where services are deployed; each test runs once per target."),
        Setting(
            "engine",
            "text",
            "auto",
            "What runs a service on this machine; auto is process unless the package needs an image.",
            choices=("auto", "process", "docker"),
        ),
        Setting("workspace", "text", "", "The workspace by name; without it, see the guide on workspaces."),
        Setting("timeout", "number", 300.0, "Seconds a deployment may take until it is healthy."),
        Setting("offline", "switch", False, "Never ask a package index; use what is cached."),
        Setting(
            "registry", "text", "", "Where images of packages are pushed: a host, and the path there.", plugin=False
        ),
        Setting(
            "contract",
            "text",
            "compatible",
            "How the scoring server treats requests that do not fit.",
            choices=("compatible", "strict", "v1"),
            serving=True,
        ),
        Setting(
            "serving",
            "text",
            "mldeploy",
            "The scoring server: ours, or the official one.",
            choices=("mldeploy", "azmlinfsrv"),
            serving=True,
        ),
        Setting(
            "nan",
            "text",
            "bare",
            "How NaN and infinities are written in answers: bare as v1 did, or as null.",
            choices=("bare", "null"),
            serving=True,
        ),
        Setting(
            "scoring_timeout_ms",
            "whole",
            3_600_000,
            "Milliseconds one scoring call may take.",
            serving=True,
        ),
        Setting(
            "scoring_grace_ms",
            "whole",
            5_000,
            "Milliseconds a scoring call may go on after its timeout until its worker is replaced.",
            serving=True,
        ),
        Setting(
            "worker_count", "whole", 1, "Worker processes; each has the script and one call at a time.", serving=True
        ),
        Setting("metrics", "switch", False, "Answer GET /metrics, in Prometheus' format.", serving=True),
        Setting(
            "request_log",
            "text",
            "text",
            "The log's line for each request: as text, or as JSON.",
            choices=("text", "json"),
            serving=True,
        ),
    )
}
"""Every setting by its name."""


def resolve(
    name: str,
    *,
    flag: Any = None,
    mark: Any = None,
    environ: Mapping[str, str] | None = None,
    ini: Any = None,
    file: Any = None,
) -> Any:
    """The value of a setting: what `said` gives, else its default.

    Raises:
        ConfigException: As `said`.

    Examples:
        >>> resolve("timeout", environ={"MLDEPLOY_TIMEOUT": "20"}, ini="60")
        20.0
        >>> resolve("target", flag=["local", "aci"], environ={})
        ('local', 'aci')
    """
    value = said(name, flag=flag, mark=mark, environ=environ, ini=ini, file=file)
    return SETTINGS[name].default if value is None else value


def said(
    name: str,
    *,
    flag: Any = None,
    mark: Any = None,
    environ: Mapping[str, str] | None = None,
    ini: Any = None,
    file: Any = None,
) -> Any:
    """What is said of a setting, by the first of flag, mark, environment variable, ini key, file that says it.

    Args:
        name: The setting.
        flag: What the command line says, as text or already of the setting's type; None, an empty text or an
            empty list if it says nothing (as for the others).
        mark: What the test's mark says.
        environ: The environment; the process' own by default.
        ini: What pytest's ini file says.
        file: What `mldeploy.toml` says.

    Returns:
        Its value; None where nobody says one.

    Raises:
        ConfigException: The value that wins is not one the setting may have; `where` says who said it.

    Examples:
        >>> said("contract", environ={}, file="strict")
        'strict'
        >>> said("contract", environ={}) is None
        True
    """
    setting = SETTINGS[name]
    environ = os.environ if environ is None else environ
    places = (
        (f"--{name.replace('_', '-')}", flag),
        (f"pytest.mark.mldeploy({name}=…)", mark),
        (setting.variable, environ.get(setting.variable)),
        (setting.ini_key, ini),
        (f"'{name}' in mldeploy.toml", file),
    )
    for where, value in places:
        if value is not None and value not in ("", [], ()):
            return parse(setting, value, where)
    return None


def parse(setting: Setting, value: Any, where: str) -> Any:
    """A value of the setting's type from what was said.

    Args:
        setting: The setting.
        value: Text, or a value of the setting's type already.
        where: Who said it, for the error.

    Raises:
        ConfigException: It is not a value that the setting may have.
    """
    try:
        parsed = _KINDS[setting.kind](value)
    except (TypeError, ValueError):
        expected = _EXPECTED[setting.kind]
        raise ConfigException(f"'{setting.name}' expected {expected}, found {value!r}", where=where) from None
    if setting.choices and parsed not in setting.choices:
        known = ", ".join(setting.choices)
        raise ConfigException(f"'{setting.name}' expected one of {known}, found {value!r}", where=where)
    return parsed


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.strip()


def _list(value: Any) -> tuple[str, ...]:
    """Several words: a list, or text with commas or spaces between them."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, Sequence) or not value:
        raise TypeError
    return tuple(dict.fromkeys(_text(item) for item in value))


def _number(value: Any) -> float:
    number = _not_bool(value, float)
    if not 0 < number < float("inf"):
        raise ValueError
    return float(number)


def _whole(value: Any) -> int:
    number = int(_not_bool(value, str))
    if number <= 0:
        raise ValueError
    return number


def _not_bool(value: Any, kind: Callable[[Any], Any]) -> Any:
    if isinstance(value, bool):
        raise TypeError
    return kind(value)


_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _SWITCH[_text(value).lower()]
    except KeyError:
        raise ValueError from None


_KINDS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "list": _list,
    "number": _number,
    "whole": _whole,
    "switch": _switch,
}
_EXPECTED = {
    "text": "text",
    "list": "one or several words",
    "number": "a number above 0",
    "whole": "a whole number above 0",
    "switch": "true or false",
}
