"""Images and tags as clients really send them to `/predict`."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.images import png
from tests.support.server import stored_prediction

BASE64 = base64.b64encode(png()).decode()
TEXTS = {
    "plain": BASE64,
    "a data URL": f"data:image/png;base64,{BASE64}",
    "a data URL with parameters": f"data:image/png;name=a.png;base64,{BASE64}",
    "lines": base64.encodebytes(png()).decode(),
    "a line break at the end": f"{BASE64}\n",
    "spaces around": f"  {BASE64} ",
    "no padding": BASE64.rstrip("="),
    "the URL-safe alphabet": base64.urlsafe_b64encode(png()).decode(),
}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("name", TEXTS)
def test_base64_is_read_in_every_spelling(client: TestClient, name: str) -> None:
    answer = client.post("/predict", json={"images": [TEXTS[name]]})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("text", ["data:image/png,abc", "not base64!", "a", "data:image/png;base64,%%%"])
def test_what_is_not_base64_is_400(client: TestClient, text: str) -> None:
    answer = client.post("/predict", json={"images": [text]})
    assert (answer.status_code, answer.json()["detail"]) == (400, "image 0 is not base64")


@pytest.mark.parametrize(
    "content_type", [None, "application/octet-stream", "application/x-www-form-urlencoded", "image/jpg", "text/plain"]
)
def test_an_image_is_recognised_by_its_first_bytes(client: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/predict", content=png(), headers=headers).status_code == 200


def test_json_is_recognised_too(client: TestClient) -> None:
    assert client.post("/predict", content=json.dumps({"images": [BASE64]})).status_code == 200
    assert client.post("/predict", content=b"neither", headers={}).status_code == 415


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-8"])
def test_json_may_begin_with_a_byte_order_mark(client: TestClient, encoding: str) -> None:
    content = json.dumps({"images": [BASE64]}).encode(encoding)
    assert client.post("/predict", content=content, headers=JSON).status_code == 200


PNG_FILE = ("a.png", png())
FORMS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "file": ({"files": {"file": ("a.png", png())}}, {}),
    "another name": ({"files": {"image": ("a.png", png())}}, {}),
    "brackets": ({"files": [("file[]", ("a.png", png())), ("file[]", ("b.png", png()))]}, {}),
    "no filename": ({"files": {"file": (None, png())}}, {}),
    "fields": ({"files": {"file": ("a.png", png())}, "data": {"camera": "7", "note": "x" * 300}}, {"camera": "7"}),
    "tag": (
        {"files": {"file": ("a.png", png())}, "data": {"tag": ["camera:7", "site:a"]}},
        {"camera": "7", "site": "a"},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_s_files_are_images_and_its_fields_are_tags(client: TestClient, name: str) -> None:
    form, tags = FORMS[name]
    answer = client.post("/predict", **form)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == len(form["files"])
    (model,) = client.app.state.server.models.answering  # type: ignore[attr-defined]
    assert model.name == "pets:3"
    assert tags.items() <= _tags(client, answer.json()["predictions"][0]["id"]).items()


def _tags(client: TestClient, prediction_id: str) -> dict[str, str]:
    return stored_prediction(client, prediction_id).tags


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\ntext\r\n--b--\r\n", 422),
        (b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + png(), 400),
        (b"nothing", 400),
        (b"--b\r\nContent-Disposition: form-data; name=tag\r\n\r\nno colon\n\r\n--b--\r\n", 422),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 129 + b"--b--\r\n", 413),
    ],
)
def test_a_form_that_cannot_be_used_is_refused(client: TestClient, content: bytes, status: int) -> None:
    answer = client.post("/predict", content=content, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == status, answer.text
    answer = client.post("/predict", content=content, headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 400


def test_numbers_and_booleans_are_tags(client: TestClient) -> None:
    body = {"images": [BASE64], "tags": {"camera": 7, "ratio": 0.5, "night": True, "whole": 3.0}}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    tags = _tags(client, answer.json()["predictions"][0]["id"])
    assert tags == {"camera": "7", "ratio": "0.5", "night": "true", "whole": "3"}


@pytest.mark.parametrize(
    "tags",
    [
        {"a": None},
        {"a": []},
        {"a b": "c"},
        {"a": "x" * 257},
        {f"a{n}": 1 for n in range(17)},
        {"a": "\n"},
        [],
        {"a": 1e999},
    ],
)
def test_what_cannot_be_a_tag_is_422(client: TestClient, tags: Any) -> None:
    content = json.dumps({"images": [BASE64], "tags": tags}).replace("Infinity", "1e999")
    answer = client.post("/predict", content=content, headers=JSON)
    assert answer.status_code in (400, 422)


def test_a_path_may_end_with_a_slash(client: TestClient) -> None:
    answer = client.post("/predict/", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert answer.history == []
    assert client.get("/healthz/").status_code == 200


def test_refused_images_are_counted_by_reason_and_slice(serve: Callable[..., TestClient]) -> None:
    client = serve(slice_tags="camera", max_slices=2)
    headers = {"Content-Type": "image/png"}
    for number, camera in enumerate("0011223"):
        content = png() if number % 2 else png()[:30]
        client.post(f"/predict?tag=camera:{camera}", content=content, headers=headers)
    client.post("/predict?tag=camera:0", content=b"x", headers={"Content-Type": "text/html"})
    client.post("/predict", json={"images": [BASE64, "aGVsbG8="], "tags": {"camera": 1}})
    text = client.get("/metrics").text
    for line in (
        'images_refused_total{model="pets",reason="not_an_image",slice="",version="3"} 6.0',
        'images_refused_total{model="pets",reason="not_an_image",slice="camera=0",version="3"} 1.0',
        'images_refused_total{model="pets",reason="not_an_image",slice="camera=1",version="3"} 3.0',
        'images_refused_total{model="pets",reason="not_an_image",slice="camera=other",version="3"} 2.0',
        'images_refused_total{model="pets",reason="unsupported_type",slice="camera=0",version="3"} 1.0',
        'images_accepted_total{model="pets",slice="",version="3"} 3.0',
        'images_accepted_total{model="pets",slice="camera=0",version="3"} 1.0',
        'requests_total{path="/predict",status="200"} 3.0',
        'requests_total{path="/predict",status="400"} 5.0',
        'requests_total{path="/predict",status="415"} 1.0',
    ):
        assert f"tidemark_{line}" in text, [row for row in text.splitlines() if "requests_total{" in row]


def test_requests_are_counted_by_the_path_of_their_route(client: TestClient) -> None:
    client.get("/predictions/ffffffff-ffff-ffff-ffff-ffffffffffff")
    client.get("/nothing/here")
    client.post("/observe/cloudevents", content=b"{}")
    text = client.get("/metrics").text
    for line in (
        'requests_total{path="/predictions/{prediction_id}",status="404"} 1.0',
        'requests_total{path="other",status="404"} 1.0',
        'requests_total{path="/observe/cloudevents",status="400"} 1.0',
    ):
        assert f"tidemark_{line}" in text, line
