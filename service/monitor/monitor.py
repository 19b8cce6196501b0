"""The monitor's loop: it owns models by leases, keeps their states in memory, and processes what was logged of them.

A step reads without a lock, computes without a transaction, and writes in one short transaction that fails if another
monitor has processed the same predictions. After a crash the states of the last checkpoint process the log again.
"""

import datetime as dt
import logging
import threading
import time
from uuid import uuid4

from sqlalchemy import Engine

from ..alerts.lifecycle import Alerts
from ..settings import Settings
from ..store.errors import DATABASE_ERRORS, is_unavailable, reason
from .baseline_cache import BaselineCache
from .events import Explanation
from .explanations import Explanations
from .model_leases import ModelLeases
from .model_processor import ModelProcessor
from .owned_model import OwnedModel

CLOSING = 5.0  # seconds that the last checkpoints may take when the monitor ends
MAX_BASELINE_BYTES = 2_000_000_000  # bytes of the baselines of loaded models, beyond which models at rest are parked
MAX_UNAVAILABLE_BACKOFF = 10.0  # seconds between attempts while the database is unavailable
MAX_ERROR_BACKOFF = 60.0  # seconds between attempts after an error of the loop itself

UNDELAYED_MODELS = 10  # models of a monitor up to which each is processed at every poll
STEP_INTERVAL = 0.25  # seconds between two steps of a model for each further model: a step costs some milliseconds
MAX_STEP_INTERVAL = 10.0  # seconds that a few predictions wait at most until they are processed together
DELAYED_ROWS = 100  # predictions of a model that do not wait

logger = logging.getLogger(__name__)


