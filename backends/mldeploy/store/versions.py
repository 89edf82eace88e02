"""The version numbers of names: 1, 2, 3 …, each given once, even to a thing that was deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from mldeploy.store.database import lock_table
from mldeploy.store.tables import versions

if TYPE_CHECKING:
    from sqlalchemy import Connection


def next_version(connection: Connection, workspace_id: int, kind: str, name: str) -> int:
    """Take the next version of a name; whoever else asks waits till this transaction has ended.

    Args:
        connection: Inside `Database.write`.
        workspace_id: The workspace's row.
        kind: `model` or `environment`.
        name: The name.

    Returns:
        1 for a new name.
    """
    lock_table(connection, "versions", "SHARE ROW EXCLUSIVE")
    key = {"workspace_id": workspace_id, "kind": kind, "name": name}
    same = [versions.c[column] == value for column, value in key.items()]
    last = connection.execute(select(versions.c.last).where(*same)).scalar()
    if last is None:
        connection.execute(insert(versions).values(**key, last=1))
        return 1
    connection.execute(update(versions).where(*same).values(last=last + 1))
    return int(last) + 1
