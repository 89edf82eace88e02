"""Making a registry's tables, and bringing an older registry up to date."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection, delete, insert, inspect, select, text

from mldeploy.errors import WorkspaceException
from mldeploy.store import tables
from mldeploy.store.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")
DISTRIBUTION = "pytest-mldeploy"
# Any number will do, as long as every mldeploy takes the same one.
_SCHEMA_LOCK = 7_305_805


def prepare(database: Database) -> None:
    """Make the tables where there are none, migrate older ones, refuse newer ones.

    Args:
        database: Any registry database.

    Raises:
        WorkspaceException: The database was written by a newer mldeploy, or cannot be used.
    """
    with database.read() as connection:
        revision = _revision(connection)
    if revision == tables.HEAD:
        return
    with database.write() as connection:
        if database.is_postgres:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
        revision = _revision(connection)
        if revision is None:
            create(connection)
        elif revision != tables.HEAD:
            _migrate(connection, revision, database.shown)


def create(connection: Connection) -> None:
    """Make all tables at once and stamp them, without alembic, which takes longer to import than this."""
    tables.metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version "
            "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": tables.HEAD})
    _sign(connection)


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None without tables, "" for tables at alembic's base."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _migrate(connection: Connection, revision: str, shown: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision and revision not in known:
        raise WorkspaceException(
            "the workspace was written by a newer mldeploy",
            where=shown,
            reason=f"its schema is {revision}, the newest known here {tables.HEAD}",
            hint=f'pip install --upgrade "{DISTRIBUTION}{_needed(connection)}"',
        )
    command.upgrade(config, "head")
    _sign(connection)


def _needed(connection: Connection) -> str:
    if not inspect(connection).has_table("about"):
        return ""
    written_by = connection.execute(select(tables.about.c.value).where(tables.about.c.key == "mldeploy")).scalar()
    return f">={written_by}" if written_by else ""


def _sign(connection: Connection) -> None:
    connection.execute(delete(tables.about).where(tables.about.c.key == "mldeploy"))
    connection.execute(insert(tables.about).values(key="mldeploy", value=version(DISTRIBUTION)))
