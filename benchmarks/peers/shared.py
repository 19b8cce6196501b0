"""Code of all peers' servers: the same decoding and the same model as Tidemark's, in the way of their manuals."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

MODE, SIDE = os.environ["BENCH_MODE"], int(os.environ["BENCH_SIDE"])
MAX_BATCH = 32
WAIT_SECONDS = 0.002  # seconds that a batch waits for more requests


def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], providers=["CPUExecutionProvider"])


def pixels(data: bytes) -> np.ndarray:
    """Return an image as the network reads it, without the batch: (channels, side, side) in 0..1."""
    return fitted(Image.open(io.BytesIO(data)))


def fitted(image: Image.Image) -> np.ndarray:
    """Return an opened image as `pixels` does."""
    image = image.convert(MODE)
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32) / 255
    return values[None] if MODE == "L" else values.transpose(2, 0, 1)


def answers(runtime: onnxruntime.InferenceSession, batch: np.ndarray) -> list[dict[str, float]]:
    """Return label and confidence of each image of a batch."""
    (scores,) = runtime.run([os.environ["BENCH_OUTPUT"]], {runtime.get_inputs()[0].name: batch})
    return [{"index": int(row.argmax()), "confidence": float(row.max())} for row in scores]
