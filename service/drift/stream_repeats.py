"""Repeats: which predictions equal another one shortly before, and whether they became many."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .types import BoolArray, Float32Array, IntArray

MEMORY = 5000  # predictions within which one that comes again is a repeat
KEY_COLUMNS = 2  # float32 columns that hold a row's key of 48 bits, 24 bits each, which float32 holds exactly
KEY_BITS = 24
HASHED_ROWS = 1000  # rows whose keys are computed at a time, which bounds the memory
KEY_SEED = 48  # seed of the multipliers; it must not change, because keys are part of stored states
MIN_SHARE = 0.01  # share of repeats that is normal in any traffic (retries, health probes)
REFERENCE_FACTOR = 2.0  # times the reference's own share that is normal, too
ALTERNATIVE_FACTOR = 5.0  # times the normal share, under the alternative tested
MAX_ALTERNATIVE = 0.9  # share of repeats under the alternative, at most
STEP = 10  # predictions that count as one: with a repeat or without, so that a short burst of retries is no surge


def row_keys(*parts: Float32Array) -> Float32Array:
    """Return a key of 48 bits for each row as two exact float32 integers (m, 2); equal rows have equal keys.

    The key is a multiply-add hash of the row's bits (Dietzfelbinger et al. 1997): two different rows have the same
    one with a probability of about 2^-48.

    Parameters
    ----------
    parts : float32 (m, any number of columns) each
        Arrays whose columns together make up the rows.
    """
    multipliers = _multipliers(sum(part.shape[1] for part in parts))
    mixed = np.zeros(len(parts[0]), dtype=np.uint64)
    for start in range(0, len(mixed), HASHED_ROWS):
        rows, first = slice(start, start + HASHED_ROWS), 0
        for part in parts:
            bits = (part[rows] + np.float32(0)).view(np.uint32)  # adding zero turns -0.0 into 0.0
            mixed[rows] += np.einsum("ij,j->i", bits.astype(np.uint64), multipliers[first : first + part.shape[1]])
            first += part.shape[1]
    high, low = mixed >> np.uint64(64 - KEY_BITS), (mixed >> np.uint64(64 - 2 * KEY_BITS)) & np.uint64(2**KEY_BITS - 1)
    return np.stack([high, low], axis=1).astype(np.float32)


@lru_cache(maxsize=32)
def _multipliers(columns: int) -> NDArray[np.uint64]:
    """Return the odd multipliers of the hash (columns,)."""
    multipliers = np.random.default_rng(KEY_SEED).integers(1, 2**63, columns, dtype=np.uint64) | np.uint64(1)
    multipliers.flags.writeable = False
    return multipliers


def prediction_keys(embeddings: Float32Array, probabilities: Float32Array) -> Float32Array:
    """Return a key for each prediction as `row_keys` does: of its embedding (m, d) and its probabilities (m, k).

    The probabilities tell different images apart also where a model's embedding is constant, as some users have it.
    """
    return row_keys(embeddings, probabilities)


def joined_keys(columns: Float32Array) -> IntArray:
    """Return the keys (m,) that `row_keys` split into two columns."""
    high, low = columns.astype(np.int64).T
    return np.asarray((high << KEY_BITS) | low)


def repeat_share(keys: IntArray) -> float:
    """Return the share of predictions, by their keys (n,), that came before within the last `MEMORY` ones."""
    return float(RecentRepeats(MIN_SHARE).mark(keys).repeated.mean())


class RepeatAlarm(NamedTuple):
    """A surge of repeats, in numbers of predictions seen."""

    since: int  # number of predictions when the evidence was last zero
    at: int  # number of predictions when it passed the threshold


class MarkedRepeats(NamedTuple):
    """The predictions that are repeats, and the first alarm among them."""

    repeated: BoolArray  # (m,)
    alarm: RepeatAlarm | None


class RecentRepeats:
    """Marks repeats, and accumulates the evidence that there are more of them than is normal.

    The evidence is Page's CUSUM of the log-likelihood ratio that a step of 10 predictions contains a repeat, for the
    alternative share against the normal one. Its mean number of steps to a false alarm at h nats is at least exp(h)
    while steps are independent and the share is normal (Lorden 1971), so that it needs no simulation.

    Parameters
    ----------
    share : float
        The reference's own share of repeats.

    References
    ----------
    Page (1954), Continuous inspection schemes, Biometrika 41.
    Lorden (1971), Procedures for reacting to a change in distribution, Annals of Mathematical Statistics 42.
    """

    def __init__(self, share: float) -> None:
        normal = min(max(MIN_SHARE, REFERENCE_FACTOR * share), MAX_ALTERNATIVE / ALTERNATIVE_FACTOR)
        before, after = (1 - (1 - each) ** STEP for each in (normal, ALTERNATIVE_FACTOR * normal))
        self._repeat_evidence = float(np.log(after / before))  # nats that a step with a repeat adds
        self._other_evidence = float(np.log((1 - after) / (1 - before)))  # nats that any other step adds, below zero
        self._ring = np.full(MEMORY, -1, dtype=np.int64)  # keys of the last predictions, by position modulo MEMORY
        self._repeated = np.zeros(MEMORY, dtype=bool)
        self._last: dict[int, int] = {}  # the last position of each key in the ring
        self._position = 0
        self._in_step = False
        self.clear()

    def clear(self) -> None:
        """Forget the evidence; the predictions stay, so that one of before is still recognised."""
        self.evidence = 0.0
        self.since = self._position  # the predictions before the evidence was last zero

    def mark(self, keys: IntArray, threshold: float = np.inf) -> MarkedRepeats:
        """Return which predictions are repeats, and add them to the evidence.

        Parameters
        ----------
        keys : int64 (m,)
            Keys of predictions in their order.
        threshold : float, default infinity
            The evidence in nats at which repeats are an alarm.
        """
        parts = [self._recognise(keys[first : first + MEMORY]) for first in range(0, len(keys), MEMORY)]
        repeated = np.concatenate([np.zeros(0, dtype=bool), *parts])
        return MarkedRepeats(repeated, self._accumulate(repeated.tolist(), threshold))

    def _recognise(self, keys: IntArray) -> BoolArray:
        """Return for at most `MEMORY` predictions whether each is a repeat, and remember them."""
        slots = (self._position + np.arange(len(keys))) % MEMORY
        repeated, last, position = np.empty(len(keys), dtype=bool), self._last, self._position
        for row, (key, oldest) in enumerate(zip(keys.tolist(), self._ring[slots].tolist(), strict=True)):
            repeated[row] = key in last
            if last.get(oldest) == position - MEMORY:
                del last[oldest]
            last[key] = position
            position += 1
        self._ring[slots], self._repeated[slots], self._position = keys, repeated, position
        return repeated

    def _accumulate(self, repeated: list[bool], threshold: float) -> RepeatAlarm | None:
        """Add the steps that the newest predictions complete; return the first one beyond the threshold."""
        before, first, alarm = self._position - len(repeated), 0, None
        for end in range(before - before % STEP + STEP, self._position + 1, STEP):
            in_step = self._in_step or any(repeated[first : end - before])
            self.evidence = max(0.0, self.evidence + (self._repeat_evidence if in_step else self._other_evidence))
            if self.evidence == 0:
                self.since = end
            if alarm is None and self.evidence > threshold:
                alarm = RepeatAlarm(self.since, end)
            self._in_step, first = False, end - before
        self._in_step = self._in_step or any(repeated[first:])
        return alarm

    @property
    def share(self) -> float:
        """The share of repeats among the last 5,000 predictions."""
        return float(self._repeated.sum() / max(min(self._position, MEMORY), 1))

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is known, as arrays and scalars."""
        return {
            "repeat_keys": self._ring,
            "repeated": self._repeated,
            "repeat_position": self._position,
            "repeat_evidence": self.evidence,
            "repeat_since": self.since,
            "repeat_in_step": self._in_step,
        }

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `state` stopped."""
        self._ring = np.array(state["repeat_keys"], dtype=np.int64)
        self._repeated = np.array(state["repeated"], dtype=bool)
        self._position = int(np.asarray(state["repeat_position"]))
        self.evidence, self.since = float(np.asarray(state["repeat_evidence"])), int(np.asarray(state["repeat_since"]))
        self._in_step = bool(np.asarray(state["repeat_in_step"]))
        first = max(self._position - MEMORY, 0)
        self._last = {int(self._ring[at % MEMORY]): at for at in range(first, self._position)}
