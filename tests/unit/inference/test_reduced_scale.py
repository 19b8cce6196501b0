"""A JPEG much larger than the model's input is decoded at reduced scale, to the same prediction."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.inference import images
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.images import decode
from tidemark.inference.model import Model

SIDE = 1000  # pixels of the photographs; the model reads 28


def photographs(count: int) -> list[bytes]:
    _, held_out = halves()
    sizes = []
    for pixels in scan(held_out.images[:count], np.random.default_rng(3)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        sizes.append(buffer.getvalue())
    return sizes


def test_reduced_scale_gives_the_same_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = init_bundle(MODEL, tmp_path / "bundle")
    model, data = Model(bundle, threads=1), photographs(40)
    scales: list[int] = []
    draft = JpegImagePlugin.JpegImageFile.draft

    def watched(image: JpegImagePlugin.JpegImageFile, mode: str | None, size: tuple[int, int]) -> object:
        drafted = draft(image, mode, size)
        scales.append(SIDE // image.size[0])
        return drafted

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", watched)
    reduced = [decode(image, bundle.input, 10**8) for image in data]
    assert set(scales) == {8}
    assert {(image.width, image.height) for image in reduced} == {(SIDE, SIDE)}
    monkeypatch.setattr(images, "_draft", lambda *_: None)
    whole = [decode(image, bundle.input, 10**8) for image in data]
    quick, _ = model.predict(np.stack([image.pixels for image in reduced]))
    slow, _ = model.predict(np.stack([image.pixels for image in whole]))
    assert (quick.argmax(axis=1) == slow.argmax(axis=1)).all()
    np.testing.assert_allclose(quick, slow, atol=0.05)
