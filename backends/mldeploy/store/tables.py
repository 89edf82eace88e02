"""The registry's tables, the same in SQLite and PostgreSQL.

A change here needs a migration beside it in `migrations/versions`, and the new revision in `HEAD`.
"""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

HEAD = "0001"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A time in UTC: SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any aware time into UTC."""
        return value and value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give a time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _workspace() -> Column[int]:
    return Column("workspace_id", ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False)


# `about` says which mldeploy last changed the schema. It stays as it is in every later version: an older
# mldeploy reads it to tell what to install.
about = Table("about", metadata, Column("key", Text, primary_key=True), Column("value", Text))

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("subscription_id", Text, nullable=False),
    Column("resource_group", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("location", Text),
    Column("friendly_name", Text),
    Column("tags", JSON, nullable=False),
    Column("created_time", Moment, nullable=False),
    UniqueConstraint("subscription_id", "resource_group", "name"),
)

# The last version given under a name: a deleted version's number is never given again.
versions = Table(
    "versions",
    metadata,
    _workspace(),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("last", Integer, nullable=False),
    UniqueConstraint("workspace_id", "kind", "name"),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    _workspace(),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("description", Text),
    Column("framework", Text, nullable=False),
    Column("framework_version", Text),
    Column("tags", JSON, nullable=False),
    Column("properties", JSON, nullable=False),
    Column("datasets", JSON, nullable=False),
    Column("sample_input_dataset_id", Text),
    Column("sample_output_dataset_id", Text),
    Column("resource_configuration", JSON(none_as_null=True)),
    Column("created_time", Moment, nullable=False),
    Column("modified_time", Moment, nullable=False),
    UniqueConstraint("workspace_id", "name", "version"),
)

model_files = Table(
    "model_files",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index(None, "digest"),
)

environments = Table(
    "environments",
    metadata,
    _workspace(),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("created_time", Moment, nullable=False),
    UniqueConstraint("workspace_id", "name", "version"),
)

environment_locks = Table(
    "environment_locks",
    metadata,
    _workspace(),
    Column("key", Text, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("workspace_id", "key"),
)

services = Table(
    "services",
    metadata,
    _workspace(),
    Column("name", Text, nullable=False),
    Column("compute_type", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("description", Text),
    Column("tags", JSON, nullable=False),
    Column("properties", JSON, nullable=False),
    Column("created_time", Moment, nullable=False),
    Column("updated_time", Moment, nullable=False),
    Column("model_ids", JSON, nullable=False),
    Column("package_digest", Text, nullable=False),
    Column("inference_config", JSON, nullable=False),
    Column("deployment_config", JSON, nullable=False),
    Column("serving", JSON, nullable=False),
    Column("operation", Text, nullable=False),
    Column("operation_id", Text, nullable=False),
    Column("owner", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("handle", JSON, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)
