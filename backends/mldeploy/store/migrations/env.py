"""Alembic's door to a registry that `mldeploy.store.schema` has opened: its connection, its transaction."""

from alembic import context

from mldeploy.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
