"""The label desk without its script: forms of this page only, for those who may label."""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.labelling import STREAM, Desk
from tidemark.pages.label_page import ClassButton, class_buttons

KEYS = {"f": "feedback", "r": "read", "a": "admin"}
SETTING = ",".join(f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" for key, scope in KEYS.items())
HTML = {"accept": "text/html"}


def opened(client: TestClient, **headers: str) -> str:
    return str(client.get("/label", params={"stream": STREAM}, headers=HTML | headers).text)


def submit(client: TestClient, action: str, headers: dict[str, str] | None = None, **form: Any) -> Any:
    authorization = {name: value for name, value in (headers or {}).items() if name == "authorization"}
    token = re.findall('name="token" value="(.*?)"', opened(client, **authorization))[0]
    sent = {"origin": "http://testserver", "sec-fetch-site": "same-origin", **HTML, **(headers or {})}
    data = {"token": token, "stream": STREAM, **form}
    return client.post(f"/label/{action}", data=data, headers=sent, follow_redirects=False)


def items(page: str) -> list[str]:
    return re.findall('data-id="(.*?)"', page)


def test_a_round_is_drawn_and_labelled_with_forms(desk: Desk) -> None:
    desk.log(120)
    assert "Draw predictions to label" in opened(desk.client)
    answer = submit(desk.client, "start")
    assert (answer.status_code, answer.headers["location"]) == (303, "/label?stream=pets%3A3")
    first, second, *_ = items(opened(desk.client))
    assert submit(desk.client, "answer", id=first, label=desk.predicted[first]).status_code == 303
    page = opened(desk.client)
    assert items(page)[0] == second
    assert "on 1 label." in page
    assert f"id={first}" in page
    assert submit(desk.client, "skip", id=second).status_code == 303
    assert second not in items(opened(desk.client))


def test_the_answer_of_the_model_is_not_shown(desk: Desk) -> None:
    desk.log(60)
    submit(desk.client, "start")
    page = opened(desk.client)
    assert "predicted" not in page.partition('<ol class="queue"')[2].partition("</ol>")[0]
    assert 'src="data:image/jpeg;base64,' in page


def test_without_stored_pictures_the_page_says_so_and_links_the_predictions(desk: Desk) -> None:
    desk.log(60, pictures=False)
    submit(desk.client, "start")
    page = opened(desk.client)
    assert "TIDEMARK_THUMBNAILS" in page
    assert f'href="/predictions/{items(page)[0]}"' in page


@pytest.mark.parametrize(
    ("action", "form", "status"),
    [
        ("answer", {"id": "no-uuid", "label": "cat"}, 422),
        ("answer", {"id": "ffffffff-ffff-ffff-ffff-ffffffffffff", "label": "cat"}, 404),
        ("answer", {"id": "ffffffff-ffff-ffff-ffff-ffffffffffff", "label": "dog"}, 422),
        ("skip", {"id": "x"}, 422),
        ("start", {}, 409),
        ("start", {"stream": "no:1"}, 404),
        ("dance", {}, 404),
    ],
)
def test_the_page_says_why_an_action_is_impossible(desk: Desk, action: str, form: dict[str, Any], status: int) -> None:
    answer = submit(desk.client, action, **form)
    assert answer.status_code == status
    assert "Not done" in answer.text


def test_a_form_of_another_page_is_refused(desk: Desk) -> None:
    desk.log(60)
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example", "sec-fetch-site": "same-site"}):
        assert submit(desk.client, "start", headers=headers).status_code == 403
    form = {"token": "x" * 32, "stream": STREAM}
    assert desk.client.post("/label/start", data=form, headers=HTML).status_code == 403
    assert desk.next()["round"] is None


def test_a_stream_that_does_not_exist_is_not_found(client: TestClient) -> None:
    answer = client.get("/label", params={"stream": "<b>:1"}, headers=HTML)
    assert answer.status_code == 404
    assert "<b>" not in answer.text


def test_those_who_only_read_are_not_offered_the_desk(serve: Callable[..., TestClient], engine: Engine) -> None:
    client = serve(api_keys=SETTING)
    desk = Desk(client, engine)
    desk.log(60)

    def basic(key: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(f":{key}".encode()).decode()}

    assert "/label?stream" not in client.get("/", headers=HTML | basic("r")).text
    assert "/label?stream" in client.get("/", headers=HTML | basic("a")).text
    assert client.get("/label", params={"stream": STREAM}, headers=HTML | basic("r")).status_code == 403
    assert submit(client, "start", headers=basic("f")).status_code == 303
    assert items(opened(client, **basic("f")))
    assert client.get("/static/label.js", headers=basic("f")).status_code == 200


def test_each_class_has_a_separate_key() -> None:
    assert class_buttons(["3", "0"]) == [ClassButton("3", "3"), ClassButton("0", "0")]
    assert [button.key for button in class_buttons(["ant", "bee"])] == ["1", "2"]
    assert [button.key for button in class_buttons(["a", "A"])] == ["1", "2"]
    many = class_buttons([f"class {number}" for number in range(36)])
    assert len({button.key for button in many}) == 36
    assert class_buttons([f"class {number}" for number in range(37)]) == []
