"""The identity of an installation, which travels with its data through dumps, restores and moves."""

from uuid import UUID

from sqlalchemy import Connection, select

from .tables import installation


def identity(connection: Connection) -> UUID:
    """Return the identity of the installation whose database this is."""
    value: UUID = connection.execute(select(installation.c.identity)).scalar_one()
    return value
