"""The five places a package can be deployed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mldeploy.errors import ComputeTargetException

if TYPE_CHECKING:
    from mldeploy.targets._protocol import Target

TARGETS = ("local", "aci", "aks", "edge", "fpga")
BUILT = ("local",)


def target_for(compute_type: str) -> Target:
    """The target that deploys to a compute type.

    Args:
        compute_type: As in `deploymentconfig.json`, in any case: `local`, `ACI`, `AKS`, …

    Raises:
        ComputeTargetException: This version has no such target.
    """
    if compute_type.lower() == "local":
        from mldeploy.targets.local import LocalTarget

        return LocalTarget()
    raise ComputeTargetException(
        f"this version cannot deploy to {compute_type}",
        reason=f"built so far: {', '.join(BUILT)}; to come: {', '.join(sorted(set(TARGETS) - set(BUILT)))}",
        hint="use 'computeType': 'local', or leave out the deployment configuration",
    )
