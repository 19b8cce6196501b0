"""Rows and bytes of the tables, as Postgres counts them."""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import Connection, text


class Size(NamedTuple):
    """A table or a day's partition."""

    name: str
    parent: str | None  # table that a partition belongs to
    rows: int  # alive, as Postgres estimates them
    dead: int  # rows that a vacuum would free
    heap: int  # bytes
    indexes: int
    toast: int
    vacuumed: dt.datetime | None  # time of the last manual or automatic vacuum
    analysed: dt.datetime | None

    @property
    def total(self) -> int:
        """Bytes on disk."""
        return self.heap + self.indexes + self.toast


SIZES = text(
    """
    SELECT t.relname AS name, parent.relname AS parent,
        greatest(s.n_live_tup, t.reltuples::bigint, 0) AS rows, s.n_dead_tup AS dead,
        pg_relation_size(t.oid) AS heap, pg_indexes_size(t.oid) AS indexes,
        pg_table_size(t.oid) - pg_relation_size(t.oid) AS toast,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
        greatest(s.last_analyze, s.last_autoanalyze) AS analysed
    FROM pg_class t
    JOIN pg_stat_user_tables s ON s.relid = t.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = t.oid
    LEFT JOIN pg_class parent ON parent.oid = i.inhparent
    WHERE t.relkind = 'r' AND pg_table_is_visible(t.oid)
    ORDER BY t.relname
    """
)


def load_all(connection: Connection) -> list[Size]:
    """Return the tables and partitions in the order of their names; what is partitioned shows as its parts."""
    return [Size(*row) for row in connection.execute(SIZES)]
