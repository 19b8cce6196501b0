"""The links of the pages: each leads to a page, from the overview over alerts to the label desk."""

import html
import re

import httpx

from tests.support.live_pages import Live

MOST_PAGES = 80


def test_each_link_of_overview_alerts_and_windows_leads_to_a_page(live: Live) -> None:
    answers: dict[str, int] = {}
    open_paths = ["/", live.seeded.alert]
    with httpx.Client(base_url=live.url, headers={"accept": "text/html"}) as client:
        while open_paths and len(answers) < MOST_PAGES:
            path = open_paths.pop(0)
            answer = client.get(path)
            answers[path] = answer.status_code
            for link in map(html.unescape, re.findall(r'<a [^>]*href="(/[^"#]*)', answer.text)):
                if link not in answers and link not in open_paths:
                    open_paths.append(link)
    assert {path: status for path, status in answers.items() if status != 200} == {}
    assert sum(re.fullmatch(r"/alerts/[0-9a-f-]+/page", path) is not None for path in answers) >= 2
    assert any(path.startswith("/windows/") for path in answers)


def test_the_page_of_an_alert_links_the_label_desk_of_its_stream(live: Live) -> None:
    page = httpx.get(live.url + live.seeded.alert, headers={"accept": "text/html"}).text
    (link,) = re.findall(r'href="(/label\?stream=[^"]+)"', page)
    assert link == "/label?stream=" + live.seeded.stream.replace(":", "%3A").replace("=", "%3D")
    assert httpx.get(live.url + link, headers={"accept": "text/html"}).status_code == 200


def test_the_address_in_an_alert_opens_its_page(live: Live) -> None:
    alert = httpx.get(f"{live.url}/alerts").json()["alerts"][0]
    page = httpx.get(alert["url"], headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "<h1>" in page.text
