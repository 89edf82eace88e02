"""What a test asks for with `@pytest.mark.mldeploy`, as a plain value."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from mldeploy.config.settings import SETTINGS, parse
from mldeploy.config.words import nearest
from mldeploy.errors import ConfigException
from mldeploy.targets import TARGETS
from mldeploy.targets.capabilities import CAPABILITIES

Scope = Literal["session", "module", "function"]
SCOPES = ("session", "module", "function")
SERVING = tuple(name for name, setting in SETTINGS.items() if setting.serving)
_PREFIX = re.compile(r"[a-z][-a-z0-9]{0,31}")


@dataclass(frozen=True)
class Wanted:
    """A service that is wanted; nothing has been read yet.

    Args:
        inference_config: A path, an object of `inferenceconfig.json`, or an `InferenceConfig`.
        models: From a name to a path, or a list of paths, `name:version` and `Model` objects.
        deployment_config: A path, an object, a configuration, or a mapping from targets to these.
        name: What the service's name begins with.
        scope: How long it is shared.
        timeout: Seconds until Healthy; None where the test does not say.
        serving: Settings of the scoring server that the test says.
        folder: What relative paths are relative to.
    """

    inference_config: Any
    models: Any
    deployment_config: Any
    name: str | None
    scope: Scope
    timeout: float | None
    serving: Mapping[str, Any]
    folder: Path

    @property
    def key(self) -> str:
        """Equal for two that say the same."""
        parts = (self.inference_config, self.models, self.deployment_config, dict(self.serving), str(self.folder))
        return json.dumps(parts, default=_spelled, sort_keys=True)


def wanted(
    folder: Path,
    inference_config: Any,
    *,
    models: Any = (),
    deployment_config: Any = None,
    name: str | None = None,
    scope: str = "session",
    timeout: float | None = None,
    **serving: Any,
) -> Wanted:
    """Check what a mark or the factory was given.

    Args:
        folder: What relative paths are relative to: the test file's.
        inference_config: See `Wanted`, as for the rest.
        models: See there.
        deployment_config: See there.
        name: See there.
        scope: See there.
        timeout: See there.
        **serving: See there.

    Raises:
        ConfigException: A keyword is unknown, or a value not one it may have.
    """
    _check_keywords(serving)
    if scope not in SCOPES:
        raise ConfigException(f"scope={scope!r}", reason=f"one of {', '.join(SCOPES)}", hint=_meant(scope, SCOPES))
    if name is not None and not _PREFIX.fullmatch(str(name)):
        raise ConfigException(
            f"name={name!r} cannot begin a service's name", reason="1 to 32 of a-z, 0-9 and dashes, a letter first"
        )
    if timeout is not None:
        timeout = parse(SETTINGS["timeout"], timeout, "timeout")
    checked = {key: parse(SETTINGS[key], value, key) for key, value in serving.items() if value is not None}
    if "serving" in checked:
        from mldeploy.config.harness import ServingSettings

        ServingSettings.checked(checked, "the scoring server's settings")
    return Wanted(inference_config, models, deployment_config, name, cast(Scope, scope), timeout, checked, folder)


def wanted_of_its_own(folder: Path, inference_config: Any, *, scope: str = "function", **more: Any) -> Wanted:
    """Check what the factory was given, whose services are always the test's own.

    Raises:
        ConfigException: As `wanted`, or another scope is asked for.
    """
    if scope != "function":
        raise ConfigException(
            f"scope={scope!r} of a service that mldeploy_deploy makes",
            reason="it is the test's own, and deleted after it",
            hint="leave out scope=, or share one by the mark and mldeploy_service",
        )
    return wanted(folder, inference_config, scope=scope, **more)


def read_mark(mark: pytest.Mark, folder: Path) -> Wanted:
    """What a mark says.

    Raises:
        ConfigException: It says it in a wrong way.
    """
    if len(mark.args) + ("inference_config" in mark.kwargs) != 1:
        raise ConfigException(
            "the mark takes one inference configuration, and the rest by keyword",
            hint='@pytest.mark.mldeploy("inferenceconfig.json", models=["model.pkl"])',
        )
    return wanted(folder, *mark.args, **mark.kwargs)


def check_words(mark: pytest.Mark, known: Sequence[str], what: str) -> None:
    """Hold a mark's words to those there are.

    Raises:
        ConfigException: One is unknown, or there is none.
    """
    if mark.kwargs or not mark.args:
        raise ConfigException(f"the mark {mark.name} takes one or several words", hint=f"of {', '.join(known)}")
    for word in mark.args:
        if word not in known:
            raise ConfigException(
                f"{word!r} is no {what}", reason=f"there are {', '.join(known)}", hint=_meant(str(word), known)
            )


def check(items: Iterable[pytest.Item]) -> None:
    """Hold every mark of ours to how it is used.

    Raises:
        pytest.UsageError: One is used in a wrong way.
    """
    for item in items:
        for name, checked in _CHECKS.items():
            for mark in item.iter_markers(name):
                try:
                    checked(mark, item.path.parent)
                except ConfigException as error:
                    raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{name}: {error}") from None


_CHECKS: dict[str, Callable[[pytest.Mark, Path], object]] = {
    "mldeploy": read_mark,
    "mldeploy_requires": lambda mark, _: check_words(mark, tuple(CAPABILITIES), "capability"),
    "mldeploy_targets": lambda mark, _: check_words(mark, TARGETS, "target"),
}


def _check_keywords(serving: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(wanted).parameters)[2:-1]
    for key in serving:
        if key not in SERVING:
            known = (*parameters, *SERVING)
            raise ConfigException(
                f"{key!r} is no keyword of mldeploy", reason=f"there are {', '.join(known)}", hint=_meant(key, known)
            )


def _meant(word: str, known: Sequence[str]) -> str:
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else ""


def _spelled(value: Any) -> Any:
    """An object of ours as the JSON it stands for; anything else as text."""
    to_dict = getattr(value, "to_dict", None)
    if to_dict is None:
        return str(value)
    return [type(value).__name__, to_dict(), str(getattr(value, "base", ""))]
