"""The schema: fresh, older and newer registries."""

import shutil
import sqlite3
from importlib.metadata import version
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mldeploy.errors import WorkspaceException
from mldeploy.model import Model
from mldeploy.store import schema, tables
from mldeploy.store.database import Database, postgres, sqlite
from mldeploy.workspace import Workspace

NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "next"
down_revision = "{head}"
def upgrade():
    op.add_column("models", sa.Column("stars", sa.Integer(), nullable=False, server_default="5"))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty registry's place."""
    if request.param == "sqlite":
        return sqlite(tmp_path / "workspace.db")
    url = request.getfixturevalue("database_url").replace("postgresql://", "postgresql+psycopg://")
    return postgres(url, "the test's")


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(schema.MIGRATIONS))
    return made


def downgrade(database: Database, revision: str) -> None:
    with database.write() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, revision)


def test_the_newest_migration_is_the_head() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [tables.HEAD]


def test_migrations_and_tables_are_the_same_schema(database: Database) -> None:
    schema.prepare(database)
    downgrade(database, "base")
    with database.read() as connection:
        context = MigrationContext.configure(connection)
        assert len(compare_metadata(context, tables.metadata)) >= len(tables.metadata.tables)
    schema.prepare(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() == tables.HEAD


def test_a_fresh_one_says_what_made_it(database: Database) -> None:
    schema.prepare(database)
    schema.prepare(database)
    with database.read() as connection:
        assert [tuple(row) for row in connection.execute(tables.about.select())] == [
            ("mldeploy", version("pytest-mldeploy"))
        ]


def test_an_older_one_is_migrated_with_all_that_is_in_it(
    ws: Workspace, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.txt").write_text("0.5")
    Model.register(ws, tmp_path / "model.txt", "half", tags={"a": "b"})
    later = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, later)
    (later / "versions/next.py").write_text(NEXT.format(head=tables.HEAD))
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    monkeypatch.setattr(tables, "HEAD", "next")
    model = Model(Workspace.get("testing", store=store), "half")
    assert (model.id, model.tags) == ("half:1", {"a": "b"})
    with ws.store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT stars FROM models").scalars().all() == [5]


def test_a_newer_one_is_refused_with_what_to_install(folder_ws: Workspace, tmp_path: Path) -> None:
    (file,) = tmp_path.glob("store/workspaces/*/workspace.db")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE about SET value = '9.1.0'")
    connection.close()
    with pytest.raises(WorkspaceException, match="written by a newer mldeploy") as caught:
        Workspace.get("testing", store=str(tmp_path / "store"))
    assert caught.value.hint == 'pip install --upgrade "pytest-mldeploy>=9.1.0"'
    assert caught.value.where == str(file)
