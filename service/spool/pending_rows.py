"""The oldest rows of a spool, joined into as few batches as their layouts allow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..store.log_writer import NumberedBatch
from .encoding import COLUMNS, decode, layout

SELECT = f"SELECT seq, count, first_number, {COLUMNS} FROM batches ORDER BY seq"


@dataclass(frozen=True)
class PendingRows:
    """The oldest rows of a spool."""

    batches: list[NumberedBatch]
    last: int  # what `discard` takes once they are safe elsewhere; 0 where the spool is empty
    more: bool  # whether the limits left rows behind
    unreadable: tuple[int, ...] = ()  # what `set_aside` takes: rows whose columns do not fit together

    @property
    def count(self) -> int:
        """How many predictions there are."""
        return sum(len(batch.predictions) for batch in self.batches)


def pending_rows(rows: Sequence[tuple[Any, ...]], more: bool) -> PendingRows:
    """Return rows of `SELECT` as batches; those whose columns do not fit together are named instead."""
    batches: list[NumberedBatch] = []
    unreadable: list[int] = []
    for _, items in groupby(_with_layout(rows), key=lambda item: item[0]):
        alike = [row for _, row in items]
        try:
            batches.append(_batch(alike))
        except ValueError:
            unreadable += [row[0] for row in alike]
    return PendingRows(batches, rows[-1][0] if rows else 0, more, tuple(unreadable))


def _with_layout(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield rows with what those have in common that can be one batch: their layout, and numbers that follow on."""
    shifts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for row in rows:
        _, count, number, model = row[:4]
        if ends.get(model) != number:
            shifts[model] = number
        ends[model] = number + count
        yield (shifts[model], *layout(count, row[3:])), row


def _batch(rows: list[tuple[Any, ...]]) -> NumberedBatch:
    """Return rows of the columns `SELECT` as one batch."""
    return NumberedBatch(rows[0][2], decode([row[1] for row in rows], [row[3:] for row in rows]))
