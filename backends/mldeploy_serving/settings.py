"""What is read from environment variables (names and defaults: azureml-inference-server-http 1.5.1).

Those that are not set there may stand in a JSON file, under the same names: the one that `AZUREML_CONFIG_FILE` says,
else `config.json` in the app root, else beside the entry script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mldeploy_serving import __version__

BODY_LIMIT_BYTES = 100 * 1024 * 1024  # what v1's front end let through


class StartError(Exception):
    """The service cannot start; the text says why, in one line."""


@dataclass(frozen=True)
class Settings:
    """A service's settings.

    Args:
        app_root: The working directory; model folders, source and swagger files are below it.
        entry_script: Absolute, or relative to `app_root`.
        source_directory: A folder below `app_root` that is on `sys.path` too.
        scoring_timeout_ms: How long `run()` may take; 0 is for ever.
        scoring_grace_ms: How long it may take on after that until its worker is replaced.
        worker_count: How many processes have the script, each with one `run()` at a time.
        worker_timeout: Seconds after which a worker that is still in `run()` is replaced; 0 is for ever.
        worker_preload: `init()` is called once, and workers are forked after it.
        health_port: A second port, which answers the same; None has none.
        debug_port: Where debugpy waits for a debugger before the script is imported; None does not.
        debug_host: The address that it listens on.
        contract: `compatible`, `strict` or `v1`: what is answered to requests that do not fit.
        nan_as_null: NaN and Infinity in an answer become `null`.
        service_name: Title of the swagger documents.
        service_version: Version in the swagger documents.
        service_path_prefix: Put before the paths in the swagger documents; routes do not move.
        cors_origins: Origins that browsers may call from.
        server_version: The `x-ms-server-version` header; empty leaves it out.
        metrics: `GET /metrics` is answered, in Prometheus' format.
        request_log: A line a request, as `text` or as `json`.
    """

    app_root: Path
    entry_script: str = "main.py"
    source_directory: str = ""
    scoring_timeout_ms: int = 3_600_000
    scoring_grace_ms: int = 5_000
    worker_count: int = 1
    worker_timeout: int = 300
    worker_preload: bool = False
    health_port: int | None = None
    debug_port: int | None = None
    debug_host: str = "127.0.0.1"
    contract: str = "compatible"
    nan_as_null: bool = False
    service_name: str = "ML service"
    service_version: str = "1.0"
    service_path_prefix: str = ""
    cors_origins: tuple[str, ...] = ()
    server_version: str = f"mldeploy/{__version__}"
    metrics: bool = False
    request_log: str = "text"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check them.

        Raises:
            StartError: A value is not allowed, or the file with them cannot be read.

        Examples:
            >>> Settings.read({"SCORING_TIMEOUT_MS": "250"}).scoring_timeout_ms
            250
        """
        app_root = Path(environ.get("AML_APP_ROOT") or ".").absolute()
        said = {**_from_file(app_root, environ), **environ}
        origins = (origin.strip() for origin in said.get("AML_CORS_ORIGINS", "").split(","))
        shows_version = _switch(said, "SERVER_VERSION_LOG_RESPONSE_ENABLED", True)
        settings = cls(
            app_root=app_root,
            entry_script=said.get("AZUREML_ENTRY_SCRIPT") or cls.entry_script,
            source_directory=said.get("AZUREML_SOURCE_DIRECTORY", ""),
            scoring_timeout_ms=_whole(said, "SCORING_TIMEOUT_MS", cls.scoring_timeout_ms),
            scoring_grace_ms=_whole(said, "MLDEPLOY_SCORING_GRACE_MS", cls.scoring_grace_ms),
            worker_count=_whole(said, "WORKER_COUNT", cls.worker_count, least=1),
            worker_timeout=_whole(said, "WORKER_TIMEOUT", cls.worker_timeout),
            worker_preload=_switch(said, "WORKER_PRELOAD", False),
            health_port=_port(said, "HEALTH_PORT", 5000) if _switch(said, "SEPERATE_HEALTH_ENDPOINT", False) else None,
            debug_port=_port(said, "AZUREML_DEBUG_PORT", None),
            debug_host=said.get("MLDEPLOY_DEBUG_HOST") or cls.debug_host,
            contract=_choice(said, "MLDEPLOY_CONTRACT", ("compatible", "strict", "v1")),
            nan_as_null=_choice(said, "MLDEPLOY_NAN", ("bare", "null")) == "null",
            service_name=said.get("SERVICE_NAME", cls.service_name),
            service_version=said.get("SERVICE_VERSION", cls.service_version),
            service_path_prefix=said.get("SERVICE_PATH_PREFIX", ""),
            cors_origins=tuple(sorted(origin for origin in origins if origin)),
            server_version=said.get("HTTP_X_MS_SERVER_VERSION", cls.server_version) if shows_version else "",
            metrics=_switch(said, "MLDEPLOY_METRICS", False),
            request_log=_choice(said, "MLDEPLOY_REQUEST_LOG", ("text", "json")),
        )
        if settings.nan_as_null and settings.contract == "v1":
            raise StartError("MLDEPLOY_NAN=null does not go with MLDEPLOY_CONTRACT=v1, which writes NaN as it is")
        if settings.debug_port and (settings.worker_count > 1 or settings.worker_preload):
            raise StartError("AZUREML_DEBUG_PORT goes with one worker only, and not with WORKER_PRELOAD")
        return settings


def _from_file(app_root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    named = environ.get("AZUREML_CONFIG_FILE")
    beside = app_root / Path(environ.get("AZUREML_ENTRY_SCRIPT", "")).parent
    places = [app_root / named] if named else [app_root / "config.json", beside / "config.json"]
    for path in places:
        if path.is_file():
            try:
                found = json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                raise StartError(f"The configuration {path} cannot be read: {error}") from error
            if not isinstance(found, dict):
                raise StartError(f"The configuration {path} is not a JSON object of environment variables")
            return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    if named:
        raise StartError(f"The configuration {places[0]} does not exist (AZUREML_CONFIG_FILE)")
    return {}


def _choice(said: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = said.get(name) or choices[0]
    if value not in choices:
        raise StartError(f"{name}={value} is unknown; it is one of {', '.join(choices)}")
    return value


def _switch(said: Mapping[str, str], name: str, default: bool) -> bool:
    return said.get(name, str(default)).lower() == "true"


def _whole(said: Mapping[str, str], name: str, default: int, least: int = 0) -> int:
    value = _number(name, said.get(name, str(default)))
    if value < least:
        raise StartError(f"{name}={value} is less than {least}")
    return value


def _port(said: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = said.get(name)
    if not text:
        return default
    value = _number(name, text)
    if not 0 < value <= 65535:
        raise StartError(f"{name}={text} is not a port from 1 to 65535")
    return value


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise StartError(f"{name}={text} is not a whole number") from None
