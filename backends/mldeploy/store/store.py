"""A workspace's tables and files together: what the other rooms record in and read from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mldeploy.errors import WorkspaceException
from mldeploy.store import tables
from mldeploy.store.catalog import Details
from mldeploy.store.environments import EnvironmentTable, LockTable
from mldeploy.store.models import ModelTable
from mldeploy.store.services import ServiceTable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import ColumnElement

    from mldeploy.store.catalog import Identity
    from mldeploy.store.database import Database
    from mldeploy.store.files import Files


class Store:
    """One workspace's records and files.

    Args:
        database: The registry that has the workspace.
        workspace_id: Its row.
        files: Where models' bytes are.
        services_folder: As below.

    Attributes:
        services: The services.
        environments: The registered environments.
        locks: The environments' locks.
        models: The registered models.
        files: Content-addressed files.
        services_folder: Where this machine lays out the workspace's running services, one folder for each.
    """

    def __init__(self, database: Database, workspace_id: int, files: Files, services_folder: Path) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self.files = files
        self.services_folder = services_folder
        self.services = ServiceTable(database, workspace_id)
        self.environments = EnvironmentTable(database, workspace_id)
        self.locks = LockTable(database, workspace_id)
        self.models = ModelTable(database, workspace_id, files)

    def details(self) -> Details:
        """What is known of the workspace beside its identity."""
        table = tables.workspaces
        query = select(table.c.location, table.c.friendly_name, table.c.tags, table.c.created_time)
        with self._database.read() as connection:
            return Details(*connection.execute(query.where(table.c.id == self._workspace_id)).one())


def workspace_row(identity: Identity, details: Details) -> dict[str, Any]:
    """A new workspace's row; its creation time is now."""
    return {
        **asdict(identity),
        "location": details.location,
        "friendly_name": details.friendly_name,
        "tags": details.tags,
        "created_time": datetime.now(timezone.utc),
    }


def find_workspace(database: Database, identity: Identity) -> int:
    """The row of a workspace.

    Args:
        database: The registry.
        identity: The workspace.

    Returns:
        Its `id`.

    Raises:
        WorkspaceException: There is none.
    """
    with database.read() as connection:
        found: int | None = connection.execute(select(tables.workspaces.c.id).where(*same(identity))).scalar()
    if found is None:
        raise WorkspaceException(f"workspace {identity.name} is not recorded there", where=database.shown)
    return found


def same(identity: Identity) -> tuple[ColumnElement[bool], ...]:
    """The conditions that pick out a workspace's row."""
    table = tables.workspaces
    return (
        table.c.subscription_id == identity.subscription_id,
        table.c.resource_group == identity.resource_group,
        table.c.name == identity.name,
    )
