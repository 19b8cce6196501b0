"""Words of the pages."""

import datetime as dt

import pytest

from tidemark.durations import prediction_rate
from tidemark.kinds import KIND_DESCRIPTIONS
from tidemark.pages import formatting as formatting
from tidemark.pages import guidance as guidance
from tidemark.store.report_json import WindowReportJson


def window_report(summary: str) -> WindowReportJson:
    return {
        "size": 500,
        "p_value": 1e-5,
        "drifted": True,
        "kind": "covariate",
        "summary": summary,
        "performance": {
            "estimated_accuracy": 0.91,
            "low": 0.89,
            "high": 0.93,
            "reference_accuracy": 0.99,
            "note": "",
        },
    }


def test_moment_is_utc_whatever_the_offset() -> None:
    assert formatting.utc_time("2026-01-02T16:02:00+02:00") == "2026-01-02 14:02:00 UTC"


def test_p_value_is_never_written_as_zero() -> None:
    assert formatting.p_value(1e-9) == "< 0.0001"
    assert formatting.p_value(0.0300) == "0.03"
    assert (formatting.p_value_equation(1e-9), formatting.p_value_equation(0.03)) == ("p < 0.0001", "p = 0.03")


def test_numbers_are_never_minus_nothing() -> None:
    assert formatting.number(-0.001) == "0.00"
    assert formatting.number(-7.52) == "−7.52"
    assert formatting.measured_value(0.00662451) == "0.00662"
    assert formatting.number(None) == formatting.measured_value(float("nan")) == "–"


@pytest.mark.parametrize(
    ("rate", "text"), [(68.4, "68.4 predictions a second"), (0.5, "30.0 predictions a minute"), (1e-5, "0.9")]
)
def test_rate_in_a_unit_that_fits(rate: float, text: str) -> None:
    assert prediction_rate(rate).startswith(text)


def test_lag_tells_when_the_monitor_seems_to_have_ended() -> None:
    now = dt.datetime.now(dt.UTC)
    assert formatting.monitor_lag(0, None) == "monitor up to date"
    assert formatting.monitor_lag(31, now.isoformat()) == "monitor 31 predictions behind"
    assert formatting.monitor_lag(31, (now - dt.timedelta(hours=3)).isoformat()).endswith(
        "last active 3 hours ago: is it running?"
    )


def test_commands_in_a_sentence_are_marked_and_the_rest_escaped() -> None:
    assert formatting.with_code("<i> use `tidemark x`.") == "&lt;i&gt; use <code>tidemark x</code>."


def test_headline_says_since_when_and_how_sure() -> None:
    summary = "Images are darker (brightness 0.31 → 0.22), blurrier (sharpness -3.2 → -5.5) than in training"
    report = window_report(f"{summary}; estimated accuracy 0.99 → 0.91")
    now = dt.datetime.now(dt.UTC)
    since = f"since {now:%H:%M} UTC; estimated accuracy 0.99 → 0.91 (0.89–0.93)"
    assert formatting.headline(report, now.isoformat()) == f"Images are darker, blurrier than in training {since}"
    unknown: WindowReportJson = {**report, "summary": "Class proportions moved: 7 (new) 9% → 33%", "performance": None}
    assert formatting.headline(unknown) == "Class proportions moved: 7 (new) 9% → 33%"


def test_moments_of_another_day_and_year_have_them() -> None:
    assert formatting.short_time("2019-03-04T05:06:07+00:00") == "4 Mar 2019 05:06 UTC"


def test_verdict_gives_no_size_to_chance() -> None:
    assert formatting.describe_result(0.4, 0.9) == "like chance"
    assert formatting.describe_result(0.002, 0.27) == "strong evidence, small effect"


def test_every_kind_but_none_has_steps() -> None:
    assert {kind for kind in KIND_DESCRIPTIONS if not guidance.steps(kind)} == {"none"}
    assert guidance.remedy("none", "m:1", "2026-01-01T00:00:00+00:00") is None


def test_headline_ends_with_the_earlier_times_of_a_drift_that_comes_back() -> None:
    text = "as on 3 May 2026, 40 times so far"
    summary = f"Images are darker (brightness 0.31 → 0.22); estimated accuracy 0.99 → 0.91; {text}"
    report = window_report(summary)
    report["recurrence"] = {"count": 40, "first": "", "last": "", "text": text}
    assert formatting.headline(report) == f"Images are darker; estimated accuracy 0.99 → 0.91 (0.89–0.93); {text}"
