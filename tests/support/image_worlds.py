"""Worlds with planted covariate shifts: a model, its reference, and spans of traffic whose true labels are known."""

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tidemark.drift import Reference, WindowTest
from tidemark.drift.samples import Sample
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.properties import NAMES, measure
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.span import UNKNOWN, Span

MODEL, IMAGES = "TIDEMARK_TEST_MODEL", "TIDEMARK_TEST_IMAGES"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REFERENCE_ROWS, ROWS = 2000, 500

Shift = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    bundle: Bundle
    reference: Reference
    images: Path  # labelled, of the reference
    fresh: tuple[np.ndarray, np.ndarray]  # images and labels that neither model nor reference have seen

    def span(self, shift: Shift, first: int = 0, count: int = ROWS) -> tuple[Sample, np.ndarray]:
        """Return predictions of shifted images as the log holds them, and their true labels."""
        images, labels = (rows[first : first + count] for rows in self.fresh)
        return see(self.bundle, shift(images)), labels

    def context(
        self, sample: Sample, out: Path, labels: np.ndarray | None = None, force: bool = False
    ) -> RemedyContext:
        span_labels = np.full(len(sample), UNKNOWN) if labels is None else labels
        span = Span(f"{self.bundle.name}:1", NOW, NOW, self.reference, sample, (), span_labels, self.bundle.sha256)
        report = WindowTest(self.reference, window_size=len(sample))(
            sample.embeddings, sample.probabilities, sample.properties
        )
        return RemedyContext(span, report, frozenset({"covariate"}), out, self.bundle, self.images, force)


def see(bundle: Bundle, images: np.ndarray) -> Sample:
    model = Model(bundle, threads=1)
    parts = [model.predict(images[first : first + 256]) for first in range(0, len(images), 256)]
    probabilities, embeddings = (
        np.concatenate(rows).astype(np.float16).astype(np.float32) for rows in zip(*parts, strict=True)
    )
    sizes = np.full((2, len(images)), [[images.shape[2]], [images.shape[1]]])
    return Sample(embeddings, probabilities, measure(images, *sizes))


def world(
    bundle: Bundle, labelled: tuple[np.ndarray, np.ndarray], fresh: tuple[np.ndarray, np.ndarray], at: Path
) -> World:
    images, labels = (rows[:REFERENCE_ROWS] for rows in labelled)
    sample = see(bundle, images)
    reference = Reference(sample.embeddings, sample.probabilities, labels, sample.properties, property_names=NAMES)
    np.savez(at / "images.npz", images=images, labels=labels)
    return World(bundle, reference, at / "images.npz", fresh)


def darker(images: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(images * factor + 0.5, 0, 255).astype(np.uint8)


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma))
    return np.clip(smooth + 0.5, 0, 255).astype(np.uint8)


def noisy(images: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 255 * sigma, images.shape)
    return np.clip(images + noise + 0.5, 0, 255).astype(np.uint8)


def turned(images: np.ndarray, degrees: float) -> np.ndarray:
    rotated: np.ndarray = ndimage.rotate(images.astype(np.float32), degrees, axes=(1, 2), reshape=False, order=1)
    return np.clip(rotated + 0.5, 0, 255).astype(np.uint8)


def digits_world(folder: Path) -> World:
    """Return the world of scikit-learn's digits and the demo's classifier."""
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    from tidemark.demo.make_model import MODEL as DIGITS
    from tidemark.demo.scans import halves, scan

    _, held_out = halves()
    half, rng = len(held_out.labels) // 2, np.random.default_rng(0)
    images = scan(held_out.images, rng)
    labelled, fresh = ((images[rows], held_out.labels[rows]) for rows in (slice(0, half), slice(half, None)))
    return world(init_bundle(DIGITS, folder / "bundle", name="digits"), labelled, fresh, folder)


def world_from_environment(folder: Path) -> World:
    """Return the world of a model by path with two .npz of labelled images: for the reference, and for the traffic."""
    model, images = (os.environ.get(name) for name in (MODEL, IMAGES))
    if not model or not images or os.pathsep not in images:
        pytest.skip(f"set {MODEL} to an ONNX classifier and {IMAGES} to two .npz joined by {os.pathsep!r}")
    pairs = []
    for path in images.split(os.pathsep):
        with np.load(path) as archive:
            pairs.append((archive["images"], archive["labels"].astype(np.int64)))
    return world(init_bundle(Path(model), folder / "bundle", name="environment"), pairs[0], pairs[1], folder)
