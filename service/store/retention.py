"""Old days of predictions: their partitions are detached while others read, then dropped."""

import datetime as dt
import re
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from .errors import original_error, sqlstate
from .predictions import PARTITIONED
from .session_settings import POOLED

LOCK_TIMEOUT = 5.0  # seconds that a partition waits for those who read it
POSTPONED_STATES = ("55P03", "55000")  # SQLSTATE: the lock is not available; another day is half detached
OF_A_DAY = re.compile(rf"^({'|'.join(PARTITIONED)})_(\d{{4}})(\d{{2}})(\d{{2}})$")
FIND = text(
    """
    SELECT c.relname AS name, i.inhrelid IS NOT NULL AS attached, coalesce(i.inhdetachpending, false) AS pending
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relkind = 'r' AND pg_table_is_visible(c.oid)
    """
)


class Partition(NamedTuple):
    """A day of a partitioned table."""

    name: str
    attached: bool  # True if it is a partition of its parent at present
    pending: bool  # True if its detachment was interrupted


def drop_days(engine: Engine, before: dt.date, lock_timeout: float = LOCK_TIMEOUT) -> tuple[list[str], list[str]]:
    """Drop the partitions of days before `before`; return the names of those dropped and of those still read.

    A partition is detached concurrently: readers and writers of other days are never held up, and those who read this
    one are waited for, `lock_timeout` seconds. What a process that died, or that waited in vain, has left half
    detached is finished at the next call.
    """
    dropped, in_use = [], []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        old = _old(connection, before)
        drop = _drop_in_transaction if connection.info.get(POOLED) else _drop
        for parent, row in old:
            try:
                drop(connection, parent, row, lock_timeout)
                dropped.append(row.name)
            except DBAPIError as error:
                if sqlstate(original_error(error)) not in POSTPONED_STATES:
                    raise
                in_use.append(row.name)
    return dropped, in_use


def day_of(name: str) -> dt.date | None:
    """Return the day of a partition, or None for another table."""
    match = OF_A_DAY.match(name)
    return dt.date(int(match[2]), int(match[3]), int(match[4])) if match else None


def _old(connection: Connection, before: dt.date) -> list[tuple[str, Partition]]:
    """Return the old partitions with their parents: half detached ones first, for no other day of their parent can be
    detached before; then in the order in which parents lose their days."""
    tables = [Partition(*row) for row in connection.execute(FIND)]
    partitions = [(match[1], table) for table in tables if (match := OF_A_DAY.match(table.name))]
    old = [(parent, row) for parent, row in partitions if (day := day_of(row.name)) and day < before]
    return sorted(old, key=lambda item: (not item[1].pending, PARTITIONED.index(item[0]), item[1].name))


def _drop(connection: Connection, parent: str, row: Partition, lock_timeout: float) -> None:
    """Detach a partition while others read its parent, and drop it."""
    connection.execute(text(f"SET lock_timeout = '{lock_timeout}s'"))
    try:
        if row.attached:
            mode = "FINALIZE" if row.pending else "CONCURRENTLY"
            connection.execute(text(f"ALTER TABLE {parent} DETACH PARTITION {row.name} {mode}"))
        connection.execute(text(f"DROP TABLE {row.name}"))
    finally:
        connection.execute(text("RESET lock_timeout"))


def _drop_in_transaction(connection: Connection, parent: str, row: Partition, lock_timeout: float) -> None:
    """Detach and drop a partition behind a pooler, where a setting of the session would stay with another client.

    Nobody else reads or writes the parent meanwhile, which is brief, or this waits in vain.
    """
    with connection.engine.begin() as transaction:
        transaction.execute(text(f"SET LOCAL lock_timeout = '{lock_timeout}s'"))
        if row.attached:
            mode = "FINALIZE" if row.pending else ""
            transaction.execute(text(f"ALTER TABLE {parent} DETACH PARTITION {row.name} {mode}"))
        transaction.execute(text(f"DROP TABLE {row.name}"))
