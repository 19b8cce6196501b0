"""The pages through the front door."""

import time

from fastapi.testclient import TestClient

ALERT_PAGE = "/alerts/01920000-0000-7000-8000-000000000001/page"
JSON = {"Accept": "application/json"}


def test_overview_says_state_budget_and_alert(client: TestClient, window_id: int) -> None:
    page = client.get("/").text
    assert "1 of 2 streams drifting" in page
    assert "at most one false alarm in 14 hours at today&#39;s traffic" in page
    assert ALERT_PAGE in page
    assert f"/windows/{window_id}" in page


def test_overview_without_streams(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "No stream yet" in page.text


def test_overview_filters_by_slice(client: TestClient, window_id: int) -> None:
    assert len(client.get("/?slice=camera%3D7", headers=JSON).json()["streams"]) == 1
    assert client.get("/?slice=camera%3D8", headers=JSON).json() == {"streams": [], "alerts": []}


def test_alert_page_opens_with_its_escaped_sentence_and_the_remedy(client: TestClient, window_id: int) -> None:
    page = client.get(ALERT_PAGE).text
    assert "<h1>Images are darker than in training (brightness 0.31 → 0.22) &lt;b&gt;</h1>" in page
    assert "Estimated accuracy 0.99 → 0.91 (0.89–0.93)" in page
    assert "tidemark remedy --stream mnist:1/camera=7 --since 2026-01-02T14:02:00+00:00" in page


def test_report_puts_the_worst_property_first_and_shows_twelve_images(client: TestClient, window_id: int) -> None:
    page = client.get(f"/windows/{window_id}").text
    assert page.index("brightness (share") < page.index("contrast (share")
    assert page.count("/predictions/0192-") == 12


def test_every_chart_has_a_text_alternative(client: TestClient, window_id: int) -> None:
    page = client.get(ALERT_PAGE).text
    assert page.count("<svg") == page.count('role="img" aria-label="') == 4


def test_report_is_small_and_quick(client: TestClient, window_id: int) -> None:
    client.get(ALERT_PAGE)
    began = time.perf_counter()
    page = client.get(ALERT_PAGE)
    assert time.perf_counter() - began < 0.3
    assert len(page.content) < 300_000


def test_json_at_the_same_address(client: TestClient, window_id: int) -> None:
    assert client.get(f"/windows/{window_id}", headers=JSON).json()["kind"] == "covariate"
    assert client.get(ALERT_PAGE, headers=JSON).json()["state"] == "firing"


def test_missing_pages_answer_404_in_both_forms(client: TestClient) -> None:
    page = client.get("/windows/999")
    assert (page.status_code, "no window 999" in page.text) == (404, True)
    assert client.get("/windows/999", headers=JSON).json() == {"detail": "no window 999"}
    assert client.get(ALERT_PAGE).status_code == 404
    assert client.get("/static/routes.py").status_code == 404


def test_pages_need_no_inline_script_or_style_and_no_other_host(client: TestClient, window_id: int) -> None:
    page = client.get(ALERT_PAGE).text
    assert "style=" not in page
    assert "<script>" not in page
    assert "//" not in page.replace("http://www.w3.org", "")
    for name in ("style.css", "live.js"):
        assert client.get(f"/static/{name}").status_code == 200
