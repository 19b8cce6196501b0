"""Durations and rates as people write them: `90s`, `2h`, `30d`; "2 days", "3.5 predictions a minute"."""

import datetime as dt
import re

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PATTERN = re.compile(rf"(\d+(?:\.\d+)?)\s*([{''.join(UNITS)}])")
MAX_DURATION = dt.timedelta(days=36_500)


def parse_duration(text: str) -> dt.timedelta:
    """Return the duration that a number with a unit (s, m, h, d or w) means.

    Raises
    ------
    ValueError
        The text is not such a duration, or one of more than a hundred years.

    Examples
    --------
    >>> parse_duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    match = PATTERN.fullmatch(text.strip().lower())
    if match is None or len(match[1]) > 12:
        raise ValueError(f"expected a number with a unit of s, m, h, d or w, such as 2h; got {text[:40]!r}")
    days = float(match[1]) * dt.timedelta(**{UNITS[match[2]]: 1}).total_seconds() / 86_400
    if days > MAX_DURATION.days:
        raise ValueError(f"expected at most {MAX_DURATION.days} days, got {text[:40]!r}")
    return dt.timedelta(days=days)


def duration(seconds: float) -> str:
    """Write a span of time in its largest fitting unit."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count:,} {unit}{'s' if count != 1 else ''}"
    return "1 second"


def prediction_rate(per_second: float) -> str:
    """Write a stream's rate in the unit that keeps it above one."""
    for seconds, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:,.1f} predictions a {unit}"
    return f"{per_second * 86400:,.1f} predictions a day"
