"""`python -m benchmarks year`: a year as a table and a picture: what was planted, what was raised, what was false."""

import datetime as dt
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.world import World
from benchmarks.year.script import START, Planted, Script, year
from benchmarks.year.simulation import Course, simulate
from tidemark.monitor.replayed_incident import ReplayedAlarm, ReplayedIncident
from tidemark.pages.timeline import Bar, Lane, Mark, timeline
from tidemark.settings import Settings

PICTURE = Path(".github/year.svg")
MAX_FALSE = 12  # false alarms of a year at one in 30 days
MONTH = dt.timedelta(days=30)  # time between two false alarms that is asked for
SLACK = dt.timedelta(hours=12)  # time after a change's end in which an alarm is still about it


@dataclass(frozen=True)
class Answer:
    """The monitor's answer to a planted change.

    Parameters
    ----------
    change : Planted
    incident : ReplayedIncident, optional
        The one that reported it first.
    at : datetime, optional
        When.
    predictions : int, optional
        The predictions from the change to the alarm.
    named : bool
        Whether its kind was right at some time.
    """

    change: Planted
    incident: ReplayedIncident | None
    at: dt.datetime | None
    predictions: int | None
    named: bool

    @property
    def delay(self) -> dt.timedelta | None:
        """The time from the change to the alarm."""
        return None if self.at is None else self.at - self.change.start


@dataclass(frozen=True)
class FalseAlarm:
    """An alarm that no planted change explains: an incident opened or opened again, or met a further shift."""

    incident: ReplayedIncident
    alarm: ReplayedAlarm


@dataclass(frozen=True)
class Result:
    """A course judged by its script.

    Parameters
    ----------
    answers : tuple of Answer
    false : tuple of FalseAlarm
    after_acceptance : tuple of FalseAlarm
        Those of the version whose traffic was accepted, against the accepted baseline.
    accepted_for : timedelta
        For how long traffic was compared with it.
    """

    answers: tuple[Answer, ...]
    false: tuple[FalseAlarm, ...]
    after_acceptance: tuple[FalseAlarm, ...]
    accepted_for: dt.timedelta

    def of(self, role: str) -> list[Answer]:
        """Return the answers to the changes of a role."""
        return [answer for answer in self.answers if answer.change.role == role]


def judge(script: Script, course: Course) -> Result:
    """Assign alarms to planted changes; return also those that belong to none.

    An accepted change ends, for the monitor, with its acceptance: what is raised afterwards without another change is
    a false alarm, and listed as one against the accepted baseline, too.
    """
    ends = {
        change.name: min([at for at in course.accepted_at if at >= change.start] or [change.end])
        if change.role == "accepted"
        else change.end + SLACK
        for change in script.planted
    }
    raised = [
        (alarm.at, number, alarm) for number, incident in enumerate(course.incidents) for alarm in incident.alarms
    ]
    answers = []
    for change in script.planted:
        alarms = [(at, number, alarm) for at, number, alarm in raised if change.start <= at <= ends[change.name]]
        if not alarms:
            answers.append(Answer(change, None, None, None, False))
            continue
        at, number, first = min(alarms, key=lambda entry: entry[:2])
        kinds = {alarm.kind for _, _, alarm in alarms} | {course.incidents[number].kind for _, number, _ in alarms}
        named = not change.kind or change.kind in kinds
        count = first.position - course.predictions_at[change.start]
        answers.append(Answer(change, course.incidents[number], at, count, named))
    false = [
        FalseAlarm(course.incidents[number], alarm)
        for at, number, alarm in raised
        if not any(change.start <= at <= ends[change.name] for change in script.planted)
    ]
    version_end = script.end if script.version_ends is None else START + dt.timedelta(days=script.version_ends)
    accepted_at = min(course.accepted_at, default=version_end)
    after = [item for item in false if accepted_at < item.alarm.at <= version_end]
    return Result(tuple(answers), tuple(false), tuple(after), max(version_end - accepted_at, dt.timedelta()))


def draw(script: Script, course: Course, result: Result) -> str:
    """Return the picture of a year."""
    planted = [Bar(item.start, item.end, item.kind, item.name) for item in script.planted if item.role == "drift"]
    rain = [Bar(item.start, item.end, "covariate", item.name) for item in script.planted if item.role == "rain"]
    raised = [
        Bar(incident.fired_at, incident.resolved_at or script.end, incident.kind, incident.summary)
        for incident in course.incidents
    ]
    drifts, rains = result.of("drift"), result.of("rain")
    detected = sum(answer.at is not None for answer in drifts)
    lanes = [
        Lane("planted drifts", f"{detected} of {len(drifts)} found, {sum(a.named for a in drifts)} named", planted),
        Lane("rain that comes back", f"{sum(answer.at is not None for answer in rains)} of {len(rains)} found", rain),
        Lane("incidents", f"{len(raised)}, {len(result.false)} false alarms", raised, course.evidence.tolist()),
    ]
    marks = [Mark(at, "accepted") for at in course.accepted_at]
    if script.version_ends is not None:
        marks.append(Mark(START + dt.timedelta(days=script.version_ends), "version 2"))
    return timeline("A simulated year", (START, script.end), lanes, marks)


def show(script: Script, course: Course, result: Result, seconds: float) -> None:
    """Print a year as a table."""
    print("| planted | kind | day | detected after | predictions | reported as |")
    print("|---|---|---|---|---|---|")
    for answer in result.answers:
        change, incident = answer.change, answer.incident
        delay = "not found" if answer.delay is None else _days(answer.delay)
        kind = "" if incident is None else f"{incident.kind}{'' if answer.named else ' (wrong)'}"
        count = "" if answer.predictions is None else f"{answer.predictions:,}"
        print(f"| {change.name} ({change.role}) | {change.kind} | {change.begins:g} | {delay} | {count} | {kind} |")
    processed = sum(cost.predictions for cost in course.costs)
    print(f"\n{processed:,} predictions, one false alarm expected in {course.expected_run_time:,.0f}; ", end="")
    print(
        f"false alarms: {len(result.false)} (at most {MAX_FALSE}), {len(result.after_acceptance)} in "
        f"{result.accepted_for.days} days against the accepted baseline ({result.accepted_for / MONTH:.1f} permitted)"
    )
    print(*map(_line, result.false), sep="\n")
    print(f"{sum(cost.windows for cost in course.costs)} windows; {seconds:.0f} s of a core")


def run(_: World) -> None:
    """Print a year, and draw it."""
    script, started = year(), time.process_time()
    course = simulate(script, Settings())
    result = judge(script, course)
    show(script, course, result, time.process_time() - started)
    PICTURE.write_text(draw(script, course, result), encoding="utf-8")


def _line(item: FalseAlarm) -> str:
    day = (item.alarm.at - START) / dt.timedelta(days=1)
    return f"- day {day:.1f}: {item.alarm.kind}, {item.incident.summary}"


def _days(delay: dt.timedelta) -> str:
    hours = delay / dt.timedelta(hours=1)
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
