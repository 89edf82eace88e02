"""`azureml.core.compute` under mldeploy's name.

Local deployments need no compute target, and no other target is built yet: asking for one says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mldeploy.errors import ComputeTargetException

if TYPE_CHECKING:
    from mldeploy.workspace import Workspace


class ComputeTarget:
    """A place that services go to, by its name in the workspace.

    Raises:
        ComputeTargetException: Always in this version: a workspace has no compute targets yet.
    """

    def __new__(cls, workspace: Workspace, name: str) -> NoReturn:
        """Look the name up."""
        raise ComputeTargetException(
            f"ComputeTargetNotFound: Compute Target with name {name} not found in provided workspace",
            where=f"workspace {workspace.name}",
            reason="compute targets come with the AKS target; local deployments need none",
            hint="leave out the deployment target",
        )


class AksCompute(ComputeTarget):
    """A Kubernetes cluster as a compute target."""
