"""A caller can give way to other work between the parts of a calibration, whose result does not depend on it."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import ArrayLike

from tests.support.watched_stream import WORLD
from tidemark.drift import StreamDetector, detector_simulation

REFERENCE = WORLD.reference(600, np.random.default_rng(0))
CALM = WORLD.traffic(1000, np.random.default_rng(1))


@pytest.mark.parametrize(("traffic", "draws"), [(None, 15), (CALM, 8)], ids=["reference", "calm"])
def test_a_calibration_in_parts_is_the_same(
    traffic: Mapping[str, ArrayLike] | None, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_simulation, "CALM_CHUNKS", 4)
    monkeypatch.setattr(detector_simulation, "REDRAWN_STRETCHES", 2)
    monkeypatch.setattr(detector_simulation, "STRETCH_CHUNKS", 1)
    parts: list[None] = []
    whole = StreamDetector(REFERENCE, calm=traffic).calibration()
    divided = StreamDetector(REFERENCE, calm=traffic, between_parts=lambda: parts.append(None)).calibration()
    assert len(parts) == draws
    for name, values in whole.items():
        np.testing.assert_array_equal(np.asarray(divided[name]), np.asarray(values))
