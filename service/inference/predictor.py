"""From encoded images or prepared tensors to predictions: decoded in threads, run in batches, measured on the way."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import TidemarkError
from service.inference import properties
from service.inference.batcher import Batcher, QueueFull
from service.inference.bundle import Bundle
from service.inference.images import DecodedImage, ImageRefused, TooManyPixels, decode
from service.inference.session import Model, ModelFailed, cores

SMALL_BYTES = 4096  # a request up to here is decoded at once: going to a thread and back would take longer
SMALL_PIXELS = 128 * 128


class TooManyImages(TidemarkError):
    """More images in one request than the queue could ever hold."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one image."""

    probabilities: NDArray[np.float32]  # (k,)
    embedding: NDArray[np.float32]  # (d,)
    properties: NDArray[np.float32]  # (p,), in the order of properties.NAMES
    index: int  # of the predicted class


@dataclass(frozen=True, slots=True)
class _Queued:
    image: DecodedImage
    since: float


class Predictor:
    """Runs a bundle on images as they come.

    Parameters
    ----------
    queue_limit : images that may be decoded, wait or run at a time.
    observe : called with a stage ("decode", "queue", "infer") and its seconds, or with "batch" and a batch's size.
    """

    def __init__(
        self,
        bundle: Bundle,
        max_batch: int = 32,
        wait_ms: float = 0.0,
        queue_limit: int = 1024,
        max_pixels: int = 25_000_000,
        threads: int | None = None,
        observe: Callable[[str, float], None] = lambda _stage, _value: None,
    ) -> None:
        self._spec = bundle.input
        self._max_pixels = max_pixels
        self._queue_limit = queue_limit
        self._pending = 0
        self._observe = observe
        self._model = Model(bundle, threads)
        self._decoders = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
        self._batcher: Batcher[_Queued, Prediction | ModelFailed] = Batcher(self._run, max_batch, wait_ms, queue_limit)

    async def predict(self, images: Sequence[bytes]) -> list[Prediction]:
        """Return the predictions of encoded images, in order.

        Raises
        ------
        NotAnImage, TooManyPixels
            One of them is refused (`item` says which); nothing was predicted.
        TooManyImages
            They would not fit into an empty queue either.
        QueueFull
            Too many images are under way; nothing was decoded.
        ModelFailed
            The model has no usable answer to one of them.
        """
        with self._places(len(images)):
            return await self._submit(await self._decoded(images))

    async def predict_tensor(self, tensor: NDArray[np.float32] | NDArray[np.uint8]) -> list[Prediction]:
        """Return the predictions of the rows of a tensor in the network's layout.

        Parameters
        ----------
        tensor : float32 as the network reads it, or uint8 pixels before scale, mean and std.

        Raises
        ------
        TooManyImages, QueueFull, ModelFailed
            As `predict` does.
        """
        with self._places(len(tensor)):
            if tensor.nbytes <= SMALL_BYTES:
                return await self._submit(self._rows(tensor))
            loop = asyncio.get_running_loop()
            return await self._submit(await loop.run_in_executor(self._decoders, self._rows, tensor))

    async def close(self) -> None:
        """Finish what waits."""
        await self._batcher.close()
        self._decoders.shutdown()

    @contextmanager
    def _places(self, count: int) -> Iterator[None]:
        if count > self._queue_limit:
            raise TooManyImages(f"{count} images in one request, at most {self._queue_limit} are taken")
        if self._pending + count > self._queue_limit:
            raise QueueFull(f"{self._pending} of {self._queue_limit} places are taken, {count} are needed")
        self._pending += count
        try:
            yield
        finally:
            self._pending -= count

    async def _submit(self, images: list[DecodedImage]) -> list[Prediction]:
        now = time.perf_counter()
        predictions = []
        for result in await self._batcher.submit([_Queued(image, now) for image in images]):
            if isinstance(result, ModelFailed):
                raise result
            predictions.append(result)
        return predictions

    async def _decoded(self, images: Sequence[bytes]) -> list[DecodedImage]:
        if sum(map(len, images)) <= SMALL_BYTES and self._max_pixels >= SMALL_PIXELS:
            try:
                return self._decode(images, SMALL_PIXELS)
            except TooManyPixels:
                pass  # few bytes, many pixels: not here
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, self._decode, images, self._max_pixels)

    def _decode(self, images: Sequence[bytes], max_pixels: int) -> list[DecodedImage]:
        started = time.perf_counter()
        decoded = []
        for number, data in enumerate(images):
            try:
                decoded.append(decode(data, self._spec, max_pixels))
            except ImageRefused as error:
                error.item = number
                raise
        self._observe("decode", time.perf_counter() - started)
        return decoded

    def _rows(self, tensor: NDArray[np.float32] | NDArray[np.uint8]) -> list[DecodedImage]:
        height, width = self._spec.size
        prepared = tensor.dtype != np.uint8
        return [
            DecodedImage(pixels, width, height, row if prepared else None)
            for pixels, row in zip(self._model.pixels(tensor), tensor, strict=True)
        ]

    def _run(self, batch: list[_Queued]) -> list[Prediction | ModelFailed]:
        """Predict a batch; where the model fails on it, each image alone, so that only those at fault do."""
        try:
            return [*self._predicted(batch)]
        except ModelFailed as error:
            if len(batch) == 1:
                return [error]
            return [result for queued in batch for result in self._run([queued])]

    def _predicted(self, batch: list[_Queued]) -> list[Prediction]:
        started = time.perf_counter()
        images = [queued.image for queued in batch]
        pixels = np.stack([image.pixels for image in images])
        tensor = self._model.prepared(pixels)
        for row, image in enumerate(images):
            if image.tensor is not None:
                tensor[row] = image.tensor
        probabilities, embeddings = self._model.run(tensor)
        measured = properties.measure(pixels, [i.width for i in images], [i.height for i in images])
        indices = probabilities.argmax(axis=1).tolist()
        self._observe("queue", started - batch[0].since)
        self._observe("infer", time.perf_counter() - started)
        self._observe("batch", len(batch))
        return [Prediction(*row) for row in zip(probabilities, embeddings, measured, indices, strict=True)]
