"""What a stream's state holds of its newest predictions is bounded, whatever the steps in which they come."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.watched_stream import SETTINGS
from tidemark.monitor.model_state import new_stream
from tidemark.monitor.prepared_reference import PreparedReference


@pytest.mark.parametrize("step", [333, 12_000])
def test_the_ids_of_5000_predictions_and_2000_confidences_are_kept_the_newest(
    prepared: PreparedReference, step: int
) -> None:
    count, classes = 12_000, prepared.reference.probabilities.shape[1]
    ids = np.arange(count).astype(">u8").view(np.uint8).reshape(count, 8).repeat(2, axis=1)
    certainty = np.linspace(0.3, 0.9, count)[:, None]  # of the first class; it grows with each prediction
    probabilities = np.hstack([certainty, (1 - certainty) / (classes - 1) * np.ones(classes - 1)]).astype(np.float32)

    state = new_stream(1, "", prepared, SETTINGS)
    for first in range(0, count, step):
        part = slice(first, first + step)
        state = state.with_recent(ids[part]).with_confidences(probabilities[part])
        state = replace(state, seen=min(first + step, count))

    assert state.recent.tobytes() == ids[-5000:].tobytes()
    assert state.labels
    newest = state.labels.monitor.confidence(probabilities[2000::5]).astype(np.float32)
    assert state.confidences.tobytes() == newest.tobytes()
