"""From an image sent, and from labelled images, to the small pictures that are served of them."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import Engine

from tests.support.images import encoded_png
from tests.support.server import stored_prediction
from tidemark.commands.reference import MAX_THUMBNAILS, build_reference
from tidemark.errors import TidemarkError
from tidemark.inference.bundle import Bundle
from tidemark.store import references

Serve = Callable[..., TestClient]
RNG = np.random.default_rng(3)


def predicted(client: TestClient, pixels: np.ndarray) -> str:
    """Send an image; return its id once it is in Postgres."""
    answer = client.post("/predict", content=encoded_png(pixels), headers={"Content-Type": "image/png"})
    key = str(answer.json()["predictions"][0]["id"])
    stored_prediction(client, key)
    return key


def test_a_logged_image_is_served_small_and_privately(serve: Serve) -> None:
    client = serve(thumbnails=True)
    pixels = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    answer = client.get(f"/predictions/{predicted(client, pixels)}/thumbnail")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"].startswith("private")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert np.abs(np.asarray(image, np.float32) - pixels).max() < 10


def test_no_images_are_stored_unless_a_setting_asks_for_them(serve: Serve) -> None:
    client = serve()
    answer = client.get(f"/predictions/{predicted(client, np.zeros((8, 8, 3), np.uint8))}/thumbnail")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "no thumbnail of prediction" in answer.json()["detail"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """More labelled images than are shown, a class of them rare."""
    labels = np.repeat([0, 1, 2, 3], [300, 300, 300, 60])
    shades = labels[:, None, None, None] * 60
    pixels = (shades + RNG.integers(0, 20, (len(labels), 8, 8, 3))).astype(np.uint8)
    np.savez(tmp_path / "labelled.npz", images=pixels, labels=labels)
    return tmp_path / "labelled.npz"


def test_reference_images_of_every_class_are_stored_and_served(
    serve: Serve, bundle: Bundle, images: Path, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    facts = build_reference(bundle.folder, images, limit=None, out=None, thumbnails=True)
    with engine.connect() as connection:
        thumbnails = references.load_thumbnails(connection, 1)
        labels = references.load(connection, 1)["labels"]
    assert np.bincount(labels[list(thumbnails)]).tolist() == [MAX_THUMBNAILS // 4] * 3 + [60]
    assert facts["thumbnails"] == len(thumbnails)
    client = serve()
    for row in list(thumbnails)[:5]:
        answer = client.get(f"/references/1/thumbnails/{row}")
        assert answer.content == thumbnails[row]
        with Image.open(io.BytesIO(answer.content)) as image:
            assert abs(np.asarray(image, np.float32).mean() - labels[row] * 60 - 10) < 10
    missing = next(row for row in range(len(labels)) if row not in thumbnails)
    for path in (f"/references/1/thumbnails/{missing}", "/references/2/thumbnails/0"):
        assert client.get(path).status_code == 404
    assert client.get("/references/1/thumbnails/9999999999").status_code == 422


def test_a_reference_in_a_file_keeps_no_images(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="leave out --out"):
        build_reference(bundle.folder, images, limit=None, out=tmp_path / "r.npz", thumbnails=True)
