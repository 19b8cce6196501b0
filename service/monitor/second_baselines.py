"""The baselines of the watches for further shifts of one model, from their preparation to the steps that use them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .events import WatchKey
from .further_shift_watch import FurtherShiftWatch, PreparationFailure
from .prepared_reference import PreparedReference
from .stream_state import StreamState


class SecondBaseline(NamedTuple):
    """The baseline of a stream's watch for further shifts, or why it could not be prepared."""

    model_id: int
    slice: str
    key: WatchKey
    baseline: PreparedReference | PreparationFailure


class ReadyWatch(NamedTuple):
    """A watch that can go on without new predictions, and its baseline if it has waited for that."""

    slice: str
    watch: FurtherShiftWatch
    baseline: PreparedReference | PreparationFailure | None


class SecondBaselines:
    """What was prepared for the watches of a model's streams; it is kept as long as they last, for a step that fails
    needs it again."""

    def __init__(self) -> None:
        self._results: dict[str, SecondBaseline] = {}  # by the name of the slice

    def add(self, result: SecondBaseline) -> None:
        """Add the result of a preparation."""
        self._results[result.slice] = result

    def keep(self, streams: Mapping[str, StreamState]) -> None:
        """Forget what belongs to no present watch."""
        self._results = {
            name: result
            for name, result in self._results.items()
            if name in streams and (watch := streams[name].further) is not None and watch.key == result.key
        }

    def of(self, stream: StreamState) -> PreparedReference | PreparationFailure | None:
        """Return what a stream's watch waits for; None while it is prepared, or if the watch waits for nothing."""
        result, watch = self._results.get(stream.slice), stream.further
        if result is None or watch is None or not watch.needs_baseline or watch.key != result.key:
            return None
        return result.baseline

    def ready(self, streams: Mapping[str, StreamState]) -> Iterator[ReadyWatch]:
        """Yield the watches whose baseline has become ready or has failed, and those whose detector can process
        predictions that wait."""
        for name, stream in streams.items():
            watch, baseline = stream.further, self.of(stream)
            if watch is not None and (baseline is not None or (watch.second is not None and len(watch.waiting))):
                yield ReadyWatch(name, watch, baseline)

    def missing(self, streams: Mapping[str, StreamState]) -> Iterator[tuple[str, FurtherShiftWatch]]:
        """Yield the watches, by the name of the slice, whose baseline is still to be prepared."""
        for name, stream in streams.items():
            if stream.further is not None and stream.further.needs_baseline and self.of(stream) is None:
                yield name, stream.further
