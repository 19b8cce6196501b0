"""Durations as people write them: `90s`, `2h`, `30d`."""

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
