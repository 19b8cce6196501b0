"""From the options of `tidemark backtest` to a comparison."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Engine

from ...errors import ConfigurationError, TidemarkError
from ...settings import Settings
from ...store import alerts, streams
from ...store.open_database import open_database_with_url
from ...store.streams import StreamRow
from .comparison import HAPPENED, Comparison, changes_to_measure, outcome, stored_incidents
from .dask_cluster import run_tasks
from .initial_rate import initial_rate
from .merging import merged
from .span_replay import SpanTask, divided
from .variants import Variant, variants

RATE_SPAN = dt.timedelta(days=7)  # time over which a rate is measured, as the monitor does
MAX_MOMENTS = 2000  # times at which predictions are counted, the earliest


def backtest(
    stream: str,
    since: dt.datetime,
    until: dt.datetime,
    assignments: Sequence[str] = (),
    changes: Sequence[dt.datetime] = (),
    dask: str | None = None,
    parts: int = 1,
) -> Comparison:
    """Replay a stream's logged traffic through today's settings and through others, and compare their results.

    Parameters
    ----------
    stream : str
        `model:version`, for all streams of the model, or `model:version/tag=value` for one slice.
    since, until : datetime
        The span of the log.
    assignments : sequence of str
        Settings to be changed, as `NAME=VALUE`.
    changes : sequence of datetime
        Times at which the traffic is known to have changed; without any those that stored alerts estimated.
    dask : str, optional
        The address of a Dask scheduler, or "local".
    parts : int, default 1
        The number of parts of the log that are replayed side by side, each after a warm-up.

    Raises
    ------
    TidemarkError
        No such stream, no reference, no predictions in the span, or an option that cannot be used.
    """
    if until <= since:
        raise ConfigurationError(f"--until: expected a time after {since.isoformat()}, got {until.isoformat()}")
    compared = variants(assignments)
    with open_database_with_url(Settings.load()) as (engine, url):
        return _compare(engine, url, stream, (since, until), compared, changes, dask, parts)


def _compare(
    engine: Engine,
    url: str,
    name: str,
    span: tuple[dt.datetime, dt.datetime],
    compared: Sequence[Variant],
    change_times: Sequence[dt.datetime],
    dask: str | None,
    parts: int,
) -> Comparison:
    with engine.connect() as connection:
        row, reference_id = streams.with_reference(connection, name)
        positions = divided(connection, row.model_id, *span, parts)
        rate = initial_rate(connection, row, *span)
        stored = stored_incidents(alerts.fired_between(connection, row.model_id, *span), row)
    if not positions:
        raise TidemarkError(f"no predictions of {name} from {span[0].isoformat()} to {span[1].isoformat()}")
    production_incidents = [incident for incident in stored if _is_of(incident.slice, row)]
    changes = changes_to_measure(change_times, production_incidents, span[1])
    moments = {change.at for change in changes} | {
        alarm.at for incident in production_incidents for alarm in incident.alarms
    }
    tasks = [
        SpanTask(url, row, reference_id, variant, part, span, tuple(sorted(moments)[:MAX_MOMENTS]), rate)
        for variant in compared
        for part in positions
    ]
    results = run_tasks(tasks, dask)
    wholes = [merged(results[first : first + len(positions)]) for first in range(0, len(results), len(positions))]
    outcomes = [outcome(HAPPENED, production_incidents, changes, wholes[0].positions_at)]
    for variant, whole in zip(compared, wholes, strict=True):
        incidents = [incident for incident in whole.incidents if _is_of(incident.slice, row)]
        outcomes.append(outcome(variant.name, incidents, changes, whole.positions_at, whole))
    return Comparison(name, span, changes, tuple(outcomes), len(positions))


def _is_of(slice_name: str, stream: StreamRow) -> bool:
    """Check whether an incident belongs to the stream; those of slices belong to the stream of the whole model, too."""
    return not stream.slice or stream.slice == slice_name
