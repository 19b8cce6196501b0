"""Alembic's environment: one connection, handed over by `tidemark.store.schema`."""

from alembic import context

from tidemark.store.schema import compared
from tidemark.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=compared,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
