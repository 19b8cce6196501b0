"""`tidemark accept`: makes a span of logged traffic what a stream is compared with, or undoes that."""

import datetime as dt
import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict, get_args

from sqlalchemy import Connection

from ..alerts import acceptance
from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..errors import ConfigurationError
from ..settings import Settings
from ..store import alerts as alert_rows
from ..store import baselines, streams
from ..store.baselines import AcceptedPart
from ..store.open_database import open_database


class AcceptedSpan(TypedDict):
    """The printed content of `tidemark accept`."""

    stream: str
    what: AcceptedPart  # "all" if "mix" would have withdrawn images that were accepted before
    rows: int  # predictions of the span
    since: str
    until: str
    resolved: int  # alerts that ended
    note: str  # the stored reason; it also says why "all" was accepted where "mix" was requested


class UndoneAcceptance(TypedDict):
    """The printed content of `tidemark accept --undo`."""

    stream: str
    rows: int  # predictions of the baseline that was undone
    baseline: str  # name of the baseline that is in force again


def accept_span(
    stream: str, since: dt.datetime | None, until: dt.datetime | None, what: str, note: str
) -> AcceptedSpan:
    """Accept the traffic of a stream between two times; its incidents end as accepted.

    Parameters
    ----------
    since : datetime or None
        The start of the span; required.
    until : datetime or None
        Its end; now by default.

    Raises
    ------
    TidemarkError
        No such stream, no reference, an option that cannot be used, or too few predictions in the span.
    """
    if since is None:
        raise ConfigurationError("--since: the start of the accepted span is needed")
    part = next((name for name in get_args(AcceptedPart) if name == what), None)
    if part is None:
        raise ConfigurationError(f"--what: expected one of {', '.join(get_args(AcceptedPart))}, got {what!r}")
    now = dt.datetime.now(dt.UTC)
    end = until or now
    if end <= since:
        raise ConfigurationError(f"--until: expected a time after {since.isoformat()}, got {end.isoformat()}")
    with incidents() as (connection, alerts):
        row = streams.require(connection, stream)
        firing = len(alert_rows.firing(connection, row.id))
        baseline = acceptance.accept(connection, alerts, row, part, (since, end), by=user_name(), note=note, at=now)
    return {
        "stream": stream,
        "what": baseline.what,
        "rows": baseline.rows,
        "since": baseline.since.isoformat(timespec="seconds"),
        "until": baseline.until.isoformat(timespec="seconds"),
        "resolved": firing,
        "note": baseline.note,
    }


def undo_acceptance(stream: str) -> UndoneAcceptance:
    """Compare a stream again with the baseline before its current one, else with its reference.

    Raises
    ------
    TidemarkError
        No such stream, or it has no accepted baseline.
    """
    with incidents() as (connection, _):
        row = streams.require(connection, stream)
        undone = acceptance.undo(connection, row, user_name(), dt.datetime.now(dt.UTC))
        current = baselines.current(connection, row.id)
    now = "its reference" if current is None else f"the baseline since {current.since.isoformat(timespec='seconds')}"
    return {"stream": stream, "rows": undone.rows, "baseline": now}


@contextmanager
def incidents() -> Iterator[tuple[Connection, Alerts]]:
    """Yield a transaction on the database of the settings, and the incidents that it may end."""
    settings = Settings.load()
    queue = open_queue("")  # each job is put into it over a connection of the engine
    with open_database(settings) as engine, engine.begin() as connection:
        yield connection, Alerts(queue, settings.webhook_urls, settings.public_url)


def user_name() -> str:
    """Return the name under which an action at the command line is recorded."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container whose user has no name
        return "command line"
