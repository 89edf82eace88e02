"""`Model.get_model_path`, as entry scripts call it, and the exceptions it raises.

Rules: azureml-core 1.61's, as observed: `azureml-models/<name>/<version>/` below the app root, and failing that
`<name>` itself. `AZUREML_MODEL_DIR` is not looked at.
"""

from __future__ import annotations

import os
from pathlib import Path

_MODELS = "azureml-models"


class AzureMLException(Exception):
    """The root of Azure ML's exceptions; `message` is the text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UserErrorException(AzureMLException):
    """An argument that the caller has to change."""


class ModelNotFoundException(AzureMLException):
    """There is no such model in this service."""


class WebserviceException(AzureMLException):
    """There is no such version of the model in this service."""


class Model:
    """The part of `azureml.core.model.Model` that has a meaning inside a service."""

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: object = None) -> str:
        """The path of a deployed model's file or folder, relative to the app root.

        Args:
            model_name: The name it was registered under.
            version: Its version; None is the highest there is.
            _workspace: Not used inside a service.

        Raises:
            ModelNotFoundException: There is no such model.
            WebserviceException: There is no such version, or what is there is not one file or one folder.
        """
        for root in (Path(), Path(os.environ.get("AML_APP_ROOT", "."))):
            versions = root / _MODELS / model_name
            if versions.is_dir():
                return str(_only_entry(versions, _version(versions, version)))
            if version is None and (root / model_name).exists():
                return str(root / model_name)
        if version is not None:
            raise WebserviceException(f"Model {model_name} with version {version} is not in this service.")
        raise ModelNotFoundException(
            f"Model {model_name} is not in this service: there is neither {_MODELS}/{model_name} nor {model_name} "
            f"in {Path.cwd()}."
        )


def _version(versions: Path, wanted: int | None) -> str:
    there = sorted((int(each.name) for each in versions.iterdir() if each.name.isdigit()), reverse=True)
    if wanted is None and there:
        return str(there[0])
    if wanted in there:
        return str(wanted)
    listed = ", ".join(map(str, there)) or "none"
    raise WebserviceException(f"Model {versions.name} has no version {wanted} in this service; there are: {listed}.")


def _only_entry(versions: Path, version: str) -> Path:
    folder = versions / version
    entries = sorted(each for each in folder.iterdir())
    if len(entries) != 1:
        raise WebserviceException(f"{folder} holds {len(entries)} files and folders; exactly one is expected.")
    return entries[0]
