"""Segments of a model's log: consecutive positions that are consecutive numbers of a writer."""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import Connection

from .raw_connection import raw

MIN_MEASURED = dt.timedelta(days=1)  # time over which a rate is measured, so that it holds a night
LEGACY_WRITER = 0  # writer of rows from before the log had segments; other models share its numbers
COLUMNS = "first_position, last_position, first_number, writer_id, at_from, at_to"
NEXT = f"""
SELECT {COLUMNS} FROM segments
WHERE model_id = %(model_id)s AND last_position >= %(first)s ORDER BY last_position LIMIT 1
"""
SPANNING = f"""
SELECT * FROM (
    (SELECT {COLUMNS} FROM segments
        WHERE model_id = %(model_id)s AND last_position >= %(first)s AND last_position <= %(last)s)
    UNION ALL
    (SELECT {COLUMNS} FROM segments
        WHERE model_id = %(model_id)s AND last_position > %(last)s ORDER BY last_position LIMIT 1)
) parts
WHERE first_position <= %(last)s ORDER BY last_position
"""
BY_TIME = f"""
SELECT {COLUMNS} FROM segments
WHERE model_id = %(model_id)s AND at_to >= %(since)s AND at_from < %(until)s AND last_position < %(before)s
ORDER BY last_position DESC LIMIT %(count)s
"""
BETWEEN = """
SELECT min(first_position), max(last_position) FROM segments
WHERE model_id = %(model_id)s AND at_to >= %(since)s AND at_from < %(until)s
"""


COUNTED = """
SELECT max(last_position) - min(first_position) + 1, min(at_from), max(at_to) FROM segments
WHERE model_id = %(model_id)s AND at_to >= %(since)s AND at_from < %(until)s
"""


class Segment(NamedTuple):
    """Predictions of a model that one transaction has written, or a part of them."""

    first_position: int
    last_position: int
    first_number: int  # number of the row at `first_position`
    writer_id: int
    at_from: dt.datetime  # time of the earliest prediction of the whole segment
    at_to: dt.datetime  # time of its latest prediction

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.last_position - self.first_position + 1

    @property
    def last_number(self) -> int:
        """The number of the row at `last_position`."""
        return self.first_number + self.size - 1

    def cut(self, first: int, last: int) -> "Segment":
        """Return the part between two positions, both included."""
        start, end = max(first, self.first_position), min(last, self.last_position)
        return self._replace(
            first_position=start, last_position=end, first_number=self.first_number + start - self.first_position
        )


def next_from(connection: Connection, model_id: int, position: int) -> Segment | None:
    """Return the segment of a position, or the first one after it, or None."""
    row = raw(connection).execute(NEXT, {"model_id": model_id, "first": position}).fetchone()
    return None if row is None else Segment(*row)


def spanning(connection: Connection, model_id: int, first: int, last: int) -> list[Segment]:
    """Return the parts of segments between two positions, both included."""
    values = {"model_id": model_id, "first": first, "last": last}
    rows = raw(connection).execute(SPANNING, values, prepare=False)
    return [Segment(*row).cut(first, last) for row in rows]


def by_time(
    connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime, before: int, count: int
) -> list[Segment]:
    """Return the newest `count` segments that end before a position and may hold predictions of a span of time, newest
    first."""
    values = {"model_id": model_id, "since": since, "until": until, "before": before, "count": count}
    return [Segment(*row) for row in raw(connection).execute(BY_TIME, values, prepare=False)]


def positions_between(
    connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime
) -> tuple[int, int] | None:
    """Return the first and the last position of the segments that may hold predictions of a span of time, or None."""
    values = {"model_id": model_id, "since": since, "until": until}
    row = raw(connection).execute(BETWEEN, values, prepare=False).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def rate_between(connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime) -> float | None:
    """Return the predictions a second of a model in a span of time, from its first prediction there on; None if the
    log holds less than a day of it."""
    values = {"model_id": model_id, "since": since, "until": until}
    row = raw(connection).execute(COUNTED, values, prepare=False).fetchone()
    if row is None or row[0] is None:
        return None
    begin, end = max(row[1], since), until if row[2] > until else row[2]
    return row[0] / (end - begin).total_seconds() if end - begin >= MIN_MEASURED else None
