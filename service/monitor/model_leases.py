"""Which models a monitor owns: it takes free leases, extends its own, and shares the models with other monitors."""

import logging
import os
import socket
import time
from uuid import UUID

from sqlalchemy import Engine

from ..store import log_sweep, monitor_progress
from ..store.monitor_progress import Target
from ..store.stalled_copies import StalledCopies
from .model_processor import ModelProcessor
from .model_state import WHOLE
from .owned_model import OwnedModel

LEASE = 30.0  # seconds without a heartbeat, after which a monitor counts as dead and another takes its models
HOUSEKEEPING = 10.0  # seconds between heartbeats

logger = logging.getLogger(__name__)


class ModelLeases:
    """The models that one monitor owns.

    Parameters
    ----------
    owner : UUID
        The monitor.
    processor : ModelProcessor
        Stores the state of a model before its lease is given back.
    """

    def __init__(self, engine: Engine, owner: UUID, processor: ModelProcessor) -> None:
        self._engine = engine
        self._owner = owner
        self._processor = processor
        self._other_monitors = 0
        self._renewed_at = -float("inf")
        self._copies = StalledCopies()
        self.models: dict[int, OwnedModel] = {}

    def refresh(self) -> bool:
        """Read what there is to watch, and take, extend or give back leases; return whether they were extended."""
        with self._engine.connect() as connection:
            targets = monitor_progress.targets(connection)
        wholes = {target.model_id: target for target in targets if target.slice == WHOLE}
        slices: dict[int, dict[str, Target]] = {model_id: {} for model_id in wholes}
        for target in targets:
            if target.model_id in wholes:
                slices[target.model_id][target.slice] = target
        is_due = time.monotonic() - self._renewed_at >= HOUSEKEEPING
        if is_due:
            self._end_stalled_copies()
            self._renew(list(wholes.values()))
            self._renewed_at = time.monotonic()
        watched = {model_id: whole for model_id, whole in wholes.items() if whole.reference_id is not None}
        for model_id, model in list(self.models.items()):
            if model_id in watched and watched[model_id].lease_owner in (self._owner, None):
                model.targets = slices[model_id]
            else:
                self.drop(model)
        share = -(-len(watched) // (1 + self._other_monitors))
        self._give_back(max(len(self.models) - share, 0))
        for model_id, whole in watched.items():
            if model_id not in self.models and len(self.models) < share and self._acquire(whole):
                self.models[model_id] = OwnedModel(model_id, slices[model_id])
        return is_due

    def expire(self) -> None:
        """Have the leases extended at the next refresh."""
        self._renewed_at = -float("inf")

    def drop(self, model: OwnedModel) -> None:
        """Forget a model that another monitor has, or that is not watched any more."""
        self.models.pop(model.model_id, None)

    def release_all(self) -> None:
        """Give all leases back and sign off."""
        with self._engine.begin() as connection:
            monitor_progress.release(connection, [model.whole.id for model in self.models.values()], self._owner)
            monitor_progress.sign_off(connection, self._owner)

    def _renew(self, wholes: list[Target]) -> None:
        """Extend the leases, and bring the streams of models without a monitor up to date."""
        owned = [model.whole.id for model in self.models.values()]
        with self._engine.begin() as connection:
            monitor_progress.heartbeat(connection, self._owner, f"{socket.gethostname()}:{os.getpid()}")
            self._other_monitors = max(monitor_progress.live_monitors(connection, LEASE) - 1, 0)
            monitor_progress.renew(connection, owned, self._owner, LEASE)
            monitor_progress.reopen(connection)
            log_sweep.sweep(connection)
            for whole in wholes:
                ends = whole.written, whole.labels_written
                if whole.reference_id is None and (whole.position, whole.label_position) != ends:
                    monitor_progress.skip_to(connection, whole.id, *ends)

    def _acquire(self, whole: Target) -> bool:
        """Take the lease of a model that no other monitor owns; return whether it was taken."""
        if whole.leased and whole.lease_owner not in (self._owner, None):
            return False
        with self._engine.begin() as connection:
            return monitor_progress.acquire(connection, whole.id, self._owner, LEASE)

    def _end_stalled_copies(self) -> None:
        """End the sessions of writers that hang within a COPY; their spools write the rows again."""
        with self._engine.begin() as connection:
            if ended := self._copies.end(connection):
                logger.warning("%d sessions of writers were ended: they hung within a COPY", ended)

    def _give_back(self, count: int) -> None:
        """Give the models with the least to process to other monitors."""
        by_backlog = sorted(self.models.values(), key=lambda model: (model.backlog, model.model_id))
        for model in by_backlog[:count]:
            if model.state is not None and model.is_dirty:
                self._processor.save_checkpoint(model)
            with self._engine.begin() as connection:
                monitor_progress.release(connection, [model.whole.id], self._owner)
            self.drop(model)
