"""Workspaces as folders: `workspaces/<readable>-<hash>/` with `config.json`, `workspace.db` and `files/`.

The folder's `config.json` is a v1 workspace configuration, so it can be copied into a project as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import insert

from mldeploy.errors import WorkspaceException
from mldeploy.store import schema
from mldeploy.store.catalog import Details, Identity
from mldeploy.store.database import sqlite
from mldeploy.store.local_files import LocalFiles
from mldeploy.store.places import FolderStore
from mldeploy.store.store import Store, find_workspace, workspace_row
from mldeploy.store.tables import workspaces

DATABASE = "workspace.db"
FILES = "files"
CONFIG = "config.json"


class FolderCatalog:
    """The workspaces below a folder.

    Args:
        location: Where.
    """

    def __init__(self, location: FolderStore) -> None:
        self._root = location.root / "workspaces"
        self._services = location.root / "services"
        self.shown = str(location.root)

    def identities(self) -> list[Identity]:
        """See `Catalog`."""
        return sorted(_identity(config) for config in self._root.glob(f"[!.]*/{CONFIG}"))

    def create(self, identity: Identity, details: Details) -> bool:
        """See `Catalog`. The folder is made beside its place and appears there with one rename."""
        folder = self._folder(identity)
        if folder.exists():
            return False
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        except OSError as error:
            raise _not_writable(self._root, error) from None
        try:
            _fill(made, identity, details)
            made.rename(folder)
        except OSError as error:
            # Another process was quicker.
            if folder.exists():
                return False
            raise _not_writable(self._root, error) from None
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return True

    def open(self, identity: Identity) -> Store:
        """See `Catalog`."""
        folder = self._folder(identity)
        if not (folder / DATABASE).is_file():
            raise WorkspaceException(
                f"workspace {identity.name} has lost its database",
                where=str(folder / DATABASE),
                hint=f"put the file back, or remove {folder} to begin an empty workspace",
            )
        database = sqlite(folder / DATABASE)
        schema.prepare(database)
        workspace_id = find_workspace(database, identity)
        return Store(database, workspace_id, LocalFiles(folder / FILES), self._services / folder.name)

    def delete(self, identity: Identity) -> None:
        """See `Catalog`."""
        folder = self._folder(identity)
        # Out of sight first: whoever looks sees all of it or nothing.
        gone = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._root))
        folder.rename(gone / folder.name)
        shutil.rmtree(gone)
        shutil.rmtree(self._services / folder.name, ignore_errors=True)
        # What a deletion that was killed has left; another one may be at it right now.
        for left in self._root.glob(".gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _folder(self, identity: Identity) -> Path:
        return self._root / identity.folder_name()


def _fill(folder: Path, identity: Identity, details: Details) -> None:
    # it stays the owner's alone, as it was made: configurations hold keys and registries' passwords
    (folder / FILES).mkdir()
    config = {
        "subscription_id": identity.subscription_id,
        "resource_group": identity.resource_group,
        "workspace_name": identity.name,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
    database = sqlite(folder / DATABASE)
    database.keep_write_ahead_log()
    with database.write() as connection:
        schema.create(connection)
        connection.execute(insert(workspaces).values(workspace_row(identity, details)))


def _identity(config: Path) -> Identity:
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        return Identity(values["subscription_id"], values["resource_group"], values["workspace_name"])
    except (ValueError, KeyError) as error:
        raise WorkspaceException(
            "a workspace's config.json is damaged",
            where=str(config),
            reason=str(error),
            hint="write v1's three keys into it: subscription_id, resource_group, workspace_name",
        ) from None


def _not_writable(folder: Path, error: OSError) -> WorkspaceException:
    return WorkspaceException(
        "a workspace cannot be made",
        where=str(folder),
        reason=error.strerror or str(error),
        hint="set MLDEPLOY_STORE to a folder that can be written",
    )
