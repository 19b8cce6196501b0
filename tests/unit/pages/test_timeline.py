"""The picture of incidents over time: a well-formed file that holds every lane, also of empty or odd content."""

import datetime as dt
import math
from xml.etree import ElementTree

from tidemark.pages.timeline import COLOURS, LEFT, RIGHT, Bar, Lane, Mark, timeline

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SPAN = (START, START + 10 * DAY)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lanes: Lane, marks: tuple[Mark, ...] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(timeline("Incidents of <m>", SPAN, lanes, marks))


def bars(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [rect for rect in picture.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]


def test_an_incident_is_a_bar_from_its_alarm_to_its_end() -> None:
    [bar] = bars(drawn(Lane("today", bars=[Bar(START + 5 * DAY, SPAN[1], "label", "a < b")])))
    assert bar.get("class") == "label"
    assert float(bar.get("x", 0)) == (LEFT + RIGHT) / 2
    assert float(bar.get("x", 0)) + float(bar.get("width", 0)) == RIGHT
    assert bar.findtext(f"{SVG}title") == "a < b"


def test_a_bar_that_reaches_beyond_the_time_is_cut_and_a_short_one_is_visible() -> None:
    early, short = bars(
        drawn(Lane("", bars=[Bar(START - DAY, START + DAY, "both", ""), Bar(START + DAY, START + DAY, "both", "")]))
    )
    assert float(early.get("x", 0)) == LEFT
    assert float(short.get("width", 0)) > 1


def test_every_kind_has_a_colour_and_any_other_one_that_of_unknown() -> None:
    kinds = [*COLOURS, "something new"]
    picture = drawn(Lane("", bars=[Bar(START, SPAN[1], kind, "") for kind in kinds]))
    assert [bar.get("class") for bar in bars(picture)] == [*COLOURS, "unknown"]


def test_the_line_of_evidence_has_gaps_and_stays_in_its_lane() -> None:
    picture = drawn(Lane("", line=[0.1, 1.0, math.nan, 1e9, 0.0]))
    lines = [line.get("points", "").split() for line in picture.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [2, 2]
    limit = next(line for line in picture.iter(f"{SVG}line") if line.get("class") == "limit")
    heights = [float(point.split(",")[1]) for points in lines for point in points]
    assert heights[1] == float(limit.get("y1", 0))
    assert heights[2] < heights[1] < heights[0]
    assert max(heights) - min(heights) < 40


def test_it_is_reported_in_words_and_dates() -> None:
    picture = drawn(Lane("today", "2 incidents"), marks=(Mark(START + DAY, "accepted"),))
    assert picture.get("aria-label") == "Incidents of <m>. today: 2 incidents"
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"Incidents of <m>", "today", "2 incidents", "accepted", "2026-01-01", "2026-01-11"} <= set(texts)
