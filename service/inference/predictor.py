"""From encoded images or prepared tensors to predictions: decoded, run in batches, measured on the way."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import Overloaded, TidemarkError, without_frames
from .batcher import Batcher, TooLate
from .bundle import Bundle
from .images import DecodedImage, ImageRefused, TooManyPixels, allow_pixels, decode
from .model import Model, ModelFailed, cores
from .predictions import Predictions, RequestRows, predict_images
from .preprocessing import Floats

SMALL_BYTES = 4096  # bytes of a request up to which going to a decoder thread and back takes longer than decoding
SMALL_PIXELS = 128 * 128  # pixels of an image of such a request, at most
PIXELS_PER_TURN = 25_000_000  # decoded of one request before a decoder thread takes what others have sent meanwhile

Tensor = Floats | NDArray[np.uint8]
R = TypeVar("R")
T = TypeVar("T")


class QueueFull(Overloaded):
    """More images are under way than are allowed."""


class TooManyImages(TidemarkError):
    """More images in one request than the queue could ever hold."""


@dataclass(slots=True, eq=False)
class _Queued:
    images: list[DecodedImage]
    tags: dict[str, str]
    since: float
    encoded: Sequence[bytes] = ()  # images that are decoded into `images` when the batch runs


class Predictor(Generic[R]):
    """Runs a bundle on images as they come.

    Parameters
    ----------
    finish : callable
        Turns a batch's predictions into one result a request, in the thread that ran the model; all get its error.
    queue_limit : int
        Images that may be decoded, wait or run at a time.
    patience : float
        Seconds that decoding a request may take, and that it may wait for the model.
    threads, providers : int or None
        Threads and providers of the model, see `Model`.
    observe : Callable[[str, float], None]
        Called with a stage ("decode", "queue", "infer") and its seconds, or with "batch" and a batch's size.

    Attributes
    ----------
    model : Model
        The bundle's model.
    """

    def __init__(
        self,
        bundle: Bundle,
        finish: Callable[[Predictions, Sequence[RequestRows]], Sequence[R]],
        max_batch: int = 32,
        wait_ms: float = 0.0,
        queue_limit: int = 1024,
        patience: float = 30.0,
        max_pixels: int = 25_000_000,
        threads: int | None = None,
        providers: Sequence[str] = (),
        observe: Callable[[str, float], None] = lambda _stage, _value: None,
    ) -> None:
        self._spec = bundle.input
        self._finish = finish
        self._max_batch = max_batch
        self._max_pixels = max_pixels
        self._patience = patience
        self._queue_limit = queue_limit
        self._pending = 0
        self._observe = observe
        self.model = Model(bundle, threads, providers)
        allow_pixels(max_pixels)
        self._decoders = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
        self._batcher: Batcher[_Queued, R] = Batcher(self._run, max_batch, wait_ms, patience)

    async def predict(self, images: Sequence[bytes], tags: dict[str, str], alone: bool = False) -> R:
        """Return the result of encoded images; `alone` if no other request is under way that they might wait for.

        Raises
        ------
        NotAnImage, TooManyPixels
            One of them is refused (`item` says which); nothing was predicted.
        TooManyImages, QueueFull, TooLate
            More than an empty queue has room for, or too many are under way; nothing was predicted.
        ModelFailed
            The model has no usable answer to one of them.
        """
        deadline = time.monotonic() + self._patience
        self._take_places(len(images))
        try:
            if sum(map(len, images)) <= SMALL_BYTES and self._max_pixels >= SMALL_PIXELS:
                queued = _Queued([], tags, time.perf_counter(), images)
                try:
                    return await self._batcher.submit(queued, len(images), alone)
                except TooManyPixels:
                    pass  # The few bytes are an image of many pixels, which a decoder thread takes.
            return await self._submit(await self._decoded(images, deadline), tags)
        finally:
            self._pending -= len(images)

    async def predict_tensor(self, tensor: Tensor, tags: dict[str, str]) -> R:
        """Return the result of the rows of a tensor in the network's layout.

        Parameters
        ----------
        tensor : Tensor
            Floating-point values as the network reads them, or uint8 pixels before scale, mean and std.

        Raises
        ------
        TooManyImages, QueueFull, TooLate, ModelFailed
            As `predict` does.
        """
        self._take_places(len(tensor))
        try:
            if tensor.nbytes <= SMALL_BYTES:
                return await self._submit(self._rows([tensor]), tags)
            return await self._submit(await self._in_decoder([tensor], self._rows), tags)
        finally:
            self._pending -= len(tensor)

    def answers_at_once(self, size: int) -> bool:
        """Check whether a request of so many bytes is answered within the event loop, without waiting for threads."""
        return size <= SMALL_BYTES and self._batcher.runs_inline

    async def close(self) -> None:
        """Finish what waits."""
        await self._batcher.close()
        self._decoders.shutdown()

    def _take_places(self, count: int) -> None:
        if count > self._queue_limit:
            raise TooManyImages(f"{count} images in one request, at most {self._queue_limit} are accepted")
        if self._pending + count > self._queue_limit:
            raise QueueFull(f"{self._pending} of {self._queue_limit} places are in use, {count} are needed")
        self._pending += count

    async def _submit(self, images: list[DecodedImage], tags: dict[str, str]) -> R:
        return await self._batcher.submit(_Queued(images, tags, time.perf_counter()), len(images))

    async def _decoded(self, images: Sequence[bytes], deadline: float) -> list[DecodedImage]:
        decoded: list[DecodedImage] = []
        while len(decoded) < len(images):
            if decoded and time.monotonic() > deadline:
                raise TooLate(f"{len(decoded)} of {len(images)} images were decoded in {self._patience:g} s")
            turn = partial(self._decode, first=len(decoded), max_pixels=self._max_pixels)
            decoded += await self._in_decoder(list(images), turn)
        return decoded

    async def _in_decoder(self, items: list[T], work: Callable[[list[T]], list[DecodedImage]]) -> list[DecodedImage]:
        """Return the result of work in a decoder thread; it does nothing if the caller is cancelled before it begins.

        The thread pool keeps a cancelled task until it reaches it: clearing the list of items frees the images at once.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, work, items)
        finally:
            items.clear()

    def _decode(self, images: Sequence[bytes], first: int, max_pixels: int) -> list[DecodedImage]:
        """Decode images from the number `first` on, up to the pixels of one turn."""
        started = time.perf_counter()
        decoded: list[DecodedImage] = []
        pixels = 0
        for number, data in enumerate(images[first:], start=first):
            try:
                decoded.append(decode(data, self._spec, max_pixels))
            except ImageRefused as error:
                error.item = number
                raise
            pixels += decoded[-1].width * decoded[-1].height
            if pixels >= PIXELS_PER_TURN:
                break
        self._observe("decode", time.perf_counter() - started)
        return decoded

    def _rows(self, tensors: Sequence[Tensor]) -> list[DecodedImage]:
        height, width = self._spec.size
        return [
            DecodedImage(pixels, width, height, None if tensor.dtype == np.uint8 else row)
            for tensor in tensors
            for pixels, row in zip(self.model.pixels(tensor), tensor, strict=True)
        ]

    def _run(self, batch: list[_Queued]) -> Sequence[R | Exception]:
        """Answer a batch. Its small images are decoded one after the other, which takes half the time of each alone."""
        started = time.perf_counter()
        decoded = [self._decoded_now(queued) if queued.encoded else queued for queued in batch]
        ready = [queued for queued in decoded if isinstance(queued, _Queued)]
        if ready:
            self._observe("queue", started - ready[0].since)
        if len(ready) == len(batch):
            return self._answers(ready)
        answers = iter(self._answers(ready) if ready else ())
        return [next(answers) if isinstance(queued, _Queued) else queued for queued in decoded]

    def _decoded_now(self, queued: _Queued) -> _Queued | ImageRefused:
        try:
            queued.images = self._decode(queued.encoded, 0, SMALL_PIXELS)
            return queued
        except ImageRefused as error:
            return without_frames(error)

    def _answers(self, batch: list[_Queued]) -> Sequence[R | Exception]:
        """Answer decoded images; where the model fails on them, each request alone, so that only those at fault do."""
        started = time.perf_counter()
        try:
            images = [image for queued in batch for image in queued.images]
            predictions = predict_images(self.model, images, self._max_batch, self._observe)
        except ModelFailed as error:
            if len(batch) == 1:
                return [without_frames(error)]
            return [result for queued in batch for result in self._alone(queued)]
        self._observe("infer", time.perf_counter() - started)
        requests, first = [], 0
        for queued in batch:
            requests.append(RequestRows(slice(first, first + len(queued.images)), queued.tags))
            first += len(queued.images)
        return self._finish(predictions, requests)

    def _alone(self, queued: _Queued) -> Sequence[R | Exception]:
        try:
            return self._answers([queued])
        except TidemarkError as error:
            return [without_frames(error)]
