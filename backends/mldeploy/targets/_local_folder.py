"""An instance's own folder on this machine: what it has of the package there, on either engine."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from mldeploy.errors import WebserviceException
from mldeploy.packaging.source import MODELS_FOLDER
from mldeploy.targets._protocol import Deployment

MARK = "container.json"
"""The file in it that says that it is a container's, not a process's."""

_FOLDER = 0o755


def instance(deployment: Deployment) -> Path:
    """A folder for a new instance, which is not made yet; its name is like no other."""
    return deployment.folder / uuid.uuid4().hex[:12]


def lay_out(deployment: Deployment, app_root: Path) -> None:
    """Write source and models below `app_root`.

    Raises:
        WebserviceException: The disk is full, or a file cannot be read.
    """
    try:
        deployment.package.lay_out(app_root)
    except OSError as error:
        raise _failed(deployment, app_root, error) from error


def hand_over(deployment: Deployment, app_root: Path, uid: int) -> None:
    """Give what was laid out to a container's user; the models, which are the store's own files, stay as they are.

    Raises:
        WebserviceException: The file system does not have owners.
    """
    try:
        for here, folders, files in os.walk(app_root):
            if here == str(app_root) and MODELS_FOLDER in folders:
                folders.remove(MODELS_FOLDER)
            for name in (".", *folders, *files):
                os.chown(Path(here, name), uid, uid, follow_symlinks=False)
        for here, _, _ in os.walk(app_root / MODELS_FOLDER):
            Path(here).chmod(_FOLDER)
    except OSError as error:
        raise _failed(deployment, app_root, error) from error


def variables(deployment: Deployment, app_root: str) -> dict[str, str]:
    """The environment variables of a service.

    Args:
        deployment: What is asked for.
        app_root: Its folder, as its process sees it.
    """
    return {
        **deployment.package.server_variables(app_root, deployment.serving),
        "SERVICE_NAME": deployment.service,
        "WORKSPACE_NAME": deployment.workspace,
    }


def _failed(deployment: Deployment, app_root: Path, error: OSError) -> WebserviceException:
    return WebserviceException(
        f"the files of service {deployment.service} cannot be laid out",
        where=str(app_root),
        reason=f"{error.strerror}: {error.filename}" if error.filename else str(error),
        hint="make room there, or put MLDEPLOY_STORE on a larger disk"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}
        else "see that the one can be read and the other written",
    )