class Monitor:
    """Watches the streams of the models that it owns; any number of monitors may share the models of a database.

    Parameters
    ----------
    inline : bool, default False
        Whether windows are tested and baselines prepared in the caller's thread, without a bound on their time.
    """

    def __init__(self, settings: Settings, engine: Engine, alerts: Alerts, inline: bool = False) -> None:
        self.id = uuid4()
        self._settings = settings
        self._alerts = alerts
        self._baselines = BaselineCache(engine, settings, inline)
        self._explanations = Explanations(engine, unlimited=inline)
        self._processor = ModelProcessor(engine, settings, alerts, self.id, self._baselines, self._explanations)
        self._leases = ModelLeases(engine, self.id, self._processor)
        self._answers: dict[int, list[Explanation]] = {}  # explanations by model that no step has stored yet
        self._polled_at = -float("inf")
        self.turned_at = time.monotonic()

    def run(self, stopping: threading.Event) -> None:
        """Watch until stopped; a database that is unavailable is waited for."""
        backoff = self._settings.monitor_poll
        while not stopping.is_set():
            try:
                if not self.turn(stopping):
                    stopping.wait(self._settings.monitor_poll)
                backoff = self._settings.monitor_poll
            except DATABASE_ERRORS as error:
                if not is_unavailable(error):
                    logger.exception("the monitor starts again")
                else:
                    logger.warning("the database is unavailable: %s", reason(error))
                self._forget_states()
                stopping.wait(backoff)
                backoff = min(2 * backoff, MAX_UNAVAILABLE_BACKOFF)
            except Exception:
                logger.exception("the monitor starts again")
                self._forget_states()
                stopping.wait(backoff)
                backoff = min(2 * backoff, MAX_ERROR_BACKOFF)
        self.close()

    def settle(self) -> None:
        """Process all that was logged, and test every window that is due; for tests and replays."""
        while True:
            self._polled_at = -float("inf")
            self._leases.expire()
            if not self.turn() and self._explanations.idle and self._baselines.idle:
                break
        for model in self._leases.models.values():
            self._processor.save_status(model)

    def turn(self, stopping: threading.Event | None = None) -> bool:
        """Give each model with something new one step; return whether some have more to process at once.

        A step that processes nothing, for example while a baseline is prepared in the background, is tried again after
        the next poll: a loop without a pause would take the processor from that preparation.
        """
        self.turned_at = time.monotonic()
        if self.turned_at - self._polled_at >= self._settings.monitor_poll:
            self.poll()
        self._collect()
        has_more = False
        for model in list(self._leases.models.values()):
            if stopping is not None and stopping.is_set():
                return False
            if self._is_waiting(model):
                processed = model.processed
                if not self._processor.attempt(model):
                    self._leases.drop(model)
                has_more |= model.has_more and model.processed != processed
            elif model.statuses.is_due:
                self._processor.save_status(model)
            self.turned_at = time.monotonic()
        return has_more or bool(self._leases.models and not self._explanations.idle and self._explanations.unlimited)

    def poll(self) -> None:
        """Read what there is to watch, and share it with the other monitors."""
        if self._leases.refresh():
            self._bound_memory()
        self._polled_at = time.monotonic()

    @property
    def models(self) -> list[OwnedModel]:
        """The models that this monitor owns."""
        return list(self._leases.models.values())

    def close(self) -> None:
        """Store the states, give the leases back and sign off, as far as the time suffices."""
        until = time.monotonic() + CLOSING
        try:
            for model in self._leases.models.values():
                if model.state is not None and model.is_dirty and time.monotonic() < until:
                    self._processor.save_checkpoint(model)
            self._leases.release_all()
        except DATABASE_ERRORS as error:
            logger.warning("the leases are left to expire: %s", reason(error))
        self._leases.models.clear()

    def _forget_states(self) -> None:
        """Forget the models, whose last checkpoints are read again; answers for them wait until then."""
        for model in self._leases.models.values():
            self._answers.setdefault(model.model_id, []).extend(model.explanations)
        self._leases.models.clear()
        self._polled_at = -float("inf")

    def _collect(self) -> None:
        """Hand answers of the background threads to the models that they are for, unless other monitors own them."""
        models = self._leases.models
        for answer in self._explanations.collect():
            self._answers.setdefault(answer.model_id, []).append(answer.explanation)
        for model_id in self._answers.keys() & models.keys():
            models[model_id].explanations += self._answers[model_id]
        self._answers.clear()
        for result in self._baselines.seconds():
            if (model := models.get(result.model_id)) is not None:
                model.second_baselines.add(result)

    def _is_waiting(self, model: OwnedModel) -> bool:
        """Check whether a step of a model has something to do."""
        if time.monotonic() < model.retries.retry_at:
            return False
        if model.state is None:
            return model.wakes or not model.parked
        if model.keys_changed:
            return True
        return not self._can_wait(model) and model.has_input(dt.datetime.now(dt.UTC), self._settings)

    def _can_wait(self, model: OwnedModel) -> bool:
        """Check whether the next step can wait: a monitor of many models processes a few predictions together."""
        if model.has_answers or model.requested_windows or model.backlog >= DELAYED_ROWS:
            return False
        interval = STEP_INTERVAL * max(len(self._leases.models) - UNDELAYED_MODELS, 0)
        return time.monotonic() - model.stepped_at < min(interval, MAX_STEP_INTERVAL)

    def _bound_memory(self) -> None:
        """Park the models that rest longest while the baselines in use need too much memory; drop unused baselines."""
        now = dt.datetime.now(dt.UTC)
        loaded = [model for model in self._leases.models.values() if model.state is not None]
        size = sum(self._baselines.size_of(set(model.keys.values())) for model in loaded)
        for model in sorted(loaded, key=lambda model: model.stepped_at):
            if size <= MAX_BASELINE_BYTES:
                break
            if not model.has_input(now, self._settings) and self._explanations.idle:
                self._processor.save_status(model)
                self._processor.save_checkpoint(model)
                size -= self._baselines.size_of(set(model.keys.values()))
                model.park()
        loaded = [model for model in loaded if model.state is not None]
        self._baselines.trim({key for model in loaded for key in model.keys.values()})
