import datetime as dt

import pytest

from tidemark.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2h", 7200), ("1.5h", 5400), ("30d", 2_592_000), (" 1 W ", 604_800), ("0s", 0)]
)
def test_a_number_with_a_unit_is_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1h", "1y", "2h30m", "1e9d", "9" * 400 + "d", "999999999999d", "inf d", "nan h"]
)
def test_other_texts_are_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_duration(text)
