"""The daily self-test: a planted shift goes through the real detector of each reference, in memory."""

import datetime as dt
import logging

from sqlalchemy import Engine

from ..drift import Reference, StreamDetector
from ..drift.scores import DetectorScores
from ..drift.self_test import SelfTestResult, self_test
from ..store import references, self_tests

INTERVAL = dt.timedelta(days=1)  # time between two self-tests of a reference
RUN_TIME = 100_000.0  # expected run time of the tested detector in predictions, so that delays can be compared

logger = logging.getLogger(__name__)


def run_due_self_tests(engine: Engine, interval: dt.timedelta = INTERVAL) -> int:
    """Test the detector of each reference in use whose last self-test is older than an interval; return their number.

    A reference whose detector is not calibrated yet is left for later: a monitor calibrates it when it first watches
    a stream of its model.
    """
    with engine.connect() as connection:
        due = self_tests.due(connection, interval)
    for reference_id in due:
        now = dt.datetime.now(dt.UTC)
        result = _test(engine, reference_id, seed=now.toordinal())
        with engine.begin() as connection:
            self_tests.save(connection, reference_id, now, result.delay, result.reason)
        if result.reason is None:
            logger.info("self-test of reference %d: alarm after %d predictions", reference_id, result.delay)
        else:
            logger.error("self-test of reference %d failed: %s", reference_id, result.reason)
    return len(due)


def _test(engine: Engine, reference_id: int, seed: int) -> SelfTestResult:
    """Run the self-test of a stored reference; an error of the detector is a failure, too."""
    with engine.connect() as connection:
        arrays = references.load(connection, reference_id)
        calibration = references.load_calibration(connection, reference_id)
    try:
        reference = Reference.from_arrays(arrays)
        scores = DetectorScores(reference)

        def new_detector() -> StreamDetector:
            return StreamDetector(reference, RUN_TIME, calibration=calibration, scores=scores)

        return self_test(new_detector, reference, seed)
    except Exception as error:
        logger.exception("self-test of reference %d", reference_id)
        return SelfTestResult(None, f"{type(error).__name__}: {error}"[:500])
