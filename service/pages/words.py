"""What the pages say in words: numbers, spans of time, and what to do about each kind of shift."""

import datetime as dt
import math
from typing import Any

TESTS = {
    "mmd": "do embeddings as a whole look like the reference's?",
    "ks": "did any single score or direction move?",
    "whitened": "did the mean move in a direction that rarely varies?",
    "proportions": "are classes predicted as often as before?",
    "properties": "do the images look different (light, sharpness, noise)?",
    "residual": "is something left once class shares are accounted for?",
}
KINDS = {
    "none": "no shift",
    "covariate": "covariate shift: the images look different",
    "label": "label shift: the classes come in other proportions",
    "both": "covariate and label shift: other images and other proportions",
    "concept": "concept shift: the same images now mean other labels",
}
REMEDIES = {
    "covariate": "Check the camera and the preprocessing; if the change is to stay, augment or adapt the model.",
    "label": "Check that the change is real; then correct the model's priors or refit with class weights.",
    "concept": "Relabel recent images and refit: the model's old answers no longer hold.",
    "both": "Check the camera first; then adapt the model to the images and correct its priors.",
}


def p_value(p: float | None) -> str:
    """Write a p-value as people read one."""
    if p is None or not math.isfinite(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}".rstrip("0").rstrip(".")


def strength(p: float | None) -> str:
    """Say how strongly a p-value speaks against chance."""
    if p is None or not math.isfinite(p):
        return "not tested"
    return "very strong" if p < 1e-3 else "strong" if p < 0.01 else "weak" if p < 0.05 else "like chance"


def number(value: float | None, digits: int = 2) -> str:
    """Write a number, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def moment(iso: str) -> str:
    """Write an ISO 8601 time with its offset as UTC, to the second."""
    return dt.datetime.fromisoformat(iso).astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Write a span of time in its largest fitting unit."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count:,} {unit}{'s' if count != 1 else ''}"
    return f"{max(round(seconds), 1)} seconds"


def budget(status: dict[str, Any]) -> str:
    """Say how often a stream may alarm falsely."""
    expected, rate = status.get("expected_run_time"), status.get("rate")
    if not expected:
        return "false-alarm budget not known yet"
    if not rate:
        return f"at most one false alarm in {expected:,} predictions"
    return f"at most one false alarm in {span(expected / rate)} at today's traffic"


def remedy(kind: str, stream: str, since: str) -> tuple[str, str] | None:
    """Return what to do about a kind of shift and the command for it, or None where nothing is to be done."""
    advice = REMEDIES.get(kind)
    return (advice, f"tidemark remedy --stream {stream} --since {since}") if advice else None
