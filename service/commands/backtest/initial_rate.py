"""The rate of a model when a backtest begins, which turns the expected run time into predictions."""

import datetime as dt

from sqlalchemy import Connection

from ...model_key import ModelKey
from ...store import segments, streams
from ...store.stream_status import StreamStatus
from ...store.streams import StreamRow

RATE_SPAN = dt.timedelta(days=7)  # time over which the monitor measures a rate, too


def initial_rate(connection: Connection, stream: StreamRow, since: dt.datetime, until: dt.datetime) -> float | None:
    """Return the predictions a second of a stream's model when a backtest begins.

    It is that of the week before, else that of the first week of its span, else what the monitor has measured up to
    now; None where none of them holds a day of predictions.
    """
    for begin, end in ((since - RATE_SPAN, since), (since, min(until, since + RATE_SPAN))):
        rate = segments.rate_between(connection, stream.model_id, begin, end)
        if rate is not None:
            return rate
    whole = streams.require(connection, str(ModelKey(stream.model_name, stream.model_version)))
    budget = StreamStatus.from_json(whole.status).budget
    return None if budget is None or budget.is_assumed else budget.rate
