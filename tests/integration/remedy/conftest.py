"""Worlds for `tidemark remedy`: the digits of scikit-learn, and a model that the environment names."""

import os
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.remedy_world import Draw, World
from tidemark.commands.reference import reference_arrays
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.labelled_images import LabelledImages
from tidemark.store import models, references

REFERENCE_ROWS = 2000
MAX_REFERENCE_ROWS = 4000
MODEL_VARIABLE, IMAGES_VARIABLE = "TIDEMARK_TEST_MODEL", "TIDEMARK_TEST_IMAGES"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path, Draw]:
    folder = tmp_path_factory.mktemp("digits")
    bundle = init_bundle(MODEL, folder / "bundle", name="digits")
    _, held_out = halves()

    def fresh(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = [rng.choice(np.flatnonzero(held_out.labels == label)) for label in labels]
        return scan(held_out.images[rows], rng)

    rng = np.random.default_rng(1)
    labels = held_out.labels[rng.integers(0, len(held_out.labels), REFERENCE_ROWS)]
    np.savez(folder / "held_out.npz", images=fresh(labels, rng), labels=labels)
    return bundle, folder / "held_out.npz", fresh


@pytest.fixture(scope="module")
def environment_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path, Draw]:
    """A model and labelled images by path, one half for the reference."""
    model, images = (os.environ.get(name) for name in (MODEL_VARIABLE, IMAGES_VARIABLE))
    if not (model and images):
        pytest.skip(f"set {MODEL_VARIABLE} to an ONNX classifier and {IMAGES_VARIABLE} to an .npz")
    folder = tmp_path_factory.mktemp("environment_model")
    bundle = init_bundle(Path(model), folder / "bundle", name="environment")
    with np.load(images.split(os.pathsep)[0]) as archive:
        pixels, labels = archive["images"], archive["labels"].astype(np.int64)
    order = np.random.default_rng(1).permutation(len(labels))
    reference_rows, rest = order[: len(order) // 2][:MAX_REFERENCE_ROWS], order[len(order) // 2 :]
    np.savez(folder / "held_out.npz", images=pixels[reference_rows], labels=labels[reference_rows])

    def fresh(true_labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(pixels[[rng.choice(rest[labels[rest] == label]) for label in true_labels]])

    return bundle, folder / "held_out.npz", fresh


@pytest.fixture(params=["digits", "environment_model"])
def world(request: pytest.FixtureRequest, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    bundle, images, fresh = request.getfixturevalue(request.param)
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    arrays = reference_arrays(bundle, LabelledImages(bundle, images))
    with engine.begin() as connection:
        model_id = models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
        references.save(connection, model_id, arrays)
    return World(engine, bundle, images, fresh, arrays, np.random.default_rng(2))
