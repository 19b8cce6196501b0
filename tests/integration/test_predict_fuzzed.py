"""Broken images and broken bodies of every kind: refused and not logged, or answered and logged, and never a 5xx."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import Engine, text

from tests.support.images import png

REFUSED = (400, 413, 415, 422)
KINDS = {"PNG": "png", "JPEG": "jpeg", "GIF": "gif", "TIFF": "tiff", "WEBP": "webp", "BMP": "bmp"}
BOUNDARY = "0123456789"


def encoded(kind: str, mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 9, 3), dtype=np.uint8)
    image, buffer = Image.fromarray(pixels).convert(mode), io.BytesIO()
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    image.save(buffer, kind, **options)
    return buffer.getvalue()


IMAGES = [(kind, encoded(kind, mode)) for kind in KINDS for mode in ("RGB", "L")]
IMAGES += [("PNG", encoded("PNG", "RGBA")), ("PNG", encoded("PNG", "P")), ("TIFF", encoded("TIFF", "F"))]


@st.composite
def mutated(draw: Callable[[Any], Any], original: bytes) -> bytes:
    """Bytes changed, left out, put in, doubled or cut off."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        part = slice(at, at + draw(st.integers(1, 8)))
        change = draw(st.sampled_from(["set", "flip", "drop", "put", "double", "cut"]))
        if change == "cut":
            del data[at:]
        elif change == "drop":
            del data[part]
        elif change == "double":
            data[at:at] = data[part]
        elif change == "put":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif change == "set":
            data[part] = draw(st.sampled_from([b"\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80"]))
        elif data:
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def multipart(*files: bytes) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{n}.png"\r\n\r\n'.encode()
        + file
        + b"\r\n"
        for n, file in enumerate(files)
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = json.dumps({"images": [base64.b64encode(png()).decode()] * 2, "tags": {"camera": "7"}}).encode()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["images", "tags"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["images", "tags", "x"]), inner),
    max_leaves=8,
)


@st.composite
def image_requests(draw: Callable[[Any], Any]) -> dict[str, Any]:
    kind, original = draw(st.sampled_from(IMAGES))
    return {"content": draw(mutated(original)), "headers": {"Content-Type": f"image/{KINDS[kind]}"}}


@st.composite
def other_requests(draw: Callable[[Any], Any]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["bytes", "form", "form header", "json", "any json", "type"]))
    types = st.sampled_from(["image/png", FORM, "application/json", "text/plain", "", "image/", "multipart/form-data"])
    if kind == "form":
        return {"content": draw(mutated(multipart(png(), png()))), "headers": {"Content-Type": FORM}}
    if kind == "form header":
        header = draw(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=30))
        return {"content": multipart(png()), "headers": {"Content-Type": f"multipart/form-data; boundary={header}"}}
    if kind == "json":
        return {"content": draw(mutated(JSON)), "headers": {"Content-Type": "application/json"}}
    if kind == "any json":
        content = json.dumps(draw(ANY_JSON)).encode()
        return {"content": content, "headers": {"Content-Type": "application/json"}}
    content = (
        draw(st.binary(max_size=200))
        if kind == "bytes"
        else draw(st.sampled_from([b"", png(), JSON, multipart(png())]))
    )
    return {"content": content, "headers": {"Content-Type": draw(types)}}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("requests", "count"),
    [
        (image_requests(), 100),
        (other_requests(), 100),
        pytest.param(image_requests(), 1000, marks=pytest.mark.slow),
        pytest.param(other_requests(), 1000, marks=pytest.mark.slow),
    ],
)
def test_refused_predictions_are_not_logged(
    client: TestClient, engine: Engine, requests: st.SearchStrategy[dict[str, Any]], count: int
) -> None:
    answered_ids: set[str] = set()
    statuses = []

    @seed(0)
    @examples(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests)
    def ask(request: dict[str, Any]) -> None:
        answer = client.post("/predict", **request)
        assert answer.status_code in (200, *REFUSED), answer.text
        statuses.append(answer.status_code)
        if answer.status_code == 200:
            answered_ids.update(prediction["id"] for prediction in answer.json()["predictions"])
        else:
            assert answer.headers["content-type"] == "application/problem+json"

    ask()
    assert set(statuses) >= {200, 400}  # mutations that do no harm, and such that do
    last = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
    answered_ids.add(last.json()["predictions"][0]["id"])
    client.__exit__(None)  # the spool is in Postgres now
    with engine.connect() as connection:
        logged = {str(key) for key in connection.execute(text("SELECT id FROM predictions")).scalars()}
    assert logged == answered_ids
