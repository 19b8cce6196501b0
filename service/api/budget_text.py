"""The false-alarm budget of a model as a sentence, for the answer of `/drift` and for the pages."""

from ..durations import duration, prediction_rate
from ..store.stream_status import AlarmBudget


def false_alarm_budget(budget: AlarmBudget) -> str:
    """Write how often a model may alarm falsely."""
    if not budget.is_duration:
        time = f" ({duration(budget.seconds)} at the model's rate)" if not budget.is_assumed else ""
        return f"about one false alarm in {budget.predictions:,.0f} predictions{time}"
    assumed = f", assuming {prediction_rate(budget.rate)} until a day of traffic is known" if budget.is_assumed else ""
    return f"about one false alarm in {duration(budget.seconds)}{assumed}"
