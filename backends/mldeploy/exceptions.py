"""`azureml.exceptions` under mldeploy's name: only the first word of an import changes."""

from mldeploy.errors import (
    AzureMLException,
    ComputeTargetException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
    WorkspaceException,
)

__all__ = [
    "AzureMLException",
    "ComputeTargetException",
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "UserErrorException",
    "WebserviceException",
    "WorkspaceException",
]
