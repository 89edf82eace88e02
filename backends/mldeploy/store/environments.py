"""The environments of a workspace, and the locks that say what each was resolved to."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from mldeploy.store.database import lock_table
from mldeploy.store.tables import environment_locks, environments
from mldeploy.store.versions import next_version

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, RowMapping, Select

    from mldeploy.store.database import Database


@dataclass(frozen=True)
class StoredEnvironment:
    """One version of a registered environment.

    Args:
        name: The environment's name.
        version: Given by the registry ("1", "2", …) or by the user.
        definition: v1's environment JSON.
        created_time: UTC.
    """

    name: str
    version: str
    definition: dict[str, Any]
    created_time: datetime


class EnvironmentTable:
    """The registered environments of one workspace.

    Args:
        database: The registry.
        workspace_id: The workspace's row.
    """

    def __init__(self, database: Database, workspace_id: int) -> None:
        self._database = database
        self._here = environments.c.workspace_id == workspace_id
        self._workspace_id = workspace_id

    def register(self, name: str, definition: dict[str, Any], version: str | None = None) -> StoredEnvironment:
        """Record an environment. What is registered already, unchanged, keeps its version.

        Args:
            name: The environment's name.
            definition: v1's environment JSON; its `version` key decides nothing.
            version: The user's own version, which is overwritten if it exists; None takes the next integer.

        Returns:
            The environment as it is recorded now.
        """
        with self._database.write() as connection:
            lock_table(connection, "environments", "SHARE ROW EXCLUSIVE")
            latest = connection.execute(self._of(name).limit(1)).mappings().first()
            if latest and version in {None, latest["version"]} and _equal(latest["definition"], definition):
                return _stored(latest)
            position = next_version(connection, self._workspace_id, "environment", name)
            stored = StoredEnvironment(name, version or str(position), definition, datetime.now(timezone.utc))
            same = (self._here, environments.c.name == name, environments.c.version == stored.version)
            connection.execute(delete(environments).where(*same))
            connection.execute(
                insert(environments).values(**vars(stored), workspace_id=self._workspace_id, position=position)
            )
            return stored

    def get(self, name: str, version: str | None = None) -> StoredEnvironment | None:
        """An environment.

        Args:
            name: Its name.
            version: Its version; None takes the one registered last.

        Returns:
            The environment, None if there is none.
        """
        query = self._of(name)
        if version is not None:
            query = query.where(environments.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return _stored(row) if row else None

    def list(self) -> builtins.list[StoredEnvironment]:
        """All versions of all environments, by name, the latest first."""
        query = select(environments).where(self._here)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(environments.c.name, environments.c.position.desc()))
            return [_stored(row) for row in rows.mappings()]

    def _of(self, name: str) -> Select[Any]:
        latest_first = environments.c.position.desc()
        return select(environments).where(self._here, environments.c.name == name).order_by(latest_first)


class LockTable:
    """What each environment of one workspace was resolved to.

    Args:
        database: The registry.
        workspace_id: The workspace's row.
    """

    def __init__(self, database: Database, workspace_id: int) -> None:
        self._database = database
        self._workspace_id = workspace_id

    def get(self, key: str) -> str | None:
        """The lock under a key, None if there is none."""
        query = select(environment_locks.c.text).where(*self._is(key))
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def put(self, key: str, text: str) -> None:
        """Keep a lock under a key, in place of the one that was there."""
        with self._database.write() as connection:
            lock_table(connection, "environment_locks", "SHARE ROW EXCLUSIVE")
            connection.execute(delete(environment_locks).where(*self._is(key)))
            connection.execute(insert(environment_locks).values(workspace_id=self._workspace_id, key=key, text=text))

    def _is(self, key: str) -> tuple[ColumnElement[bool], ...]:
        return environment_locks.c.workspace_id == self._workspace_id, environment_locks.c.key == key


def _stored(row: RowMapping) -> StoredEnvironment:
    return StoredEnvironment(row["name"], row["version"], row["definition"], row["created_time"])


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "version": None} == {**other, "version": None}
