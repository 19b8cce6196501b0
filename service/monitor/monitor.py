"""The monitor: moves streams forward, one transaction a step."""

import logging
import threading
import time

from sqlalchemy import Engine

from ..alerts.lifecycle import Alerts
from ..settings import Settings
from ..store import calibrations, streams
from .prepared_reference import Watcher, prepare
from .stream_step import Step

logger = logging.getLogger(__name__)


class Monitor:
    """Several monitors may run: a stream is held by a row lock while one of them moves it."""

    def __init__(self, settings: Settings, engine: Engine, alerts: Alerts) -> None:
        self._settings = settings
        self._engine = engine
        self._alerts = alerts
        self._watchers: dict[tuple[int, int | None], Watcher] = {}
        self._preparing = threading.Lock()

    def waiting(self) -> list[int]:
        """Return the ids of the streams that have something to look at."""
        with self._engine.connect() as connection:
            return streams.waiting(connection, self._settings.window_min_size, self._settings.window_max_age)

    def advance(self, stream_id: int) -> None:
        """Look at everything that a stream has to offer now."""
        while self._step(stream_id):
            pass

    def _step(self, stream_id: int) -> bool:
        with self._engine.connect() as connection:
            reference_id = streams.get(connection, stream_id).reference_id
            if reference_id is None:
                return False
            calibration_id = calibrations.newest(connection, stream_id, reference_id)
        watcher = self._watcher(reference_id, calibration_id)
        with self._engine.begin() as connection:
            row = streams.lock(connection, stream_id)
            if row is None or row.reference_id != reference_id or row.retired_at is not None:
                return False
            return Step(connection, row, watcher, self._settings, self._alerts).take()

    def _watcher(self, reference_id: int, calibration_id: int | None) -> Watcher:
        key = reference_id, calibration_id
        with self._preparing:
            if key not in self._watchers:
                started = time.perf_counter()
                self._watchers[key] = prepare(self._engine, reference_id, calibration_id, self._settings)
                logger.info("reference %d is ready after %.1f s", reference_id, time.perf_counter() - started)
            return self._watchers[key]
