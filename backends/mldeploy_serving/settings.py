"""What the worker reads from its environment variables (names and defaults: azureml-inference-server-http 1.5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mldeploy_serving import __version__

BODY_LIMIT_BYTES = 100 * 1024 * 1024  # what v1's front end let through


class StartError(Exception):
    """The service cannot start; the text says why, in one line."""


@dataclass(frozen=True)
class Settings:
    """One worker's settings.

    Args:
        app_root: The working directory; model folders, source and swagger files are below it.
        entry_script: Absolute, or relative to `app_root`.
        source_directory: A folder below `app_root` that is on `sys.path` too.
        scoring_timeout_ms: How long `run()` may take; 0 is for ever.
        nan_as_null: NaN and Infinity in an answer become `null`; else the bare tokens, as json.dumps writes.
        service_name: Title of the swagger documents.
        service_version: Version in the swagger documents.
        service_path_prefix: Put before the paths in the swagger documents; routes do not move.
        cors_origins: Origins that browsers may call from.
        server_version: The `x-ms-server-version` header; empty leaves it out.
    """

    app_root: Path
    entry_script: str = "main.py"
    source_directory: str = ""
    scoring_timeout_ms: int = 3_600_000
    nan_as_null: bool = False
    service_name: str = "ML service"
    service_version: str = "1.0"
    service_path_prefix: str = ""
    cors_origins: tuple[str, ...] = ()
    server_version: str = f"mldeploy/{__version__}"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check them.

        Raises:
            StartError: A value is not allowed.

        Examples:
            >>> Settings.read({"SCORING_TIMEOUT_MS": "250"}).scoring_timeout_ms
            250
        """
        _refuse_unknown_choices(environ)
        origins = (origin.strip() for origin in environ.get("AML_CORS_ORIGINS", "").split(","))
        shows_version = environ.get("SERVER_VERSION_LOG_RESPONSE_ENABLED", "true").lower() == "true"
        return cls(
            app_root=Path(environ.get("AML_APP_ROOT") or ".").absolute(),
            entry_script=environ.get("AZUREML_ENTRY_SCRIPT") or cls.entry_script,
            source_directory=environ.get("AZUREML_SOURCE_DIRECTORY", ""),
            scoring_timeout_ms=_milliseconds(environ.get("SCORING_TIMEOUT_MS", str(cls.scoring_timeout_ms))),
            nan_as_null=environ.get("MLDEPLOY_NAN") == "null",
            service_name=environ.get("SERVICE_NAME", cls.service_name),
            service_version=environ.get("SERVICE_VERSION", cls.service_version),
            service_path_prefix=environ.get("SERVICE_PATH_PREFIX", ""),
            cors_origins=tuple(sorted(origin for origin in origins if origin)),
            server_version=environ.get("HTTP_X_MS_SERVER_VERSION", cls.server_version) if shows_version else "",
        )


def _refuse_unknown_choices(environ: Mapping[str, str]) -> None:
    contract = environ.get("MLDEPLOY_CONTRACT", "compatible")
    if contract in {"strict", "v1"}:
        raise StartError(f"MLDEPLOY_CONTRACT={contract} comes with a later version; this one has 'compatible'")
    if contract != "compatible":
        raise StartError(f"MLDEPLOY_CONTRACT={contract} is unknown; this version has 'compatible'")
    nan = environ.get("MLDEPLOY_NAN", "bare")
    if nan not in {"bare", "null"}:
        raise StartError(f"MLDEPLOY_NAN={nan} is unknown; it is 'bare' or 'null'")


def _milliseconds(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise StartError(f"SCORING_TIMEOUT_MS={text} is not a whole number") from None
    if value < 0:
        raise StartError(f"SCORING_TIMEOUT_MS={text} is less than 0 (0 is no limit)")
    return value
