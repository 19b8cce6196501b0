"""Charts of the pages: as many classes as fit, those that moved most first."""

import re

from tidemark.pages import charts


def test_shares_are_drawn_of_the_classes_that_moved_most_with_short_names() -> None:
    reference = {f"{number:02} a name of many letters": 0.05 for number in range(20)}
    window = {name: 0.05 + number / 1000 for number, name in enumerate(reference)}
    drawn = charts.proportions(reference, window, {}, {}, {})
    assert re.findall(r">(\d\d a [^<]*)<", drawn) == [f"{number:02} a name o…" for number in range(19, 7, -1)]
