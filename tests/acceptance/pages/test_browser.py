"""People's way from the overview over an alert to a report, in a real browser."""

from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import update

from tests.support.browser import Page
from tests.support.live_pages import AUDIT, AXE, VIEWS, VIOLATIONS, Live, assert_can_be_read
from tidemark.store import tables

REFRESH = "document.dispatchEvent(new Event('visibilitychange'))"
FIRST_VIEW = 300_000  # bytes
TABS = 30


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_from_overview_over_alert_and_window_to_image(
    live: Live, page: Page, screenshots: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.show(width, scheme)

    def assert_page(name: str) -> None:
        page.screenshot(screenshots / f"{name}-{width}-{scheme}.png")
        assert_can_be_read(page, width)

    page.open(f"{live.url}/")
    assert_page("overview")
    page.follow(f'.stream a[href="{live.seeded.alert}"]')
    assert page.run("document.querySelector('h1').textContent").startswith("Images are darker than in training")
    assert_page("alert")
    page.follow('.facts a[href^="/windows/"]')
    assert page.run("location.pathname") == f"/windows/{live.seeded.window}"
    assert_page("window")
    page.follow('.facts a[href^="/windows?"]')
    assert_page("windows")
    page.open(f"{live.url}/windows/{live.seeded.window}")
    page.follow('.images a[href$="/thumbnail"]')
    assert page.run("[document.contentType, document.images[0].naturalWidth]") == ["image/jpeg", 28]
    for name in ("concept_alert", "old_alert"):
        page.open(live.url + getattr(live.seeded, name))
        assert_page(name)
    assert all(address.startswith((live.url, "data:")) for address in page.requested)
    page.open(f"{live.url}/windows/999")
    assert_page("nothing")
    assert page.run("document.querySelector('h1').textContent") == "Not found"


def test_the_checks_see_planted_faults(live: Live, page: Page) -> None:
    page.show(360, "light")
    page.open(live.url + live.seeded.alert)
    page.run(f"if (!window.axe) {{ {AXE} }}")
    page.run("document.images[0].removeAttribute('alt'); document.querySelector('.dim').style.color = '#ccc'")
    page.run("document.querySelector('table').style.width = '400px'")
    assert {violation.partition(":")[0] for violation in page.run(VIOLATIONS)} == {
        "color-contrast",
        "image-alt",
        "link-name",
    }
    assert any(violation.startswith("beyond the edge") for violation in page.run(f"({AUDIT})(360)"))


def test_a_logged_prediction_is_described_behind_its_id(live: Live, page: Page) -> None:
    page.open(f"{live.url}/windows/{live.seeded.window}")
    page.follow('.images a[href^="/predictions/"]:not([href$="/thumbnail"])')
    assert '"label":"3"' in page.run("document.body.textContent")


def test_the_command_of_a_remedy_is_copied(live: Live, page: Page) -> None:
    page.open(live.url + live.seeded.alert)
    page.run("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.run("document.querySelector('.command + button').click()")
    page.until("document.querySelector('.command + button').textContent == 'Copied'")
    assert page.run("window.copied").startswith("tidemark remedy --stream mnist:1/camera=7 ")


def test_first_view_of_an_alert_is_light(live: Live, page: Page) -> None:
    page.open(live.url + live.seeded.alert)
    sizes = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0)"
    assert 10_000 < page.run(sizes) < FIRST_VIEW


def test_overview_follows_without_reload_and_keeps_the_focus(live: Live, page: Page) -> None:
    page.open(f"{live.url}/")
    link = f'#live a[href="{live.seeded.alert}"]'
    page.run(f"window.same = true; document.querySelector('{link}').focus()")
    with live.engine.begin() as connection:
        connection.execute(update(tables.streams).values(seen=6001))
    page.run(REFRESH)
    page.until("document.getElementById('live').textContent.includes('6,001 predictions')")
    assert page.run("window.same && document.activeElement.getAttribute('href')") == live.seeded.alert
    assert page.complaints == []


def test_overview_asks_again_by_itself(live: Live, page: Page) -> None:
    page.open(f"{live.url}/")
    page.until("performance.getEntriesByType('resource').some((entry) => entry.initiatorType == 'fetch')")


def test_overview_says_when_it_is_out_of_date(live: Live, page: Page) -> None:
    page.open(f"{live.url}/")
    assert page.run("document.getElementById('stale').hidden")
    page.offline(True)
    page.run(REFRESH)
    page.until("!document.getElementById('stale').hidden")
    page.offline(False)
    page.run(REFRESH)
    page.until("document.getElementById('stale').hidden")


def test_overview_filters(live: Live, page: Page) -> None:
    page.open(f"{live.url}/")
    assert page.run("document.querySelectorAll('.stream').length") == 3
    page.run("document.querySelector('select[name=slice]').value = 'camera=7'")
    page.leave("document.querySelector('form button').click()")
    assert page.run("document.querySelectorAll('.stream').length") == 1
    assert page.run("document.querySelector('select[name=slice]').value") == "camera=7"


def test_alert_is_reached_by_keyboard_with_a_visible_focus(live: Live, page: Page) -> None:
    page.open(f"{live.url}/")
    for _ in range(TABS):
        page.press("Tab")
        if page.run("document.activeElement.getAttribute('href')") == live.seeded.alert:
            break
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.run("window.stays = true")
    page.press("Enter")
    page.until("!window.stays && document.readyState == 'complete'")
    assert page.run("location.pathname") == live.seeded.alert
