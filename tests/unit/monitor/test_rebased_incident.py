"""An incident of a stream that is compared with other calm traffic from now on."""

from dataclasses import replace

import pytest

from tests.support.watched_stream import Stream, short_reference
from tidemark.monitor.loading import rebase_state
from tidemark.monitor.model_state import WHOLE, ModelState
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return short_reference()


def test_reopenings_are_forgotten_when_calm_traffic_is_declared(prepared: PreparedReference) -> None:
    """They count for the alarms against what the stream was compared with before."""
    stream = Stream(prepared)
    stream.send(400)
    stream.send(200, move=0.6)
    assert stream.state.incident is not None
    reopened = replace(stream.state.incident, reopened=4)
    state = ModelState(1, stream.state.seen, 0, {WHOLE: replace(stream.state, incident=reopened)})
    before, after = {WHOLE: BaselineKey(1)}, {WHOLE: BaselineKey(1, calibration_id=7)}
    incident = rebase_state(state, before, after, {WHOLE: prepared}, stream.settings).whole.incident
    assert incident is not None
    assert (incident.id, incident.reopened, incident.alarmed_at) == (reopened.id, 0, stream.state.seen)
    unchanged = rebase_state(state, before, before, {WHOLE: prepared}, stream.settings).whole.incident
    assert unchanged is reopened
