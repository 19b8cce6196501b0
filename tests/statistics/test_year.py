"""A short course of the simulated year: each planted change is found and named, what was accepted stays silent."""

import dataclasses
import datetime as dt

import pytest

from benchmarks.year.run import Result, draw, judge
from benchmarks.year.script import START, Script, month
from benchmarks.year.simulation import Course, simulate
from tidemark.settings import Settings

SCRIPT = dataclasses.replace(month(), days=20)
RUN_TIME = 30 * 600  # predictions: 30 days at 600 a day


@pytest.fixture(scope="module")
def course(short_calibrations: None) -> Course:
    return simulate(SCRIPT, Settings(expected_run_time=RUN_TIME), seed=1)


@pytest.fixture(scope="module")
def result(course: Course) -> Result:
    return judge(SCRIPT, course)


def test_the_planted_drift_is_detected_within_a_day_and_named(result: Result) -> None:
    [drift] = result.of("drift")
    assert drift.delay is not None
    assert drift.delay < dt.timedelta(days=1)
    assert drift.named
    assert drift.incident is not None
    assert drift.incident.resolved_at is not None


def test_the_accepted_change_is_alerted_once_and_then_silent(course: Course, result: Result) -> None:
    [accepted] = result.of("accepted")
    assert accepted.incident is not None
    assert accepted.incident.resolution == "accepted"
    assert accepted.incident.resolved_at == course.accepted_at[0] == START + dt.timedelta(days=15)
    assert result.after_acceptance == ()


def test_nothing_else_is_raised(result: Result) -> None:
    assert result.false == ()


def test_the_picture_shows_what_was_planted_and_what_was_raised(course: Course, result: Result) -> None:
    picture = draw(SCRIPT, course, result)
    assert picture.count('<rect class="covariate"') > 2
    assert "1 of 1 found, 1 named" in picture


def test_an_alarm_that_no_change_explains_is_false(course: Course) -> None:
    false = judge(Script(days=SCRIPT.days, per_day=SCRIPT.per_day), course).false
    assert [item.alarm for item in false] == [alarm for incident in course.incidents for alarm in incident.alarms]


def test_a_false_alarm_whose_incident_meets_a_planted_change_later_is_still_one(course: Course) -> None:
    first, *others = course.incidents
    early = dataclasses.replace(first.alarms[0], at=START + dt.timedelta(days=2))
    opened_early = dataclasses.replace(first, alarms=(early, *first.alarms))
    result = judge(SCRIPT, dataclasses.replace(course, incidents=(opened_early, *others)))
    assert [item.alarm for item in result.false] == [early]
    assert [answer.named for answer in result.of("drift")] == [True]
