"""The settings that a backtest compares: today's, and those with the changes of `--set`."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import ConfigurationError
from ...settings import PREFIX, Settings

Baseline = Literal["history", "now", "reference"]

BASELINES: Mapping[str, Baseline] = {"history": "history", "now": "now", "reference": "reference"}
BASELINE = "baseline"  # the name under which `--set` chooses what streams are compared with
REPLAYED = (
    "expected_run_time",
    "window_size",
    "window_stride",
    "window_min_size",
    "window_max_age",
    "window_interval",
    "slice_tags",
    "max_slices",
    "resolve_after",
    "page_below",
    "accuracy_tolerance",
    "retire_after",
)  # settings that decide what a monitor alarms about
TODAY = "today's settings"
MAX_VARIANTS = 20  # combinations of values of one backtest


@dataclass(frozen=True)
class Variant:
    """Settings under which a log is replayed.

    Parameters
    ----------
    name : str
        How tables and pictures call it.
    values : mapping
        The settings in REPLAYED by their names; plain values, which can be sent to another machine.
    baseline : {"history", "now", "reference"}, default "history"
        What streams are compared with: what they were compared with at the time, what they are compared with now, or
        the reference.
    """

    name: str
    values: Mapping[str, object]
    baseline: Baseline = "history"

    @property
    def settings(self) -> Settings:
        """The settings of a monitor."""
        return Settings.load(**self.values)


def variants(assignments: Sequence[str]) -> list[Variant]:
    """Return today's settings, and each combination of the values that assignments `NAME=VALUE` give to others.

    A name that is given twice has two values to be compared.

    Raises
    ------
    ConfigurationError
        An assignment that cannot be used.
    """
    today = Settings.load()
    choices: dict[str, list[str]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip().lower().removeprefix(PREFIX.lower())
        if not equals or name not in (*REPLAYED, BASELINE):
            raise ConfigurationError(
                f"--set: expected NAME=VALUE with a name of {', '.join((*REPLAYED, BASELINE))}; got {text!r}"
            )
        if name == BASELINE and value not in BASELINES:
            raise ConfigurationError(f"--set baseline: expected one of {', '.join(BASELINES)}, got {value!r}")
        choices.setdefault(name, []).append(value)
    changed = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    variants = [Variant(TODAY, _values(today)), *(_variant(changes) for changes in changed if changes)]
    if len(variants) > MAX_VARIANTS:
        raise ConfigurationError(f"--set: at most {MAX_VARIANTS} combinations, got {len(variants)}")
    return variants


def _variant(changes: Mapping[str, str]) -> Variant:
    overrides = {name: value for name, value in changes.items() if name != BASELINE}
    name = ", ".join(f"{name}={value}" for name, value in changes.items())
    return Variant(name, _values(Settings.load(**overrides)), BASELINES[changes.get(BASELINE, "history")])


def _values(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in REPLAYED}
