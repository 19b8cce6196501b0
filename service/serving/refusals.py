"""How many of the images of the last hour were refused, by model and slice: for the pages."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple

from .counters import ServerMetrics

SAMPLE_SECONDS = 60.0  # seconds between two samples of the counts
SAMPLES = 60  # samples that are kept: an hour
MIN_REFUSED = 5  # refused images below which a share says nothing
MIN_SHARE = 0.2  # share of refused images from which a stream is listed


class ImageKey(NamedTuple):
    """A model's version, and one of its slices; an empty slice is the whole model."""

    model: str
    version: str
    slice: str

    def __str__(self) -> str:
        return f"{self.model}:{self.version}{f'/{self.slice}' if self.slice else ''}"


@dataclass(frozen=True)
class RefusedShare:
    """The refused images of a stream."""

    stream: str
    refused: int
    received: int
    reason: str  # the most frequent one


class RecentRefusals:
    """Compares the counts of images with those of an hour ago, or of the start; under several workers, of all of them.

    Parameters
    ----------
    metrics : ServerMetrics
        The counts.
    """

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics
        self._samples: deque[_Counts] = deque([_Counts(Counter(), Counter())], maxlen=SAMPLES + 1)

    def sample(self) -> None:
        """Keep the counts of this moment; to be called every `SAMPLE_SECONDS`."""
        self._samples.append(self._counts())

    def shares(self) -> list[RefusedShare]:
        """Return the streams of which a good share was refused, the worst first."""
        now, before = self._counts(), self._samples[0]
        refused: Counter[ImageKey] = Counter()
        reasons: dict[ImageKey, tuple[int, str]] = {}
        for (key, reason), total in now.refused.items():
            count = total - before.refused[key, reason]
            refused[key] += count
            reasons[key] = max(reasons.get(key, (0, "")), (count, reason))
        shares = []
        for key, count in refused.items():
            received = count + now.accepted[key] - before.accepted[key]
            if count >= MIN_REFUSED and count >= MIN_SHARE * received:
                shares.append(RefusedShare(str(key), count, received, reasons[key][1].replace("_", " ")))
        return sorted(shares, key=lambda share: -share.refused / share.received)

    def _counts(self) -> "_Counts":
        counts = _Counts(Counter(), Counter())
        for family in self._metrics.shared_registry().collect():
            for sample in family.samples:
                if sample.name not in ("tidemark_images_accepted_total", "tidemark_images_refused_total"):
                    continue
                key = ImageKey(sample.labels["model"], sample.labels["version"], sample.labels["slice"])
                if sample.name == "tidemark_images_accepted_total":
                    counts.accepted[key] += int(sample.value)
                else:
                    counts.refused[key, sample.labels["reason"]] += int(sample.value)
        return counts


class _Counts(NamedTuple):
    accepted: Counter[ImageKey]
    refused: Counter[tuple[ImageKey, str]]
