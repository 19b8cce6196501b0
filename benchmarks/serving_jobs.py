"""What the servers of the serving benchmark are asked: the demo's network on digits, larger ones on photographs."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from benchmarks.contenders import Job
from benchmarks.networks import SIDE
from benchmarks.world import World
from tidemark.demo.make_model import MODEL
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.subnormal_weights import clear_subnormals

PICTURES = 256
PHOTO = (500, 375)  # pixels, width and height of the photographs


def small_job(folder: Path, world: World) -> Job:
    """Return the job of the demo's network, without its subnormal weights for the peers as well: those do not clear
    them, and a tenth of a millisecond an image would be that of the weights and not of the servers."""
    proto = onnx.load(MODEL)
    clear_subnormals(proto, MODEL.parent)
    onnx.save(proto, folder / "small.onnx")
    bundle = init_bundle(folder / "small.onnx", folder / "small-bundle", name="digits")
    reference = folder / "small.npz"
    np.savez(reference, images=world.images[:4000], labels=world.labels[:4000])
    images = [_encoded(Image.fromarray(pixels), "PNG") for pixels in world.images[4000 : 4000 + PICTURES]]
    return Job(bundle.folder, bundle.output.probabilities, "L", 28, "image/png", images, reference)


def photo_job(folder: Path, name: str, write_network: Callable[[Path], None]) -> Job:
    """Return the job of a network of 224 x 224 pixels: cut-outs of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    network = folder / f"{name}.onnx"
    write_network(network)
    bundle = init_bundle(network, folder / f"{name}-bundle", name=name)
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    cut = []
    for number in range(PICTURES):
        photo = photos[number % 2]
        left, top = (int(rng.integers(0, a - b + 1)) for a, b in zip(photo.size, PHOTO, strict=True))
        cut.append(photo.crop((left, top, left + PHOTO[0], top + PHOTO[1])))
    reference = folder / f"{name}.npz"
    shrunk = np.stack([np.asarray(photo.resize((SIDE, SIDE))) for photo in cut])
    np.savez(reference, images=shrunk, labels=np.arange(PICTURES) % len(bundle.labels))
    images = [_encoded(photo, "JPEG") for photo in cut]
    return Job(bundle.folder, bundle.output.probabilities, "RGB", SIDE, "image/jpeg", images, reference)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=90)
    return buffer.getvalue()
