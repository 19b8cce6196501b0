"""Everything that is computed once per reference: the window test and the calibrated sequential detector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from ..drift import Reference, StreamDetector, WindowTest
from ..drift.neighbours import Neighbours
from ..settings import Settings
from ..store import calibrations, references
from .budget import run_time

SEED = 0
LEVEL = 0.01  # at which a single window is called drifted; alarms are the detector's


@dataclass(frozen=True, eq=False)
class Watcher:
    """A reference with its tests, ready for use."""

    reference_id: int
    reference: Reference
    test: WindowTest
    neighbours: Neighbours | None  # where the reference keeps thumbnails
    calibration: Mapping[str, Any]

    def detector(self, settings: Settings) -> StreamDetector:
        """Return a detector that has seen nothing."""
        return StreamDetector(
            self.reference, expected_run_time=run_time(settings), seed=SEED, calibration=self.calibration
        )


def prepare(engine: Engine, reference_id: int, calibration_id: int | None, settings: Settings) -> Watcher:
    """Load a reference and calibrate its tests: on traffic that was declared calm, else on the reference alone, when
    the detector's calibration is cached beside it."""
    calm: Mapping[str, Any] | None = None
    with engine.connect() as connection:
        reference = load(connection, reference_id)
        calibration = references.load_calibration(connection, reference_id)
        shown = list(references.load_thumbnails(connection, reference_id))
        if calibration_id is not None:
            calm, calibration = calibrations.load(connection, calibration_id)
    if calibration is None or not _fits(reference, calibration):
        calibration = StreamDetector(reference, settings.expected_run_time, SEED, calm).calibration()
        if calm is None:
            with engine.begin() as connection:
                references.save_calibration(connection, reference_id, calibration)
    if calm is not None and len(calm["embeddings"]) < 10 * settings.window_size:
        calm = None  # declared when windows were smaller
    test = WindowTest(reference, window_size=settings.window_size, seed=SEED, level=LEVEL, calm=calm)
    neighbours = Neighbours(reference, np.array(shown)) if shown else None
    return Watcher(reference_id, reference, test, neighbours, calibration)


def _fits(reference: Reference, calibration: Mapping[str, Any]) -> bool:
    """Tell whether this version can use a calibration; one that an earlier version made may be of other scores."""
    try:
        StreamDetector(reference, calibration=calibration)
    except ValueError:
        return False
    return True


def load(connection: Connection, reference_id: int) -> Reference:
    """Return a stored reference."""
    return Reference.of(references.load(connection, reference_id))
