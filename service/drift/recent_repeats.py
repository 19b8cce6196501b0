"""Repeats: which predictions equal another one shortly before, and whether they became many."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .types import BoolArray, Float32Array, IntArray

MEMORY = 5000  # predictions within which one that comes again is a repeat
KEY_COLUMNS = 2  # float32 columns that hold a row's key of 48 bits, 24 bits each, which float32 holds exactly
KEY_BITS = 24
KEY_SEED = 48  # seed of the multipliers; it must not change, because keys are part of stored states
MIN_SHARE = 0.01  # share of repeats that is normal in any traffic (retries, health probes)
REFERENCE_FACTOR = 2.0  # times the reference's own share that is normal, too
ALTERNATIVE_FACTOR = 5.0  # times the normal share, under the alternative tested
MAX_ALTERNATIVE = 0.9  # share of repeats under the alternative, at most
STEP = 10  # predictions that count as one: with a repeat or without, so that a short burst of retries is no surge


def row_keys(rows: Float32Array) -> Float32Array:
    """Return a key of 48 bits for each row (m, d) as two exact float32 integers (m, 2); equal rows have equal keys.

    The key is a multiply-add hash of the row's bits (Dietzfelbinger et al. 1997): two different rows have the same
    one with a probability of about 2^-48.
    """
    multipliers = np.random.default_rng(KEY_SEED).integers(1, 2**63, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    bits = np.ascontiguousarray(rows + np.float32(0)).view(np.uint32)  # adding zero turns -0.0 into 0.0
    mixed = bits.astype(np.uint64) @ multipliers
    high, low = mixed >> np.uint64(64 - KEY_BITS), (mixed >> np.uint64(64 - 2 * KEY_BITS)) & np.uint64(2**KEY_BITS - 1)
    return np.stack([high, low], axis=1).astype(np.float32)


def prediction_keys(embeddings: Float32Array, probabilities: Float32Array) -> Float32Array:
    """Return a key for each prediction as `row_keys` does: of its embedding (m, d) and its probabilities (m, k).

    The probabilities tell different images apart also where a model's embedding is constant, as some users have it.
    """
    return row_keys(np.hstack([embeddings, probabilities]))


def joined_keys(columns: Float32Array) -> IntArray:
    """Return the keys (m,) that `row_keys` split into two columns."""
    high, low = columns.astype(np.int64).T
    return np.asarray((high << KEY_BITS) | low)


def repeat_share(embeddings: Float32Array, probabilities: Float32Array) -> float:
    """Return the share of predictions, (n, d) and (n, k), that came before within the last `MEMORY` ones."""
    return float(RecentRepeats(MIN_SHARE).mark(joined_keys(prediction_keys(embeddings, probabilities))).mean())


class RecentRepeats:
    """Marks repeats, and accumulates the evidence that there are more of them than is normal.

    The evidence is Page's CUSUM of the log-likelihood ratio that a step of 10 predictions contains a repeat, for the
    alternative share against the normal one. Its mean number of steps to a false alarm at h nats is at least exp(h)
    while steps are independent and the share is normal (Lorden 1971), so that it needs no simulation.

    Parameters
    ----------
    share : float. The reference's own share of repeats.

    References
    ----------
    Page (1954), Continuous inspection schemes, Biometrika 41.
    Lorden (1971), Procedures for reacting to a change in distribution, Annals of Mathematical Statistics 42.
    """

    def __init__(self, share: float) -> None:
        normal = min(max(MIN_SHARE, REFERENCE_FACTOR * share), MAX_ALTERNATIVE / ALTERNATIVE_FACTOR)
        before, after = (1 - (1 - each) ** STEP for each in (normal, ALTERNATIVE_FACTOR * normal))
        self._gain, self._loss = float(np.log(after / before)), float(np.log((1 - after) / (1 - before)))
        self._ring = np.full(MEMORY, -1, dtype=np.int64)  # keys of the last predictions, by position modulo MEMORY
        self._repeated = np.zeros(MEMORY, dtype=bool)
        self._last: dict[int, int] = {}  # the last position of each key in the ring
        self._position = 0
        self._in_step = False
        self.clear()

    def clear(self) -> None:
        """Forget the evidence; what was seen stays, so that a known embedding is still a repeat."""
        self.evidence = 0.0
        self.since = self._position  # the predictions before the evidence was last zero

    def mark(self, keys: IntArray) -> BoolArray:
        """Return for each prediction (m,), in order, whether it is a repeat, and add it to the evidence."""
        repeated = np.zeros(len(keys), dtype=bool)
        for row, key in enumerate(keys.tolist()):
            slot = self._position % MEMORY
            repeated[row] = key in self._last
            oldest = int(self._ring[slot])
            if self._last.get(oldest) == self._position - MEMORY:
                del self._last[oldest]
            self._last[key] = self._position
            self._ring[slot] = key
            self._repeated[slot] = repeated[row]
            self._position += 1
            self._in_step = self._in_step or bool(repeated[row])
            if self._position % STEP == 0:
                self.evidence = max(0.0, self.evidence + (self._gain if self._in_step else self._loss))
                self._in_step = False
                if self.evidence == 0:
                    self.since = self._position
        return repeated

    @property
    def share(self) -> float:
        """The share of repeats among the last 5,000 predictions."""
        return float(self._repeated.sum() / max(min(self._position, MEMORY), 1))

    def state(self) -> dict[str, Any]:
        """Return everything that is known, as arrays and scalars."""
        return {
            "repeat_keys": self._ring,
            "repeated": self._repeated,
            "repeat_position": self._position,
            "repeat_evidence": self.evidence,
            "repeat_since": self.since,
            "repeat_in_step": self._in_step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where the object that gave `state` stopped."""
        self._ring = np.array(state["repeat_keys"], dtype=np.int64)
        self._repeated = np.array(state["repeated"], dtype=bool)
        self._position = int(state["repeat_position"])
        self.evidence, self.since = float(state["repeat_evidence"]), int(state["repeat_since"])
        self._in_step = bool(state["repeat_in_step"])
        first = max(self._position - MEMORY, 0)
        self._last = {int(self._ring[at % MEMORY]): at for at in range(first, self._position)}
