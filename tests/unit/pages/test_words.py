"""Words of the pages."""

from service.pages import words


def test_moment_is_utc_whatever_the_offset() -> None:
    assert words.moment("2026-01-02T16:02:00+02:00") == "2026-01-02 14:02:00 UTC"


def test_p_value_is_never_written_as_zero() -> None:
    assert words.p_value(1e-9) == "< 0.0001"
    assert words.p_value(0.0300) == "0.03"


def test_budget_in_plain_words() -> None:
    status = {"expected_run_time": 2_000_000, "rate": 1.0}
    assert words.budget(status) == "at most one false alarm in 23 days at today's traffic"
    assert words.budget({}) == "false-alarm budget not known yet"


def test_no_remedy_where_nothing_moved() -> None:
    assert words.remedy("none", "m:1", "2026-01-01") is None
