"""Models in shadow: a successor receives the images that the default model has answered, and answers none itself.

Nothing waits for a model in shadow. It has a thread and a bounded queue of its own; images that do not fit, and those
that it fails on, are dropped and counted.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from PIL import Image

from ..inference.bundle import Bundle, InputSpec
from ..inference.images import DecodedImage, decode, fit, in_mode
from ..inference.model import Model, ModelFailed
from ..inference.predictions import predict_images
from ..settings import Settings
from ..spool.spool import Spool
from ..store.prediction_id import id_at
from .counters import ModelMetrics
from .prediction_logger import LoggedPredictions, log_predictions

SHADOW_TAG = "shadow_of"  # holds the id of the default model's prediction for the same image
THREADS = 1  # threads of the model in shadow: the other cores are for the answers
MAX_WAITING_BYTES = 64_000_000  # bytes of the images that wait
DRAIN_SECONDS = 5.0  # seconds at a stop for the images that wait
LOG_INTERVAL_SECONDS = 60.0  # seconds between two lines of the log about dropped images

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShadowImage:
    """An image that the default model has answered."""

    id: UUID  # id of the default model's prediction
    tags: dict[str, str]
    image: DecodedImage  # the image that the default model was given
    data: bytes | None  # the image file, where the model in shadow must decode it for itself

    @property
    def size(self) -> int:
        """Bytes that it holds while it waits."""
        tensor = 0 if self.image.tensor is None else self.image.tensor.nbytes
        return self.image.pixels.nbytes + tensor + len(self.data or b"")


class Shadow:
    """A model in shadow at work.

    Parameters
    ----------
    bundle : Bundle
        Bundle of the model.
    default : Bundle
        The bundle of the model that answers.
    spool : Spool
        Where its predictions are logged.
    """

    def __init__(
        self, bundle: Bundle, default: Bundle, settings: Settings, spool: Spool, metrics: ModelMetrics
    ) -> None:
        self.name = str(bundle.key)
        self._metrics = metrics
        self._spec = bundle.input
        self._decodes = _decoding(bundle.input) != _decoding(default.input)
        self._prepares = _preparing(bundle.input) != _preparing(default.input)
        self._network = Model(bundle, THREADS, settings.providers)
        self._max_batch = settings.max_batch
        self._max_pixels = settings.max_image_pixels
        self._thumbnails = settings.thumbnails
        self._limit = settings.queue_limit
        self._spool = spool
        self._waiting: deque[ShadowImage] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closing = False
        self._last_line = -LOG_INTERVAL_SECONDS
        self._thread = threading.Thread(target=self._work, name=f"shadow {self.name}", daemon=True)
        self._thread.start()

    @property
    def embedding_size(self) -> int:
        """The number of values of an embedding."""
        return self._network.embedding_size

    def id_of(self, prediction_id: UUID) -> UUID:
        """Return the id of this model's prediction for the image of a prediction of the default model."""
        return shadow_id(prediction_id, self.name)

    def submit(self, logged: LoggedPredictions, files: Sequence[bytes] | None = None) -> None:
        """Queue images, or drop all of them if there is no room; never waits.

        Parameters
        ----------
        logged : LoggedPredictions
            The default model's predictions for the images.
        files : Sequence[bytes] or None
            The images' files; None if they came as a tensor.
        """
        spooled_files = files if self._decodes and files is not None else [None] * len(logged.ids)
        queued = [
            ShadowImage(UUID(key), logged.request.tags, image, data)
            for key, image, data in zip(logged.ids, logged.predictions.images, spooled_files, strict=True)
        ]
        size = sum(image.size for image in queued)
        with self._ready:
            fits = len(self._waiting) + len(queued) <= self._limit and self._bytes + size <= MAX_WAITING_BYTES
            if fits and not self._closing:
                self._waiting.extend(queued)
                self._bytes += size
                self._ready.notify()
                return
        self._drop(len(queued), "it does not keep up")

    def close(self) -> None:
        """Finish what waits, as far as that takes no longer than `DRAIN_SECONDS`, and drop the rest."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(DRAIN_SECONDS)
        with self._ready:
            unanswered = len(self._waiting)
            self._waiting.clear()
        if unanswered:
            self._drop(unanswered, "the server stops")

    def _work(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
                self._bytes -= sum(queued.size for queued in batch)
            try:
                self._log(batch)
            except Exception as error:  # whatever it is, the next images are no worse for it
                self._drop(len(batch), str(error))

    def _log(self, batch: list[ShadowImage]) -> None:
        """Predict a batch and log it; where the model fails on it, each image alone."""
        started = time.perf_counter()
        images = [self._decoded(queued) for queued in batch]
        decoded = time.perf_counter()
        try:
            predictions = predict_images(self._network, images, self._max_batch, self._metrics.observe)
        except ModelFailed as error:
            if len(batch) == 1:
                self._drop(1, str(error))
                return
            for queued in batch:
                self._log([queued])
            return
        finished = time.perf_counter()
        ids = b"".join([self.id_of(queued.id).bytes for queued in batch])
        tags = [queued.tags | {SHADOW_TAG: str(queued.id)} for queued in batch]
        logged = log_predictions(self._spool, self.name, ids, predictions, tags, thumbnails=self._thumbnails)
        self._metrics.observe("decode", decoded - started)
        self._metrics.observe("infer", finished - decoded)
        self._metrics.observe("log", time.perf_counter() - finished)
        self._metrics.predicted(logged)

    def _decoded(self, queued: ShadowImage) -> DecodedImage:
        """Return an image as this model sees it: decoded again only where its input asks for other pixels."""
        if queued.data is not None:
            return decode(queued.data, self._spec, self._max_pixels)
        image = queued.image
        if not self._prepares:
            return image
        pixels = image.pixels
        if self._decodes:
            pixels = fit(in_mode(Image.fromarray(pixels), self._spec.pixel_mode), self._spec)
        return DecodedImage(pixels, image.width, image.height)

    def _drop(self, count: int, reason: str) -> None:
        self._metrics.dropped(count)
        now = time.monotonic()
        if now - self._last_line >= LOG_INTERVAL_SECONDS:
            self._last_line = now
            logger.warning("%s in shadow did not receive %d images: %s", self.name, count, reason)


def _decoding(spec: InputSpec) -> tuple[object, ...]:
    """Return what the pixels of a decoded image depend on."""
    return spec.size, spec.pixel_mode, spec.resize, spec.crop, spec.interpolation


def _preparing(spec: InputSpec) -> InputSpec:
    """Return what the network's own input depends on."""
    return spec.model_copy(update={"name": ""})


def shadow_id(prediction_id: UUID, name: str) -> UUID:
    """Return the id of the prediction that a model in shadow made for the image of another model's prediction."""
    noise = hashlib.sha256(prediction_id.bytes + name.encode()).digest()
    return id_at(prediction_id.int >> 80, noise)
