"""One database: opening it, reading, writing, and what its failures mean to a person.

Connections are not pooled. Opening SQLite takes a fraction of a millisecond, and nothing is left open
across a fork or at exit.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from mldeploy.errors import WorkspaceException
from mldeploy.store.places import EXAMPLE

BUSY_TIMEOUT = 60.0
_SHORT = 2**20


class Database:
    """A registry database.

    Args:
        engine: SQLAlchemy's engine.
        shown: How messages name it: a file, or a URL without credentials.
        explain: From the database's own words to what went wrong, and what to type.

    Attributes:
        shown: As given.
    """

    def __init__(self, engine: Engine, shown: str, explain: Callable[[str], tuple[str, str]]) -> None:
        self._engine = engine
        self._explain = explain
        self.shown = shown

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL rather than SQLite."""
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the tables.

        Raises:
            WorkspaceException: The database cannot be read; the message names it and what to type.
        """
        options = {"isolation_level": "REPEATABLE READ"} if self.is_postgres else {"begin": "BEGIN"}
        with self._transaction(options) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One change, whole or not at all. SQLite's writers wait for each other before they read anything.

        Raises:
            WorkspaceException: The database cannot be written; the message names it and what to type.
        """
        with self._transaction({"begin": "BEGIN IMMEDIATE"}) as connection:
            yield connection

    def keep_write_ahead_log(self) -> None:
        """Let SQLite's readers go on while one writes; the file remembers it."""
        with self._engine.connect().execution_options(begin="SELECT 1") as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise self._explained(error) from None

    def _explained(self, error: DBAPIError) -> WorkspaceException:
        reason = str(error.orig).strip()
        message, hint = self._explain(reason)
        return WorkspaceException(message, where=self.shown, reason=reason, hint=hint)


def _explain_sqlite(path: Path, reason: str) -> tuple[str, str]:
    """What went wrong and what to type, from SQLite's own words and what is seen of the disk."""
    elsewhere = "set MLDEPLOY_STORE to a folder that can be written"
    if "locked" in reason:
        return (
            "the workspace is locked: another process has been writing to it all the while",
            f"end the process that `fuser {path}` names, or wait for it",
        )
    if "malformed" in reason or "not a database" in reason:
        return (
            "the workspace's database is damaged",
            f"put back a copy of {path}, or move it away to begin an empty workspace",
        )
    # SQLite says "disk I/O error" where its shared memory cannot grow, "unable to open" where it cannot be made.
    if "full" in reason or ("disk I/O" in reason and shutil.disk_usage(path.parent).free < _SHORT):
        return "the disk is full", "free some space, then run `mldeploy workspace gc`"
    if "readonly" in reason or ("unable to open" in reason and not os.access(path.parent, os.W_OK)):
        return "the workspace is read-only", f"chmod u+w {path} and its folder, or {elsewhere}"
    return "the workspace's database cannot be used", f"see that {path} can be read and written, or {elsewhere}"


def _explain_postgres(reason: str) -> tuple[str, str]:  # noqa: ARG001  (PostgreSQL says itself what is wrong)
    return (
        "the workspace's database cannot be used",
        "see that the server runs, that MLDEPLOY_STORE names it and its user, and that the password is there",
    )


def sqlite(path: Path) -> Database:
    """The SQLite database in a file.

    Args:
        path: The file; it is made when it is first written to. Writers wait `BUSY_TIMEOUT` seconds for each
            other.

    Returns:
        The database; nothing is opened yet.
    """

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "connect", _foreign_keys)
    event.listen(engine, "begin", _begin)
    return Database(engine, str(path), partial(_explain_sqlite, path))


def _foreign_keys(connection: Any, record: object) -> None:  # noqa: ARG001  (SQLAlchemy's signature)
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # Python's own handling begins late and never IMMEDIATE; a reader that turns writer then fails at once.
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def postgres(url: str, shown: str) -> Database:
    """A PostgreSQL database.

    Args:
        url: `postgresql+psycopg://…`, with the password if there is one.
        shown: The same without credentials, for messages.

    Returns:
        The database; nothing is opened yet.

    Raises:
        WorkspaceException: psycopg is not installed, or the URL is none.
    """
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (ArgumentError, ValueError):
        # The error may quote the URL, password and all.
        raise WorkspaceException("the store's URL cannot be read", where=shown, hint=EXAMPLE) from None
    except ModuleNotFoundError:
        raise WorkspaceException(
            "a store in PostgreSQL needs psycopg",
            where=shown,
            hint='pip install "pytest-mldeploy[postgres]"',
        ) from None
    return Database(engine, shown, _explain_postgres)


def lock_table(connection: Connection, table: str, mode: str) -> None:
    """Take a PostgreSQL table lock till the transaction ends; SQLite's writers already wait for each other.

    Args:
        connection: Inside `Database.write`.
        table: Its name.
        mode: PostgreSQL's word, such as `EXCLUSIVE`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {table} IN {mode} MODE"))
