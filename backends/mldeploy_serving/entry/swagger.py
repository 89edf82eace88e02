"""`/swagger.json`: the service's OpenAPI documents, from `inference-schema`'s decorators or the user's own files.

The documents are compared by clients, so their wording is azureml-inference-server-http 1.5.1's (MIT licence,
Copyright (c) Microsoft Corporation).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mldeploy_serving.http.swagger import NAMES, supported
from mldeploy_serving.messages import to_json
from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.worker.logs import LOGGER

# the user's files that replace a version's document, the first first
_FILES = {"2": ("swagger.json", "swagger2.json"), "3": ("swagger3.json",), "3.1": ("swagger3.1.json",)}
_UNDECORATED = {"type": "object", "example": {}}
_TEMPLATES = Path(__file__).with_name("swagger_templates.json")


def documents(run: Callable[..., Any], settings: Settings) -> dict[str, bytes]:
    """The documents of one service, by the versions they may be asked for by.

    Args:
        run: The entry script's function.
        settings: Names and prefix in the documents; the app root, where the user's files are.

    Raises:
        StartError: A file of the user's is not JSON.
    """
    made: dict[str, bytes] = {}
    possible = _possible_versions(run)
    for version, names in NAMES.items():
        document = _users_own(settings.app_root, _FILES[version])
        if document is None and possible & set(names):
            document = _document(version, run, settings)
        if document is not None:
            made.update(dict.fromkeys(names, to_json(document)))
    LOGGER.info("Swaggers are prepared for the following versions: [%s].", supported(made))
    return made


def _users_own(app_root: Path, files: tuple[str, ...]) -> Any:
    """The first that is there and says anything."""
    for name in files:
        path = app_root / name
        if path.is_file():
            try:
                document = json.loads(path.read_bytes())
            except ValueError as error:
                raise StartError(f"{path} is not JSON: {error}") from error
            if document:
                LOGGER.info("Loaded the swagger document %s", path)
                return document
    return None


def _document(version: str, run: Callable[..., Any], settings: Settings) -> Any:
    template = json.loads(_TEMPLATES.read_text(encoding="utf-8"))["2" if version == "2" else "3"]
    prefix = settings.service_path_prefix.strip("/")
    for name in ("title", "description"):
        template["info"][name] = template["info"][name].replace("$SERVICE_NAME$", settings.service_name)
    template["info"]["version"] = settings.service_version
    template["paths"] = {f"/{prefix}{path}" if prefix else path: item for path, item in template["paths"].items()}
    schemas = template["definitions"] if version == "2" else template["components"]["schemas"]
    schemas["ServiceInput"], schemas["ServiceOutput"] = _schemas(run)
    if version == "3.1":
        template["openapi"] = "3.1.0"
    return template


def _schemas(run: Callable[..., Any]) -> tuple[Any, Any]:
    schema_util = sys.modules.get("inference_schema.schema_util")
    if schema_util is None or not schema_util.is_schema_decorated(run):
        return _UNDECORATED, _UNDECORATED
    return schema_util.get_input_schema(run), schema_util.get_output_schema(run)


def _possible_versions(run: Callable[..., Any]) -> set[str]:
    """Not every sample can be described in every version: OpenAPI 2 has no arrays of mixed types."""
    schema_util = sys.modules.get("inference_schema.schema_util")
    if schema_util is None:
        return {name for names in NAMES.values() for name in names}
    return set(schema_util.get_supported_versions(run))
