"""People label images on the label desk, in a real browser: with keys, with clicks, on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from sqlalchemy import text

from tests.support.browser import Page
from tests.support.live_pages import VIEWS, Live, assert_can_be_read
from tests.support.predictions import new_ids, write
from tests.support.wait import until
from tidemark.inference.thumbnails import thumbnail
from tidemark.serving import label_desk
from tidemark.store import label_rounds, references, streams
from tidemark.store.logged import logged

STREAM = "digits:1"
COUNT = 400


@pytest.fixture(scope="module")
def truth(live: Live) -> Iterator[dict[str, str]]:
    """Log predictions with pictures; return the true label of each, of which the model has nine of ten right."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, COUNT)
    predicted = np.where(rng.random(COUNT) < 0.9, labels, (labels + 1) % 10)
    confidence = rng.uniform(0.5, 1, COUNT)
    probabilities = np.full((COUNT, 10), 0.0) + ((1 - confidence) / 9)[:, None]
    probabilities[np.arange(COUNT), predicted] = confidence
    pictures = [thumbnail(np.full((28, 28), 25 * label, np.uint8)) for label in labels.tolist()]
    with live.engine.begin() as connection:
        stream = streams.find(connection, STREAM)
        assert stream is not None
        references.save(
            connection, stream.model_id, {"embeddings": np.zeros((60, 4)), "probabilities": probabilities[:60]}
        )
        batch = logged(STREAM, new_ids(COUNT), probabilities, np.zeros((COUNT, 4)), thumbnails=pictures)
        write(connection, batch)
    yield {str(key): str(label) for key, label in zip(batch.uuids, labels.tolist(), strict=True)}
    with live.engine.begin() as connection:
        connection.execute(text("UPDATE streams SET reference_id = NULL WHERE id = :id"), {"id": stream.id})


def start(live: Live, page: Page) -> None:
    """Open the desk without a label and draw predictions."""
    with live.engine.begin() as connection:
        connection.execute(
            text("DELETE FROM feedback WHERE prediction_id IN (SELECT prediction_id FROM label_requests)")
        )
    page.open(f"{live.url}/label?stream={STREAM}")
    page.leave("[...document.querySelectorAll('form')].at(-1).querySelector('button').click()")
    page.until("document.querySelector('.queue li:not([hidden])') !== null")


def visible_text(page: Page) -> str:
    """Return the id of the prediction that the page shows."""
    return str(page.run("document.querySelector('.queue li:not([hidden])').dataset.id"))


