"""The oldest rows of a spool, joined into as few batches as their layouts allow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ..store.log_writer import NumberedBatch
from .encoding import COLUMNS, Columns, Layout, decode, layout

SELECT = f"SELECT seq, count, first_number, at_from, at_to, {COLUMNS} FROM batches ORDER BY seq"


@dataclass(frozen=True)
class PendingRows:
    """The oldest rows of a spool."""

    batches: list[NumberedBatch]
    last: int  # argument of `discard` once they are safe elsewhere; 0 if the spool is empty
    more: bool  # True if there may be rows behind these
    unreadable: tuple[int, ...] = ()  # rows whose columns do not fit together, for `set_aside`

    @property
    def count(self) -> int:
        """The number of predictions."""
        return sum(len(batch.predictions) for batch in self.batches)


class SpooledBatch(NamedTuple):
    """A row of `SELECT`."""

    seq: int
    predictions: int
    first_number: int
    at_from: int  # time of the earliest prediction in milliseconds of the Unix epoch, and of the latest
    at_to: int
    columns: Columns
    images: bytes | None = None  # images that are still to be measured, only in the ring, see `unmeasured_images`

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "SpooledBatch":
        """Return a row as SQLite gives it."""
        seq, predictions, first_number, at_from, at_to, *columns = row
        return cls(seq, predictions, first_number, at_from, at_to, Columns(*columns))

    @property
    def nbytes(self) -> int:
        """The bytes of the predictions."""
        return sum(map(len, filter(None, (*self.columns, self.images))))


def pending_rows(rows: Sequence[SpooledBatch], more: bool) -> PendingRows:
    """Return rows of `SELECT` as batches; those whose columns do not fit together are named instead."""
    batches: list[NumberedBatch] = []
    unreadable: list[int] = []
    for _, items in groupby(_with_layout(rows), key=lambda item: item[0]):
        same_layout = [row for _, row in items]
        try:
            batches.append(_batch(same_layout))
        except ValueError:
            unreadable += [row.seq for row in same_layout]
    return PendingRows(batches, rows[-1].seq if rows else 0, more, tuple(unreadable))


def _with_layout(rows: Iterable[SpooledBatch]) -> Iterator[tuple[Layout, SpooledBatch]]:
    """Yield rows with what those have in common that can be one batch: their layout, and numbers that follow on."""
    shifts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for row in rows:
        model, number = row.columns.model, row.first_number
        if ends.get(model) != number:
            shifts[model] = number
        ends[model] = number + row.predictions
        yield (shifts[model], *layout(row.predictions, row.columns)), row


def _batch(rows: list[SpooledBatch]) -> NumberedBatch:
    """Return rows of the columns `SELECT` as one batch."""
    return NumberedBatch(rows[0].first_number, decode([row.predictions for row in rows], [row.columns for row in rows]))
