"""A team's workspaces: rows of one PostgreSQL database, and files at one fsspec location for all of them."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from mldeploy.store import schema
from mldeploy.store.catalog import Details, Identity
from mldeploy.store.database import postgres
from mldeploy.store.files import Files
from mldeploy.store.local_files import LocalFiles
from mldeploy.store.places import DatabaseStore, local_folder
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
        row = workspace_row(identity, details)
        with self._database.write() as connection:
            return connection.execute(insert(workspaces).values(row).on_conflict_do_nothing()).rowcount > 0

    def open(self, identity: Identity) -> Store:
        """See `Catalog`."""
        return Store(self._database, find_workspace(self._database, identity), self._files())

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