def labels(live: Live) -> dict[str, int | None]:
    """Return the labels of the newest round in its order."""
    with live.engine.connect() as connection:
        stream = streams.find(connection, STREAM)
        assert stream is not None
        newest = label_rounds.newest(connection, stream.id)
        assert newest is not None
        return {str(item.prediction_id): item.label for item in label_rounds.requests(connection, newest.id)}


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_desk_can_be_read(
    live: Live, page: Page, truth: dict[str, str], screenshots: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.show(width, scheme)
    start(live, page)
    page.screenshot(screenshots / f"label-{width}-{scheme}.png")
    assert_can_be_read(page, width)
    assert all(address.startswith((live.url, "data:")) for address in page.requested)
    page.open(f"{live.url}/label?stream=mnist:1/camera%3D7")
    assert_can_be_read(page, width)
    page.open(f"{live.url}/label?stream=none:1")
    assert_can_be_read(page, width)


@pytest.mark.parametrize("width", [360, pytest.param(1280, marks=pytest.mark.slow)])
def test_fifty_images_are_labelled_with_keys(live: Live, page: Page, truth: dict[str, str], width: int) -> None:
    page.show(width, "light")
    start(live, page)
    for number in range(50):
        key = visible_text(page)
        page.press(truth[key])
        if number < 49:
            assert visible_text(page) != key
    page.until("document.getElementById('progress')?.textContent.includes('on 50 labels')")
    page.until("document.readyState == 'complete' && document.querySelector('.queue li:not([hidden])') !== null")
    stored = labels(live)
    assert [str(label) for label in list(stored.values())[:50]] == [truth[key] for key in list(stored)[:50]]
    assert "±" in page.run("document.getElementById('progress').textContent")
    with live.engine.connect() as connection:
        stream = streams.find(connection, STREAM)
        assert stream is not None
        state = label_desk.round_state(connection, stream)
    assert state is not None
    assert state.accuracy is not None
    assert state.accuracy.low < 0.93
    assert state.accuracy.high > 0.87
    assert page.complaints == []


def test_buttons_stay_under_the_finger_from_image_to_image(live: Live, page: Page, truth: dict[str, str]) -> None:
    """The progress grows by a line or two, and Undo appears: neither moves what is tapped next."""
    page.show(360, "light")
    start(live, page)
    places = """[...document.querySelectorAll('button[name=label], #skip')].map((button) => {
        const box = button.getBoundingClientRect(); return [box.x, box.y + scrollY, box.width, box.height]; })"""
    before = page.run(places)
    assert len(before) == 11
    assert min(height for _, _, _, height in before) >= 44
    page.run("document.querySelector('button[value=\"3\"]').click()")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    assert not page.run("document.getElementById('undo').hidden")
    assert page.run(places) == before
    page.run("document.getElementById('progress').textContent = 'Accuracy '.repeat(40)")
    assert page.run(places) == before


def test_undo_changes_the_last_label_and_a_skip_stores_none(live: Live, page: Page, truth: dict[str, str]) -> None:
    page.show(1280, "light")
    start(live, page)
    first = visible_text(page)
    page.press("3")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    second = visible_text(page)
    page.press("Backspace")
    assert visible_text(page) == first
    assert page.run("document.querySelector('button[aria-pressed=true]').value") == "3"
    page.press("5")
    assert visible_text(page) == second
    page.press(".")
    page.until(f"document.querySelector('.queue li:not([hidden])').dataset.id != '{second}'")
    page.press(truth[visible_text(page)])
    page.until("document.getElementById('progress').textContent.includes('on 2 labels')")
    stored = labels(live)
    assert (stored[first], stored[second]) == (5, None)
    page.open(f"{live.url}/label?stream={STREAM}")
    assert second not in page.run("document.querySelector('main').innerHTML")


def test_a_click_labels_and_keys_can_be_switched_off(live: Live, page: Page, truth: dict[str, str]) -> None:
    page.show(360, "light")
    start(live, page)
    first = visible_text(page)
    page.run("document.getElementById('keys').click()")
    page.press("3")
    assert visible_text(page) == first
    page.run("document.querySelector('button[value=\"4\"]').click()")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    assert labels(live)[first] == 4


def test_the_desk_says_that_an_answer_was_not_stored_and_stays_there(
    live: Live, page: Page, truth: dict[str, str]
) -> None:
    page.show(360, "light")
    start(live, page)
    first = visible_text(page)
    page.offline(True)
    page.press("3")
    page.until("!document.getElementById('failure').hidden")
    page.offline(False)
    assert visible_text(page) == first
    page.press("3")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    assert page.run("document.getElementById('failure').hidden")


def test_the_last_label_can_be_changed_later(live: Live, page: Page, truth: dict[str, str]) -> None:
    page.show(360, "light")
    start(live, page)
    first = visible_text(page)
    page.press("3")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    page.open(f"{live.url}/label?stream={STREAM}")
    page.follow("#last")
    assert visible_text(page) == first
    assert "labelled 3" in page.run("document.querySelector('.queue').textContent")
    page.press("8")
    page.until("document.getElementById('progress').textContent.includes('on 1 label.')")
    page.until(f"document.querySelector('.queue li:not([hidden])').dataset.id != '{first}'")
    page.open(f"{live.url}/label?stream={STREAM}")
    until(lambda: labels(live)[first] == 8, "the label, which is sent while the page is left")
