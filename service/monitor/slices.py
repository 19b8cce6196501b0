"""Hands what the whole model's stream has looked at to the streams of slices, in the same transaction."""

import datetime as dt
from typing import Any

from sqlalchemy import Connection, Row

from ..alerts.lifecycle import Alerts
from ..settings import Settings
from ..store import predictions, slices
from ..store.feedback import Labelled
from ..store.predictions import Batch
from .heavy_hitters import OTHER, Busiest


class Slices:
    """The slices of a model, while its whole stream is held.

    A prediction is given to one slice of each tag that it carries, once and for all, by the transaction that moves
    the whole model's cursor past it: every monitor agrees on it, and a crash repeats or skips none. A slice then has
    a cursor and a state of its own.
    """

    def __init__(self, connection: Connection, whole: Row[Any], settings: Settings) -> None:
        self._connection = connection
        self._whole = whole
        self._settings = settings
        self._streams = slices.active(connection, whole.model_id)
        self._counts: dict[str, Any] = dict(whole.tag_counts or {})

    def take(self, batch: Batch, alerts: Alerts, now: dt.datetime) -> dict[str, Any]:
        """Hand on predictions; return the whole stream's counts of tag values."""
        placed: list[tuple[int, int]] = []  # row, stream
        kept: set[str] = set()
        for key in self._settings.slice_tags:
            tag = f"{key}="
            own = {name.removeprefix(tag) for name in self._streams if name.startswith(tag)} - {OTHER}
            busiest = Busiest(self._settings.max_slices, own, self._counts.get(key, {}))
            for row, tags in enumerate(batch.tags):
                if value := tags.get(key):
                    placed.append((row, self._stream(tag + busiest.place(value))))
            self._counts[key] = busiest.state
            for value in busiest.own:
                self._stream(tag + value)
            kept |= {tag + value for value in (*busiest.own, OTHER)}
        if placed:
            slices.add_predictions(
                self._connection,
                [stream_id for _, stream_id in placed],
                [batch.cursors[row] for row, _ in placed],
                [batch.ids[row] for row, _ in placed],
            )
        for name in self._streams.keys() - kept:
            self._retire(self._streams[name], alerts, now)
        return {key: self._counts[key] for key in self._settings.slice_tags}

    def take_labels(self, labels: Labelled) -> None:
        """Hand on labels that came back: to the slices that the tags of their predictions mean now.

        A label of a prediction that is not in Postgres, not yet or no longer, is the whole stream's alone.
        """
        if not self._streams:
            return
        tags = predictions.tags(self._connection, labels.ids)
        placed = [
            (row, stream_id)
            for row, key in enumerate(labels.ids)
            for tag, value in tags.get(key, {}).items()
            if (stream_id := self._streams.get(f"{tag}={value}", self._streams.get(f"{tag}={OTHER}"))) is not None
        ]
        if placed:
            slices.add_labels(
                self._connection, [stream_id for _, stream_id in placed], [row for row, _ in placed], labels
            )

    def _stream(self, name: str) -> int:
        if name not in self._streams:
            self._streams[name] = slices.start(self._connection, self._whole, name)
        return self._streams[name]

    def _retire(self, stream_id: int, alerts: Alerts, now: dt.datetime) -> None:
        slices.retire(self._connection, stream_id, now)
        alerts.resolve_all(self._connection, stream_id, now, "retired")
