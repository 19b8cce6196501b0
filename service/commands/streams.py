"""`tidemark stream list` and `tidemark stream retire`."""

import datetime as dt
from collections.abc import Sequence
from typing import TypedDict

from rich.console import Console
from rich.table import Table

from ..alerts.retirement import retire
from ..store import baselines, streams
from .accept import incidents


class ListedStream(TypedDict):
    """A stream as `tidemark stream list` prints it."""

    stream: str
    state: str
    kind: str
    since: str | None
    predictions: int
    reference: int | None
    baseline: str | None  # the accepted part of the traffic that it is compared with
    retired_at: str | None


class RetiredStream(TypedDict):
    """The printed content of `tidemark stream retire`."""

    retired: str
    resolved: int  # alerts that ended


def list_streams() -> list[ListedStream]:
    """Return every stream with its state; a retired one has the state `retired`."""
    with incidents() as (connection, _):
        accepted = baselines.current_of_all(connection)
        return [
            {
                "stream": row.stream,
                "state": "retired" if row.retired_at else row.state,
                "kind": row.kind,
                "since": row.since.isoformat() if row.since else None,
                "predictions": row.seen,
                "reference": row.reference_id,
                "baseline": accepted[row.id].what if row.id in accepted else None,
                "retired_at": row.retired_at.isoformat() if row.retired_at else None,
            }
            for row in streams.with_retired(connection)
        ]


def show(rows: Sequence[ListedStream]) -> None:
    """Print streams as a table for people."""
    table = Table("stream", "state", "kind", "since", "predictions", "compared with", box=None)
    for row in rows:
        against = "nothing" if row["reference"] is None else "the reference"
        if row["baseline"]:
            against = f"accepted traffic ({row['baseline']})"
        since = (row["since"] or "")[:19]
        table.add_row(row["stream"], row["state"], row["kind"], since, f"{row['predictions']:,}", against)
    Console().print(table if rows else "no streams yet")


def retire_stream(name: str) -> RetiredStream:
    """End a stream, with its slices if it is a whole model's, and with their alerts.

    Raises
    ------
    TidemarkError
        No such stream.
    """
    with incidents() as (connection, alerts):
        row = streams.require(connection, name)
        resolved = retire(connection, alerts, row, dt.datetime.now(dt.UTC))
    return {"retired": name, "resolved": resolved}
