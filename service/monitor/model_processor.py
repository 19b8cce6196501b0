"""The steps of models that a monitor owns: read, compute, and write in one short transaction."""

import datetime as dt
import logging
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, Engine

from ..alerts.lifecycle import Alerts
from ..settings import Settings
from ..store import log, log_batch, monitor_progress, streams
from ..store.errors import DATABASE_ERRORS, is_unavailable
from ..store.log_batch import EXPIRED
from .baseline_cache import BaselineCache
from .events import BaselineRequest, WindowRequest
from .explanations import Explanations
from .further_shift_watch import FurtherShiftInput
from .label_reading import read_labels
from .loading import load_model, rebase_state
from .model_state import REFERENCE, WHOLE, ModelInput, ModelState, ModelTransition, baseline_of
from .model_step import advance
from .owned_model import OwnedModel
from .prepared_reference import BaselineKey, PreparedReference
from .rows_in_order import read_in_order
from .transition_writer import LostModel, write_checkpoint, write_status, write_transition

FAILED = "failed"  # reason: a step with this prediction alone failed again and again

logger = logging.getLogger(__name__)


class ModelProcessor:
    """Makes the steps of one monitor's models and stores their states.

    Parameters
    ----------
    owner : UUID
        The monitor that holds the leases of the models.
    baselines : BaselineCache
        What the streams are compared with.
    explanations : Explanations
        The background tests of windows.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        alerts: Alerts,
        owner: UUID,
        baselines: BaselineCache,
        explanations: Explanations,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._alerts = alerts
        self._owner = owner
        self._baselines = baselines
        self._explanations = explanations

    def attempt(self, model: OwnedModel) -> bool:
        """Make a step; return False if another monitor has taken the model.

        A step that fails is repeated later, with fewer predictions, from the last checkpoint on.
        """
        try:
            self._step(model)
            model.succeeded()
        except LostModel:
            logger.info("model %d is watched by another monitor", model.model_id)
            return False
        except Exception as error:
            if isinstance(error, DATABASE_ERRORS) and is_unavailable(error):
                raise
            logger.exception("a step of model %d failed", model.model_id)
            model.failed(error)
            with self._engine.begin() as connection:
                monitor_progress.save(connection, model.whole.id, {"blind_reason": "error"})
        return True

    def save_status(self, model: OwnedModel) -> None:
        """Store what readers see of the streams that have changed."""
        if model.state is None or not model.statuses.unsaved:
            return
        with self._engine.begin() as connection:
            streams.lock_model(connection, model.model_id)
            write_status(connection, model.state, model.ids, model.statuses.unsaved)
        model.statuses.saved()

    def save_checkpoint(self, model: OwnedModel) -> None:
        """Store the state, unless it replays what was stored or another monitor has taken the model."""
        state = model.state
        if state is None or state.position < model.stored_position:
            return
        values = {"position": state.position}
        with self._engine.begin() as connection:
            if monitor_progress.advance(connection, model.whole.id, self._owner, model.stored_position, values):
                write_status(connection, state, model.ids, model.statuses.unsaved)
                write_checkpoint(connection, model, state, model.ids)

    def _step(self, model: OwnedModel) -> None:
        prepared = self._prepared(model)
        if prepared is None:
            return
        with self._engine.connect() as connection:
            with connection.begin():
                state = self._load(connection, model, prepared)
                incoming = self._read(connection, model, state, prepared)
            now = dt.datetime.now(dt.UTC)
            transition = advance(state, incoming, prepared, self._settings, now)
            self._write(connection, model, transition, now)
        model.took_over()
        self._request(model.model_id, transition.requests, transition.baselines, prepared)

    def _request(
        self,
        model_id: int,
        windows: Iterable[WindowRequest],
        baselines: Iterable[BaselineRequest],
        prepared: dict[str, PreparedReference],
    ) -> None:
        """Have windows tested and baselines of watches for further shifts prepared."""
        for window in windows:
            self._explanations.submit(model_id, window, baseline_of(prepared, window.slice))
        for baseline in baselines:
            self._baselines.request_second(model_id, baseline, baseline_of(prepared, baseline.slice))

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

    def _load(self, connection: Connection, model: OwnedModel, prepared: dict[str, PreparedReference]) -> ModelState:
        """Return the model's state: in memory, from its checkpoint, or with detectors of other baselines."""
        state = model.state
        if state is None:
            loaded = load_model(connection, model.model_id, model.targets, model.keys, prepared, self._settings)
            model.load(loaded.state, loaded.has_checkpoint)
            state = model.state or loaded.state
            windows = [request for stream in state.streams.values() for request in stream.pending]
            baselines = [watch.request(name) for name, watch in model.second_baselines.missing(state.streams)]
            self._request(model.model_id, windows, baselines, prepared)
        elif model.keys_changed:
            state = model.state = rebase_state(state, model.loaded_keys, model.keys, prepared, self._settings)
            model.loaded_keys = dict(model.keys)
        return state

    def _read(
        self, connection: Connection, model: OwnedModel, state: ModelState, prepared: dict[str, PreparedReference]
    ) -> ModelInput:
        """Return what came in since the last step."""
        reference = prepared[WHOLE].reference
        sizes = reference.embeddings.shape[1], reference.classes
        batch = None
        if state.position < model.written:
            batch = log.read(connection, model.model_id, state.position, model.step_limit(), *sizes)
        if model.retries.must_skip and state.position == model.stored_position:
            batch = log_batch.skipped_batch(state.position + 1, state.position + 1, FAILED, *sizes)
        elif batch is None and state.position < model.written:
            batch = log_batch.skipped_batch(state.position + 1, model.written, EXPIRED, *sizes)
        processed = state.position if batch is None else batch.last
        labels = read_labels(
            connection,
            model.model_id,
            state.label_position,
            model.labels_written,
            processed,
            processed < model.written,
            sizes,
        )
        further = {
            name: FurtherShiftInput(
                watch.key,
                baseline,
                len(watch.next_ids),
                read_in_order(connection, model.model_id, watch.next_ids, reference),
            )
            for name, watch, baseline in model.second_baselines.ready(state.streams)
        }
        return ModelInput(batch, labels, list(model.explanations), further, frozenset(model.requested_windows))

    def _write(self, connection: Connection, model: OwnedModel, transition: ModelTransition, now: dt.datetime) -> None:
        """Store a step, with a checkpoint if one is due."""
        checkpoint = model.checkpoint_is_due(transition)
        if not model.must_write(transition, checkpoint):
            model.state = transition.state
            model.changed(transition)
            return
        with connection.begin():
            step = write_transition(connection, self._alerts, model, transition, self._owner, now)
            size = write_checkpoint(connection, model, step.state, step.ids) if checkpoint else None
        model.committed(transition, step.state, step.ids, step.has_statuses, size)
