"""The psycopg connection under one of SQLAlchemy's, for binary COPY and binary results."""

from typing import Any, cast

from psycopg import Connection as RawConnection
from sqlalchemy import Connection


def raw(connection: Connection) -> RawConnection[Any]:
    """Return the driver's connection; what it executes belongs to the same transaction."""
    return cast("RawConnection[Any]", connection.connection.driver_connection)
