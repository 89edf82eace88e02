"""The entry script: found, imported, and its `init()` and `run()` checked against the contract's rules.

The rules for signatures are azureml-inference-server-http 1.5.1's, so are the words in which they are told.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.worker.logs import LOGGER, describe, entries, in_users_code, told

MODULE_NAME = "entry_module"  # pickles and inference-schema's tables know the script by this name
_SPAWNED = Path(__file__).with_name("spawned")  # where the processes it spawns find it under that name
_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class Script:
    """An entry script that may be served.

    Args:
        init: Called once.
        run: Called for every request.
        parameters: The parameters of `run`, without `request_headers`.
        wants_headers: `run` has a parameter `request_headers`.
        decorated: `run` has `@input_schema` or `@output_schema`.
        raw: `run` has `@rawhttp`.
    """

    init: Callable[[], Any]
    run: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]
    wants_headers: bool
    decorated: bool
    raw: bool


def load(settings: Settings) -> Script:
    """Import the entry script.

    The app root becomes importable, the source directory in it and the script's own folder too: the documents
    show entry scripts that expect either.

    Raises:
        StartError: There is no such file, it cannot be imported, or `init` or `run` is missing or breaks a rule.
    """
    path = _find(settings)
    source = settings.app_root / settings.source_directory
    for folder in (settings.app_root, source, path.parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    if str(_SPAWNED) not in sys.path:
        sys.path.append(str(_SPAWNED))
    module = _import(path)
    for name in ("init", "run"):
        if not callable(getattr(module, name, None)):
            raise StartError(f"User script at {path} does not have a {name}() function defined.")
    LOGGER.info("Found user script at %s", path)
    return _check(module.init, _behind_a_driver(module).run)


def _behind_a_driver(module: ModuleType) -> ModuleType:
    """The module whose `run` counts: SDK v1 put scripts of its own around those of users, and said so in this name."""
    driven = getattr(module, "driver_module", None)
    return driven if isinstance(driven, ModuleType) and hasattr(driven, "run") else module


def start(script: Script) -> None:
    """Call `init()`.

    Raises:
        StartError: It raised something, `SystemExit` included.
    """
    LOGGER.info("Invoking user's init function")
    try:
        result = script.init()
        if inspect.isawaitable(result):
            from mldeploy_serving.worker.awaiting import wait_for

            wait_for(result)
    except BaseException as error:
        LOGGER.error("User's init function failed\n%s", describe(error))
        raise StartError(f"init() failed: {_short(error)}") from error
    LOGGER.info("User's init has completed successfully")


def _find(settings: Settings) -> Path:
    """`AZUREML_ENTRY_SCRIPT` is relative to the app root in one document, to the source directory in the other."""
    places = [settings.app_root / settings.entry_script]
    if settings.source_directory:
        places.append(settings.app_root / settings.source_directory / settings.entry_script)
    for place in places:
        if place.is_file():
            return place
    raise StartError(f"No score script found. Expected it at {' or '.join(map(str, places))}.")


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise StartError(f"The entry script {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        LOGGER.error("The entry script could not be imported\n%s", describe(error))
        raise StartError(f"The entry script {path.name} could not be imported: {_short(error)}") from error
    return module


def _short(error: BaseException) -> str:
    """`ValueError: text (score.py, line 3)`, with the innermost line of the user's own code."""
    text = told(error)
    if isinstance(error, SyntaxError):
        return text
    where = [entry for entry in entries(error.__traceback__) if in_users_code(entry)]
    if not where:
        return text
    first = where[0].tb_frame.f_code.co_filename
    last = [entry for entry in where if entry.tb_frame.f_code.co_filename == first][-1]
    return f"{text} ({Path(first).name}, line {last.tb_lineno})"


def _check(init: Callable[[], Any], run: Callable[..., Any]) -> Script:
    needed = [each.name for each in _signature(init, "init") if _is_needed(each)]
    if needed:
        raise StartError(f"init() cannot need arguments; it asks for {', '.join(needed)}.")
    parameters = _signature(run, "run")
    if any(each.kind not in _NAMED for each in parameters):
        raise StartError("run() cannot accept positional-only arguments, *args, or **kwargs.")
    others = tuple(each for each in parameters if each.name != "request_headers")
    wants_headers = len(others) < len(parameters)
    if not others:
        missing = 'other than "request_headers"' if wants_headers else "for input data"
        raise StartError(f"run() needs to accept an argument {missing}.")
    decorated, raw = _is_decorated(run), _is_raw()
    if decorated and raw:
        raise StartError("run() cannot be decorated with both @rawhttp and @input_schema")
    LOGGER.info("run() is invoked with %s", _invocation(others, decorated, raw))
    return Script(init, run, others, wants_headers, decorated, raw)


def _signature(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise StartError(f"{name}() has no signature that can be read: {error}") from error


def _is_needed(parameter: inspect.Parameter) -> bool:
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return parameter.default is inspect.Parameter.empty and parameter.kind not in optional


def _is_decorated(run: Callable[..., Any]) -> bool:
    schema_util = sys.modules.get("inference_schema.schema_util")
    return schema_util is not None and bool(schema_util.is_schema_decorated(run))


def _is_raw() -> bool:
    """Whether the decorator was used at all: that, and not on which function, is what counts in the contract."""
    aml_request = sys.modules.get("mldeploy_serving.entry.aml_request")
    return aml_request is not None and bool(aml_request.raw_requested)


def _invocation(parameters: tuple[inspect.Parameter, ...], decorated: bool, raw: bool) -> str:
    if raw:
        return "the request object (@rawhttp)."
    if decorated:
        return f"these arguments (@input_schema): {', '.join(each.name for each in parameters)}."
    return "the input as text (not decorated)."
