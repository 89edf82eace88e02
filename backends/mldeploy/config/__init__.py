"""Config files: `inferenceconfig.json`, `deploymentconfig.json`, `mldeploy.toml`, and the settings.

Everything is imported when first used: `mldeploy.config.settings` costs no pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldeploy.config.checking import check
    from mldeploy.config.deployment import DeploymentConfiguration
    from mldeploy.config.deployment_file import load_deployment_config
    from mldeploy.config.environment import EnvironmentDefinition
    from mldeploy.config.findings import Finding
    from mldeploy.config.harness import HarnessConfig, load_harness
    from mldeploy.config.inference import load_inference_config
    from mldeploy.config.schemas import json_schema

_HOME = {
    "DeploymentConfiguration": "deployment",
    "EnvironmentDefinition": "environment",
    "Finding": "findings",
    "HarnessConfig": "harness",
    "check": "checking",
    "json_schema": "schemas",
    "load_deployment_config": "deployment_file",
    "load_harness": "harness",
    "load_inference_config": "inference",
}

__all__ = [
    "DeploymentConfiguration",
    "EnvironmentDefinition",
    "Finding",
    "HarnessConfig",
    "check",
    "json_schema",
    "load_deployment_config",
    "load_harness",
    "load_inference_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
