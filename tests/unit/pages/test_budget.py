"""What a page says of false alarms, thinning, and what is detectable by when."""

from tidemark.api.budget_text import false_alarm_budget
from tidemark.monitor.budget import detectable_changes
from tidemark.pages import budget
from tidemark.store.stream_status import AlarmBudget, StreamStatus

MONTH = 30 * 86_400.0


def test_a_duration_is_stated_as_asked() -> None:
    assert false_alarm_budget(AlarmBudget(MONTH, 300, 10 / 86_400, False)) == "about one false alarm in 30 days"


def test_an_assumed_rate_is_named() -> None:
    text = false_alarm_budget(AlarmBudget(MONTH, MONTH, 1.0, True))
    assert text == (
        "about one false alarm in 30 days, assuming 1.0 predictions a second until a day of traffic is known"
    )


def test_a_number_of_predictions_is_translated_at_the_rate_of_the_model() -> None:
    budget_of_number = AlarmBudget(200_000.0, 100_000, 0.5, False, is_duration=False)
    text = false_alarm_budget(budget_of_number)
    assert text == "about one false alarm in 100,000 predictions (2 days at the model's rate)"


def test_a_slow_stream_shows_in_days_what_it_can_see() -> None:
    status = StreamStatus(
        detectable=detectable_changes(375, 4000), rate=10 / 86_400, budget=AlarmBudget(MONTH, 300, 10 / 86_400, False)
    )
    assert budget.facts_of(status) == [
        "10.0 predictions a day",
        "about one false alarm in 30 days, by all streams of the model and their labels together",
        "a class from 10% to 15% of traffic: in about 112 days at today's rate",
        "a class from 10% to 20% of traffic: in about 33 days at today's rate",
    ]


def test_a_small_baseline_is_reported_to_hide_small_changes() -> None:
    status = StreamStatus(detectable=detectable_changes(1e5, 1000), rate=1.0, budget=AlarmBudget(1e5, 1e5, 1.0, False))
    assert "a class from 10% to 15% of traffic: never, the baseline has too few rows at today's rate" not in (
        budget.facts_of(status)
    )
    assert "a class from 10% to 15% of traffic: never, the baseline has too few rows" in budget.facts_of(status)


def test_before_the_first_step_nothing_is_claimed() -> None:
    assert budget.facts({}) == ["false-alarm budget not known yet"]
