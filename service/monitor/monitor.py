"""The monitor's loop: it owns models by leases, keeps their states in memory, and processes what was logged of them.

A step reads without a lock, computes without a transaction, and writes in one short transaction that fails if another
monitor has processed the same predictions. After a crash the states of the last checkpoint process the log again.
"""

import datetime as dt
import logging
import os
import socket
import threading
import time
from uuid import uuid4

from sqlalchemy import Engine

from ..alerts.lifecycle import Alerts
from ..settings import Settings
from ..store import label_log, log, log_sweep, watch
from ..store.errors import DATABASE_ERRORS, is_unavailable, reason
from ..store.log_batch import EXPIRED
from ..store.watch import Target
from .events import Explanation
from .explanations import Explanations
from .labels import MAX_LABELS
from .loading import load_model, rebased
from .model_step import REFERENCE, WHOLE, ModelInput, Transition, advance
from .owned_model import OwnedModel
from .preparation import PreparedReferences
from .prepared_reference import BaselineKey, PreparedReference
from .state import SecondDetector
from .writing import LostModel, write_checkpoint, write_status, write_transition

LEASE = 30.0  # seconds without a heartbeat, after which a monitor counts as dead and another takes its models
HOUSEKEEPING = 10.0  # seconds between heartbeats
CLOSING = 5.0  # seconds that the last checkpoints may take when the monitor ends
MAX_BASELINE_BYTES = 2_000_000_000  # bytes of the baselines of loaded models, beyond which models at rest are parked
MAX_BACKOFF = 60.0  # seconds between attempts after an error of the loop itself
FAILED = "failed"  # reason: a step with this prediction alone failed again and again

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
        self._engine = engine
        self._alerts = alerts
        self._baselines = PreparedReferences(engine, settings, inline)
        self._explanations = Explanations(engine, unlimited=inline)
        self._models: dict[int, OwnedModel] = {}
        self._others = 0  # monitors that live besides this one
        self._polled_at = self._cleaned_at = -float("inf")
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
                self._models.clear()
                stopping.wait(backoff)
                backoff = min(2 * backoff, 10.0)
            except Exception:
                logger.exception("the monitor starts again")
                self._models.clear()
                stopping.wait(backoff)
                backoff = min(2 * backoff, MAX_BACKOFF)
        self.close()

    def settle(self) -> None:
        """Process all that was logged, and test every window that is due; for tests and replays."""
        while True:
            self._polled_at = self._cleaned_at = -float("inf")
            if not self.turn() and self._explanations.idle and self._baselines.idle:
                break
        for model in self._models.values():
            self._save_status(model)

    def turn(self, stopping: threading.Event | None = None) -> bool:
        """Give each model with something new one step; return whether some have more to process at once."""
        self.turned_at = time.monotonic()
        if self.turned_at - self._polled_at >= self._settings.monitor_poll:
            self._poll()
            self._polled_at = self.turned_at
        self._collect()
        more = False
        for model in list(self._models.values()):
            if stopping is not None and stopping.is_set():
                return False
            if self._is_waiting(model):
                self._attempt(model)
                more |= model.has_more
            elif model.status_is_due:
                self._save_status(model)
            self.turned_at = time.monotonic()
        return more or bool(self._models and not self._explanations.idle and self._inline)

    def close(self) -> None:
        """Store the states, give the leases back and sign off, as far as the time suffices."""
        until = time.monotonic() + CLOSING
        try:
            for model in self._models.values():
                if model.state is not None and model.is_dirty and time.monotonic() < until:
                    self._checkpoint(model)
            with self._engine.begin() as connection:
                watch.release(connection, [model.whole.id for model in self._models.values()], self.id)
                watch.sign_off(connection, self.id)
        except DATABASE_ERRORS as error:
            logger.warning("the leases are left to expire: %s", reason(error))
        self._models.clear()

    # Ownership

    def _poll(self) -> None:
        """Read what there is to watch, and take, extend or give back leases."""
        now = time.monotonic()
        with self._engine.connect() as connection:
            targets = watch.targets(connection)
        wholes = {target.model_id: target for target in targets if target.slice == WHOLE}
        slices: dict[int, dict[str, Target]] = {model_id: {} for model_id in wholes}
        for target in targets:
            if target.model_id in wholes:
                slices[target.model_id][target.slice] = target
        if now - self._cleaned_at >= HOUSEKEEPING:
            self._keep_house(list(wholes.values()))
            self._cleaned_at = now
        for model_id, model in list(self._models.items()):
            whole = wholes.get(model_id)
            if whole is None or whole.reference_id is None or whole.lease_owner not in (self.id, None):
                self._drop(model)
            else:
                model.targets = slices[model_id]
        watched = [whole for whole in wholes.values() if whole.reference_id is not None]
        share = -(-len(watched) // (1 + self._others))
        self._give_back(max(len(self._models) - share, 0))
        for whole in watched:
            is_free = whole.lease_owner in (self.id, None) or not whole.leased
            if whole.model_id not in self._models and is_free and len(self._models) < share:
                with self._engine.begin() as connection:
                    if watch.acquire(connection, whole.id, self.id, LEASE):
                        self._models[whole.model_id] = OwnedModel(whole.model_id, slices[whole.model_id])

    def _keep_house(self, wholes: list[Target]) -> None:
        owned = [model.whole.id for model in self._models.values()]
        with self._engine.begin() as connection:
            watch.heartbeat(connection, self.id, f"{socket.gethostname()}:{os.getpid()}")
            self._others = max(watch.live_monitors(connection, LEASE) - 1, 0)
            watch.renew(connection, owned, self.id, LEASE)
            watch.reopen(connection)
            log_sweep.sweep(connection)
            for whole in wholes:
                if whole.reference_id is None and (whole.position, whole.label_position) != (
                    whole.written,
                    whole.labels_written,
                ):
                    watch.skip_to(connection, whole.id, whole.written, whole.labels_written)
        self._park()
        loaded = [model for model in self._models.values() if model.state is not None]
        self._baselines.trim({key for model in loaded for key in model.keys.values()})

    def _park(self) -> None:
        """Drop the states of the models that rest longest, while the baselines in use need too much memory."""
        now = dt.datetime.now(dt.UTC)
        loaded = [model for model in self._models.values() if model.state is not None]
        size = sum(self._baselines.size_of(set(model.keys.values())) for model in loaded)
        for model in sorted(loaded, key=lambda model: model.stepped_at):
            if size <= MAX_BASELINE_BYTES:
                return
            if not model.has_input(now, self._settings) and self._explanations.idle:
                self._save_status(model)
                self._checkpoint(model)
                size -= self._baselines.size_of(set(model.keys.values()))
                model.park()

    def _give_back(self, count: int) -> None:
        """Give the models with the least to process to other monitors."""
        by_backlog = sorted(self._models.values(), key=lambda model: (model.backlog, model.model_id))
        for model in by_backlog[:count]:
            if model.state is not None and model.is_dirty:
                self._checkpoint(model)
            with self._engine.begin() as connection:
                watch.release(connection, [model.whole.id], self.id)
            self._drop(model)

    def _drop(self, model: OwnedModel) -> None:
        self._models.pop(model.model_id, None)

    # Steps

    def _collect(self) -> None:
        """Hand answers of the background threads to the models that they are for."""
        for answer in self._explanations.collect():
            if (model := self._models.get(answer.model_id)) is not None:
                model.explanations.append(answer.explanation)
        for model_id, slice_name, incident_id, second in self._baselines.seconds():
            if (model := self._models.get(model_id)) is not None:
                model.seconds[slice_name] = (incident_id, second)

    def _is_waiting(self, model: OwnedModel) -> bool:
        """Check whether a step of a model has something to do."""
        if time.monotonic() < model.retry_at:
            return False
        if model.state is None:
            return model.wakes or not model.parked
        return model.keys_changed or model.has_input(dt.datetime.now(dt.UTC), self._settings)

    def _attempt(self, model: OwnedModel) -> None:
        """Make a step; one that fails is repeated later, with fewer predictions, from the last checkpoint on."""
        try:
            self._step(model)
            model.succeeded()
        except LostModel:
            logger.info("model %d is watched by another monitor", model.model_id)
            self._drop(model)
        except Exception as error:
            if isinstance(error, DATABASE_ERRORS) and is_unavailable(error):
                raise
            logger.exception("a step of model %d failed", model.model_id)
            model.failed(error)
            with self._engine.begin() as connection:
                watch.save(connection, model.whole.id, {"blind_reason": "error"})

    def _step(self, model: OwnedModel) -> None:
        prepared = self._prepared(model)
        if prepared is None:
            return
        if model.state is None:
            with self._engine.connect() as connection:
                loaded = load_model(connection, model.model_id, model.targets, model.keys, prepared, self._settings)
            model.load(loaded.state, loaded.is_stored)
        elif model.keys_changed:
            model.state = rebased(model.state, model.loaded_keys, model.keys, prepared, self._settings)
            model.loaded_keys = dict(model.keys)
        state = model.state
        if state is None:
            return
        incoming = self._read(model, prepared)
        now = dt.datetime.now(dt.UTC)
        transition = advance(state, incoming, prepared, self._settings, now)
        self._write(model, transition, now)
        for request in transition.requests:
            baseline = prepared.get(request.slice, prepared[REFERENCE])
            self._explanations.submit(model.model_id, request, baseline)
        for baseline_request in transition.baselines:
            baseline = prepared.get(baseline_request.slice, prepared[REFERENCE])
            self._baselines.request_second(model.model_id, baseline_request, baseline)

    def _prepared(self, model: OwnedModel) -> dict[str, PreparedReference] | None:
        """Return the baseline of each stream of a model, or None while one of them is not ready."""
        prepared: dict[str, PreparedReference] = {}
        for name, key in {REFERENCE: BaselineKey(model.reference_id), **model.keys}.items():
            baseline = self._baselines.get(key)
            if baseline is None:
                if (failure := self._baselines.failure(key)) is not None:
                    raise RuntimeError(f"the baseline of {name or 'the model'} cannot be prepared: {failure}")
                return None
            prepared[name] = baseline
        return prepared

    def _read(self, model: OwnedModel, prepared: dict[str, PreparedReference]) -> ModelInput:
        state, reference = model.state, prepared[WHOLE].reference
        batch = labels = None
        if state is None:
            return ModelInput()
        sizes = reference.embeddings.shape[1], reference.classes
        with self._engine.connect() as connection:
            if state.position < model.written:
                batch = log.read(connection, model.model_id, state.position, model.step_limit(), *sizes)
            if state.label_position < model.labels_written:
                labels = label_log.read(connection, model.model_id, state.label_position, MAX_LABELS, sizes[1])
        if model.must_skip and state.position == model.stored_position:
            batch = model.skipped_batch(state.position + 1, FAILED, *sizes)
        elif batch is None and state.position < model.written:
            batch = model.skipped_batch(model.written, EXPIRED, *sizes)
        seconds: dict[str, SecondDetector] = {}
        for name, (incident_id, second) in model.seconds.items():
            incident = state.streams[name].incident if name in state.streams else None
            if incident is not None and incident.id == incident_id:
                seconds[name] = second
        explanations: list[Explanation] = list(model.explanations)
        model.seconds.clear()
        model.explanations.clear()
        return ModelInput(batch, labels, explanations, seconds)

    def _write(self, model: OwnedModel, transition: Transition, now: dt.datetime) -> None:
        checkpoint = model.checkpoint_is_due(transition)
        if not model.must_write(transition, checkpoint):
            model.state = transition.state
            model.changed(transition)
            return
        with self._engine.begin() as connection:
            written = write_transition(connection, self._alerts, model, transition, self.id, now)
            size = write_checkpoint(connection, model, written.state, written.ids) if checkpoint else None
        model.committed(transition, written.state, written.ids, size)

    def _save_status(self, model: OwnedModel) -> None:
        if model.state is None or not model.unsaved:
            return
        with self._engine.begin() as connection:
            write_status(connection, model, model.state, model.ids, model.unsaved)
        model.status_saved()

    def _checkpoint(self, model: OwnedModel) -> None:
        state = model.state
        if state is None or state.position < model.stored_position:
            return
        with self._engine.begin() as connection:
            if not watch.advance(
                connection, model.whole.id, self.id, model.stored_position, {"position": state.position}
            ):
                return
            write_status(connection, model, state, model.ids, model.unsaved)
            write_checkpoint(connection, model, state, model.ids)

    @property
    def _inline(self) -> bool:
        return self._explanations.unlimited
