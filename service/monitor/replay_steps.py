"""Logged predictions as a monitor that keeps up would have processed them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..store.log_batch import PredictionBatch

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MAX_STEP_ROWS = 500  # predictions of one step, after which the monitor checks for alarms, too
MIN_STEP_ROWS = 10  # predictions of a step of slow traffic: the detector decides once in as many
MAX_STEP_TIME = dt.timedelta(seconds=60)  # time that a step of more predictions covers


def microseconds(moment: dt.datetime) -> int:
    """Return a moment in microseconds of the Unix epoch, as the log has it."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def steps_of(batch: PredictionBatch) -> Iterator[PredictionBatch]:
    """Cut a batch into steps as a monitor that keeps up would make them; rejected predictions come with the first."""
    count = len(batch)
    if not count:
        yield batch
        return
    longest = MAX_STEP_TIME // dt.timedelta(microseconds=1)
    first = 0
    while first < count:
        within = int(np.searchsorted(batch.times[first : first + MAX_STEP_ROWS], batch.times[first] + longest, "right"))
        last = min(first + max(within, MIN_STEP_ROWS), count)
        part = batch.select(slice(first, last))
        yield replace(
            part,
            first=int(part.positions[0]),
            last=batch.last if last == count else int(part.positions[-1]),
            rejected=batch.rejected if first == 0 else {},
        )
        first = last
