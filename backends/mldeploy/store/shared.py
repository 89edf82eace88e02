"""A team's workspaces: rows of one PostgreSQL database, and files at one fsspec location for all of them."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from mldeploy.store import schema
from mldeploy.store.catalog import Details, Identity
from mldeploy.store.database import postgres
from mldeploy.store.files import Files
from mldeploy.store.local_files import LocalFiles
from mldeploy.store.places import DatabaseStore, data_root, local_folder
from mldeploy.store.store import Store, find_workspace, same, workspace_row
from mldeploy.store.tables import workspaces


class SharedCatalog:
    """The workspaces in a database. Its schema is brought up to date when this is made.

    Args:
        location: Where.

    Raises:
        WorkspaceException: An extra is missing, the database cannot be reached, or a newer mldeploy wrote it.
    """

    def __init__(self, location: DatabaseStore) -> None:
        self._location = location
        self.shown = location.shown
        self._database = postgres(location.url, location.shown)
        schema.prepare(self._database)

    def identities(self) -> list[Identity]:
        """See `Catalog`."""
        query = select(workspaces.c.subscription_id, workspaces.c.resource_group, workspaces.c.name)
        with self._database.read() as connection:
            return sorted(Identity(*row) for row in connection.execute(query))

    def create(self, identity: Identity, details: Details) -> bool:
        """See `Catalog`."""
        made = insert(workspaces).values(workspace_row(identity, details)).on_conflict_do_nothing()
        with self._database.write() as connection:
            return connection.execute(made.returning(workspaces.c.id)).first() is not None

    def open(self, identity: Identity) -> Store:
        """See `Catalog`."""
        workspace_id = find_workspace(self._database, identity)
        services_folder = data_root() / "services" / identity.folder_name(self.shown)
        return Store(self._database, workspace_id, self._files(), services_folder)

    def delete(self, identity: Identity) -> None:
        """See `Catalog`. The files stay till `gc`: other workspaces may have the same ones."""
        with self._database.write() as connection:
            connection.execute(delete(workspaces).where(*same(identity)))

    def _files(self) -> Files:
        folder = local_folder(self._location.files)
        if folder is not None:
            return LocalFiles(folder)
        from mldeploy.store.remote_files import RemoteFiles

        return RemoteFiles.at(self._location.files)
