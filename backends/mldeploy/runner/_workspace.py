"""Which workspace a command works in: the flags or the setting, else a project's config.json, else `default`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.errors import UserErrorException
from mldeploy.events import Report
from mldeploy.runner._settings import in_file

if TYPE_CHECKING:
    from mldeploy.workspace import Workspace


@dataclass(frozen=True)
class Where:
    """What the flags say of a workspace.

    Args:
        name: `-w`.
        resource_group: `-g`.
        subscription_id: `--subscription-id`.
        path: `--path`, the project's folder; the search for its config.json goes on in the folders above.
    """

    name: str | None = None
    resource_group: str | None = None
    subscription_id: str | None = None
    path: Path = Path()


def find(where: Where, report: Report) -> Workspace:
    """Open the workspace; one that a config.json names, and `default`, are made at first use.

    Args:
        where: What was typed.
        report: Told when a workspace is made.

    Raises:
        WorkspaceException: `-w` names none that is here.
        UserErrorException: `-g` or `--subscription-id` without `-w`, or a config.json that is none.
    """
    from mldeploy.config.settings import resolve
    from mldeploy.workspace import Workspace

    name = resolve("workspace", flag=where.name, file=in_file(where.path).get("workspace"))
    if name:
        return Workspace.get(name, subscription_id=where.subscription_id, resource_group=where.resource_group)
    if where.resource_group or where.subscription_id:
        raise UserErrorException(
            "which workspace of that resource group and subscription is meant?",
            hint="give its name too: -w NAME; `mldeploy workspace list` shows what is there",
        )
    if is_configured(where.path):
        return Workspace.from_config(where.path, report=report)
    return Workspace.default(report)


def is_configured(folder: Path) -> bool:
    """Whether a config.json of a workspace stands in a folder or above it."""
    from mldeploy.workspace import CONFIG_PLACES

    start = folder.resolve()
    return any((above / place).is_file() for above in (start, *start.parents) for place in CONFIG_PLACES)
