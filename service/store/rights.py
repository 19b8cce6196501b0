"""What Tidemark's role may do in the database, and the statement that grants what is missing."""

import datetime as dt
import logging

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ..errors import DatabaseError
from .errors import is_unavailable, original_error, reason, sqlstate
from .predictions import partition
from .tables import metadata

INSUFFICIENT_PRIVILEGE = "42501"  # SQLSTATE
ACCESS = "SELECT, INSERT, UPDATE, DELETE"

ROLE = text("SELECT quote_ident(current_user)")
OWNER = text(
    """
    SELECT quote_ident(pg_get_userbyid(relowner)) AS owner, pg_has_role(relowner, 'USAGE') AS is_ours
    FROM pg_class WHERE oid = to_regclass(:name)
    """
)
INACCESSIBLE = text(
    """
    SELECT name FROM unnest(CAST(:names AS text[])) AS name
    WHERE to_regclass(name) IS NOT NULL AND NOT (
        has_table_privilege(to_regclass(name), 'SELECT') AND has_table_privilege(to_regclass(name), 'INSERT')
        AND has_table_privilege(to_regclass(name), 'UPDATE') AND has_table_privilege(to_regclass(name), 'DELETE'))
    ORDER BY name
    """
)
EXISTING = text(
    "SELECT count(*) FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL"
)

logger = logging.getLogger(__name__)


def check(engine: Engine) -> None:
    """Raise DatabaseError, naming the GRANT, unless predictions can be logged and read with our role.

    A role that does not own the tables cannot create the partition of a new day. It suffices as long as a monitor runs
    whose role does, which a warning says.
    """
    with engine.connect() as connection:
        role = connection.execute(ROLE).scalar_one()
        owner = connection.execute(OWNER, {"name": "predictions"}).one_or_none()
        if owner is None or owner.is_ours:
            return
        inaccessible = list(connection.execute(INACCESSIBLE, {"names": sorted(metadata.tables)}).scalars())
        if inaccessible:
            tables = "ALL TABLES IN SCHEMA" if len(inaccessible) > 1 else "TABLE"
            schema = "public" if len(inaccessible) > 1 else inaccessible[0]
            raise DatabaseError(
                f"role {role} has no access to {', '.join(inaccessible)}: GRANT {owner.owner} TO {role}, "
                f"or GRANT {ACCESS} ON {tables} {schema} TO {role}"
            )
        if not _has_partitions(connection):
            raise DatabaseError(
                f"role {role} cannot create the partition of a day in predictions, which {owner.owner} owns: "
                f"GRANT {owner.owner} TO {role}"
            )
        logger.warning(
            "role %s cannot create the partitions of new days: a monitor must run as %s, or GRANT %s TO %s",
            role, owner.owner, owner.owner, role,
        )  # fmt: skip


def explain(error: DBAPIError, engine: Engine) -> DatabaseError:
    """Return an error of Postgres in one line, with the remedy if a privilege is missing."""
    if is_unavailable(error):
        return DatabaseError(f"the database is unavailable: {reason(error)}")
    if sqlstate(original_error(error)) != INSUFFICIENT_PRIVILEGE:
        return DatabaseError(f"the database refused: {reason(error)}")
    try:
        with engine.connect() as connection:
            role = connection.execute(ROLE).scalar_one()
            schema = connection.execute(
                text("SELECT coalesce(quote_ident(current_schema()), 'public'), quote_ident(current_database())")
            ).one()
            owner = connection.execute(OWNER, {"name": "predictions"}).scalar_one_or_none()
    except DBAPIError:
        return DatabaseError(f"the database refused: {reason(error)}")
    grant = f"GRANT {owner} TO {role}" if owner else f"GRANT USAGE, CREATE ON SCHEMA {schema[0]} TO {role}"
    return DatabaseError(f"{reason(error)}: {grant}, in database {schema[1]}")


def _has_partitions(connection: Connection) -> bool:
    """Return whether the partitions of today and tomorrow exist."""
    today = dt.datetime.now(dt.UTC).date()
    names = [partition("predictions", today + dt.timedelta(days=n)) for n in (0, 1)]
    return bool(connection.execute(EXISTING, {"names": names}).scalar_one() == len(names))
