"""The forms of an alert's page: for administrators, from this page only."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.drifting import KEYS, SETTING, Drifting
from tidemark.pages.forms import TOKEN_COOKIE
from tidemark.settings import Settings

ORIGIN = "http://testserver"


def basic(scope: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f":{KEYS[scope]}".encode()).decode()}


class Page:
    """An alert's page in a browser that keeps its cookies."""

    def __init__(self, drifting: Drifting, **headers: str) -> None:
        self.client, self.path = drifting.client, f"/alerts/{drifting.alert_id}/page"
        self.headers = {"accept": "text/html", **headers}

    @property
    def text(self) -> str:
        return str(self.client.get(self.path, headers=self.headers).text)

    @property
    def token(self) -> str:
        return str(re.findall('name="token" value="(.*?)"', self.text)[0])

    def submit(
        self,
        action: str,
        form: dict[str, str] | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        sent = {"origin": ORIGIN, "sec-fetch-site": "same-origin", **self.headers, **(headers or {})}
        data = {"token": self.token if token is None else token, **(form or {})}
        return self.client.post(f"{self.path}/{action}", data=data, headers=sent, follow_redirects=False)


def test_forms_acknowledge_mute_and_unmute(drifting: Drifting) -> None:
    page = Page(drifting)
    answer = page.submit("acknowledge", {"note": "seen <b>"})
    assert (answer.status_code, answer.headers["location"]) == (303, page.path)
    assert "acknowledged by anonymous" in page.text
    assert "seen &lt;b&gt;" in page.text
    page.submit("mute", {"for": "4h"})
    assert "muted by anonymous until" in page.text
    page.submit("mute", {"for": "0s"})
    assert "muted by anonymous until" not in page.text
    assert "unmuted by anonymous" in page.text


def test_forms_accept_and_undo(drifting: Drifting) -> None:
    page = Page(drifting)
    assert "Undo the acceptance" not in page.text
    refused = page.submit("accept", {"what": "all"})
    assert refused.status_code == 409
    assert "500 more" in refused.text
    drifting.log(600)
    assert page.submit("accept", {"what": "images", "note": "new camera"}).status_code == 303
    assert "compared with accepted traffic (images, 600 predictions)" in page.text
    assert "new camera" in page.text
    assert "Accept as normal" not in page.text
    assert "compared with traffic that anonymous accepted (images)" in drifting.client.get("/").text
    page.submit("undo")
    assert "Undo the acceptance" not in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "http://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "http://other.testserver"},
    ],
)
def test_a_form_of_another_page_is_refused_even_with_a_token(drifting: Drifting, headers: dict[str, str]) -> None:
    answer = Page(drifting).submit("acknowledge", headers=headers)
    assert answer.status_code == 403
    assert drifting.client.get(f"/alerts/{drifting.alert_id}").json()["acknowledged"] is None


def test_an_old_browser_is_judged_by_its_origin(drifting: Drifting) -> None:
    page = Page(drifting)
    path, data = f"{page.path}/acknowledge", {"token": page.token}
    for origin, status in (("http://evil.example", 403), ("http://[", 403), ("null", 403), (ORIGIN, 303)):
        sent = drifting.client.post(path, data=data, headers={"origin": origin}, follow_redirects=False)
        assert sent.status_code == status


@pytest.mark.parametrize("token", ["", "x" * 32, "é"])
def test_a_form_without_the_token_of_its_page_is_refused(drifting: Drifting, token: str) -> None:
    assert Page(drifting).submit("acknowledge", token=token).status_code == 403


def test_a_form_without_the_cookie_is_refused(drifting: Drifting) -> None:
    page = Page(drifting)
    token = page.token
    drifting.client.cookies.clear()
    assert page.submit("acknowledge", token=token, headers={"cookie": ""}).status_code == 403


def test_scripts_and_other_sites_cannot_read_the_token(drifting: Drifting) -> None:
    cookie = drifting.client.get(Page(drifting).path).headers["set-cookie"]
    assert cookie.startswith(TOKEN_COOKIE)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


@pytest.mark.parametrize(
    ("action", "form", "status"),
    [
        ("mute", {"for": "soon"}, 422),
        ("mute", {}, 422),
        ("accept", {"what": "labels"}, 422),
        ("acknowledge", {"note": "x" * 2001}, 422),
        ("acknowledge", {"note": "x" * 30_000}, 413),
        ("delete", {}, 404),
    ],
)
def test_a_form_that_cannot_be_used_says_why(
    drifting: Drifting, action: str, form: dict[str, str], status: int
) -> None:
    answer = Page(drifting).submit(action, form)
    assert answer.status_code == status
    assert "Back to the alert" in answer.text


def test_other_bodies_than_forms_are_refused(drifting: Drifting) -> None:
    page = Page(drifting)
    assert drifting.client.post(f"{page.path}/acknowledge", json={"token": page.token}).status_code == 415


def test_with_api_keys_only_an_admin_sees_and_uses_the_forms(
    serve: Callable[..., TestClient], engine: Engine, url: str
) -> None:
    started = serve(api_keys=Settings(api_keys=SETTING).api_keys)
    started.headers["x-api-key"] = KEYS["admin"]
    drifting = Drifting(started, engine, url)
    del started.headers["x-api-key"]
    reader, admin = Page(drifting, **basic("read")), Page(drifting, **basic("admin"))
    assert "<form" not in reader.text
    assert "Handle this alert" in admin.text
    token = admin.token
    assert reader.submit("acknowledge", token=token).status_code == 403
    assert admin.submit("acknowledge").status_code == 303
    assert "acknowledged by key " in reader.text
    assert started.post(f"{admin.path}/acknowledge", data={"token": token}).status_code == 401
    assert started.post(f"/alerts/{drifting.alert_id}/acknowledge", json={}, headers=basic("admin")).status_code == 401
