"""A stream in an incident, and its watch for further shifts."""

from tests.support.watched_stream import Stream
from tidemark.monitor.events import AlertFired
from tidemark.monitor.further_shift_watch import FurtherShiftWatch
from tidemark.monitor.prepared_reference import PreparedReference


def alerted(prepared: PreparedReference) -> Stream:
    """Return a stream whose incident has just opened, and of which no further window is tested."""
    stream = Stream(prepared)
    stream.send(400)
    while not stream.of(AlertFired):
        stream.send(50, move=0.6)
    stream.explains = False
    return stream


def drifted(prepared: PreparedReference) -> Stream:
    """Return a stream with an open incident, whose watch for further shifts has just started."""
    stream = alerted(prepared)
    while stream.state.further is None:
        stream.send(50, move=0.6)
    return stream


def watch_of(stream: Stream) -> FurtherShiftWatch:
    assert stream.state.further is not None
    return stream.state.further


def evidence_of(stream: Stream) -> tuple[float, int]:
    """Return the evidence of the second detector, and the predictions that it has processed."""
    second = watch_of(stream).second
    assert second is not None
    return second.detector.evidence, second.detector.count
