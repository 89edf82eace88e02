"""Azure Machine Learning v1's deployments as a library: register, describe, deploy, wait, score, update, delete.

The names are `azureml.core`'s, with v1's parameters: `from azureml.core import …` becomes
`from mldeploy import …` and the rest of a script stays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

VERSION: str  # v1's scripts print it

if TYPE_CHECKING:
    from mldeploy.conda_dependencies import CondaDependencies
    from mldeploy.environment import Environment
    from mldeploy.inference_config import InferenceConfig
    from mldeploy.model import Model
    from mldeploy.resource_configuration import ResourceConfiguration
    from mldeploy.webservice import AciWebservice, AksEndpoint, AksWebservice, LocalWebservice, Webservice
    from mldeploy.workspace import Workspace

_HOMES = {
    "AciWebservice": "mldeploy.webservice",
    "AksEndpoint": "mldeploy.webservice",
    "AksWebservice": "mldeploy.webservice",
    "CondaDependencies": "mldeploy.conda_dependencies",
    "Environment": "mldeploy.environment",
    "InferenceConfig": "mldeploy.inference_config",
    "LocalWebservice": "mldeploy.webservice",
    "Model": "mldeploy.model",
    "ResourceConfiguration": "mldeploy.resource_configuration",
    "Webservice": "mldeploy.webservice",
    "Workspace": "mldeploy.workspace",
}

__all__ = [
    "VERSION",
    "AciWebservice",
    "AksEndpoint",
    "AksWebservice",
    "CondaDependencies",
    "Environment",
    "InferenceConfig",
    "LocalWebservice",
    "Model",
    "ResourceConfiguration",
    "Webservice",
    "Workspace",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a database library alone costs half a second."""
    if name == "VERSION":
        from importlib.metadata import version

        return version("pytest-mldeploy")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mldeploy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
