"""What an error of the database means: it is unavailable and the same work may be tried again later, it refuses the
rows themselves, or neither."""

from typing import Any

from psycopg import Error as DriverError
from psycopg import InterfaceError, OperationalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DATABASE_ERRORS = (DBAPIError, PoolTimeout, DriverError)  # all that the ways to Postgres raise

# Classes and codes of SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
UNAVAILABLE = (
    "08",  # connection exception
    "25006",  # read-only transaction: a standby, or a server that was set so
    "25P03",  # idle in transaction for too long: the session was ended
    "25P04",  # the transaction took too long: the session was ended
    "28",  # invalid authorization: a password that is being changed
    "3D000",  # the database does not exist: it is being restored
    "40",  # transaction rollback: serialization failure, deadlock
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "55006",  # object in use: the database is being dropped or renamed
    "55P03",  # lock not available
    "57",  # operator intervention: shutting down, starting up, statement cancelled
    "58",  # system error outside Postgres: I/O
)
REFUSED = (
    "21",  # cardinality violation
    "22",  # data exception
    "23",  # integrity constraint violation
    "44",  # WITH CHECK OPTION violation
    "54",  # program limit exceeded
)


def is_unavailable(error: BaseException) -> bool:
    """Check whether the database is unavailable for now, for a reason that has nothing to do with the statement."""
    if isinstance(error, PoolTimeout):
        return True
    original = original_error(error)
    state = sqlstate(original)
    if state is not None:
        return state.startswith(UNAVAILABLE)
    return isinstance(original, OperationalError | InterfaceError)  # no word of the server: the connection broke


def is_refused(error: BaseException) -> bool:
    """Check whether Postgres refuses the rows: the same rows will be refused again."""
    state = sqlstate(original_error(error))
    return state is not None and state.startswith(REFUSED)


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE that the server gave, or None where it gave none."""
    state: Any = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def original_error(error: BaseException) -> BaseException:
    """Return the driver's error of one that SQLAlchemy wraps; any other error is returned as it is."""
    original: Any = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def reason(error: BaseException) -> str:
    """Return the first line of an error's text, in the driver's words."""
    return str(original_error(error)).strip().partition("\n")[0] or type(error).__name__
