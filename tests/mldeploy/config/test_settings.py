from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest

from mldeploy.config.settings import SETTINGS, Setting, resolve, said
from mldeploy.errors import ConfigException

LAYERS = {
    "flag": "--timeout",
    "mark": "pytest.mark.mldeploy(timeout=…)",
    "environ": "MLDEPLOY_TIMEOUT",
    "ini": "mldeploy_timeout",
    "file": "'timeout' in mldeploy.toml",
}
EXAMPLES: dict[str, tuple[Any, Any]] = {
    "text": ("word", "word"),
    "list": ("local, aci", ("local", "aci")),
    "number": ("12.5", 12.5),
    "whole": ("20", 20),
    "switch": ("yes", True),
}


def spoken(setting: Setting, layers: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {layer: values[layer] for layer in layers if layer != "environ"}
    arguments["environ"] = {setting.variable: str(values["environ"])} if "environ" in layers else {}
    return arguments


@pytest.mark.parametrize("size", range(len(LAYERS) + 1))
def test_the_first_that_says_something_wins(size: int) -> None:
    setting = SETTINGS["timeout"]
    values = {layer: number for number, layer in enumerate(LAYERS, start=1)}
    for layers in itertools.combinations(LAYERS, size):
        arguments = spoken(setting, layers, values)
        assert resolve("timeout", **arguments) == (float(values[layers[0]]) if layers else 300.0)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_setting_from_every_place(name: str, layer: str) -> None:
    setting = SETTINGS[name]
    text, value = EXAMPLES[setting.kind]
    if setting.choices:
        text = value = setting.choices[-1]
    assert resolve(name, **spoken(setting, (layer,), {layer: text})) == value


@pytest.mark.parametrize("layer", LAYERS)
def test_who_said_what_is_wrong_is_told(layer: str) -> None:
    with pytest.raises(ConfigException) as caught:
        resolve("timeout", **spoken(SETTINGS["timeout"], (layer,), {layer: "soon"}))
    assert caught.value.where == LAYERS[layer]


@pytest.mark.parametrize("nothing", [None, "", [], ()])
def test_nothing_said_is_nothing_said(nothing: Any) -> None:
    environ = {"MLDEPLOY_WORKSPACE": ""}
    assert resolve("workspace", flag=nothing, mark=nothing, environ=environ, ini=nothing, file="ws") == "ws"


def test_false_and_zero_are_said() -> None:
    assert resolve("offline", flag=False, environ={}, ini="true") is False
    with pytest.raises(ConfigException, match="a number above 0"):
        resolve("timeout", flag=0, environ={}, ini=5)


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDEPLOY_TARGET", "aci aks aci")
    assert resolve("target") == ("aci", "aks")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "soon"),
        ("timeout", "-1"),
        ("timeout", "inf"),
        ("timeout", "nan"),
        ("timeout", True),
        ("timeout", [1]),
        ("scoring_timeout_ms", "1.5"),
        ("scoring_timeout_ms", 1.5),
        ("scoring_timeout_ms", True),
        ("scoring_timeout_ms", 0),
        ("offline", "maybe"),
        ("offline", 1),
        ("engine", "podman"),
        ("engine", 5),
        ("target", " , "),
        ("target", [5]),
        ("nan", "zero"),
        ("contract", "loose"),
        ("serving", "flask"),
        ("request_log", "xml"),
        ("worker_count", 0),
        ("scoring_grace_ms", "-1"),
        ("metrics", "perhaps"),
    ],
)
def test_what_is_no_value_of_a_setting(name: str, value: Any) -> None:
    with pytest.raises(ConfigException, match=f"'{name}' expected") as caught:
        resolve(name, mark=value, environ={})
    assert caught.value.where == f"pytest.mark.mldeploy({name}=…)"


@pytest.mark.parametrize("name", SETTINGS)
def test_what_nobody_says_is_told_from_the_default(name: str) -> None:
    setting = SETTINGS[name]
    assert said(name, environ={}) is None
    if setting.default:
        assert said(name, environ={}, file=setting.default) == setting.default


def test_the_losing_places_are_not_looked_at() -> None:
    assert resolve("engine", flag="process", environ={"MLDEPLOY_ENGINE": "nonsense"}) == "process"


def test_defaults_are_values_of_their_settings() -> None:
    for setting in SETTINGS.values():
        if setting.default:
            assert resolve(setting.name, flag=setting.default, environ={}) == setting.default


def test_the_table_costs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import mldeploy.config.settings; "
        "heavy = {'pydantic', 'yaml', 'numpy', 'sqlalchemy', 'rich'} & (set(sys.modules) - before); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
