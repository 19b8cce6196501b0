"""Puts the replays of the parts of a divided log together."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...monitor.replay_cost import ReplayCost
from ...monitor.replayed_incident import ReplayedIncident
from .span_replay import Counts, SpanResult

LABEL_KINDS = ("concept", "harm")  # kinds of incidents that labels raise


def merged(parts: Sequence[SpanResult]) -> SpanResult:
    """Return the parts of a divided log, in their order, as one result.

    An incident that is open where a part ends goes on as the one that is open there in the next part; without such
    a one it has recovered there.
    """
    first_part = parts[0]
    for part in parts[1:]:
        first_part = _join(first_part, part)
    return first_part


def _join(before: SpanResult, after: SpanResult) -> SpanResult:
    border = after.begins_at
    shift = {name: before.positions_at_end.get(name, 0) - count for name, count in after.positions_at_begin.items()}
    later_incidents = [incident for incident in after.incidents if incident.fired_at >= border]
    open_there = {
        _incident_key(incident): incident
        for incident in after.incidents
        if incident.fired_at < border and (incident.resolved_at is None or incident.resolved_at > border)
    }
    earlier_incidents = [_continue_incident(incident, open_there, border) for incident in before.incidents]
    moments = {moment: counts for moment, counts in after.positions_at.items() if moment >= border}
    return replace(
        after,
        incidents=(*earlier_incidents, *(_shift_counts(incident, shift) for incident in later_incidents)),
        begins_at=before.begins_at,
        evidence=np.fmax(before.evidence, after.evidence),
        positions_at={**before.positions_at, **{moment: _sum(counts, shift) for moment, counts in moments.items()}},
        positions_at_begin=before.positions_at_begin,
        positions_at_end=_sum(after.positions_at_end, shift),
        cost=ReplayCost(
            before.cost.predictions + after.cost.predictions,
            before.cost.seconds + after.cost.seconds,
            before.cost.windows + after.cost.windows,
            before.cost.rejected + after.cost.rejected,
        ),
    )


def _continue_incident(
    incident: ReplayedIncident, open_there: Mapping[tuple[str, bool], ReplayedIncident], border: dt.datetime
) -> ReplayedIncident:
    """Return an incident of an earlier part with its end in the next one."""
    if incident.resolved_at is not None:
        return incident
    following = open_there.get(_incident_key(incident))
    if following is None:
        return replace(incident, resolved_at=border, resolution="recovered")
    return replace(incident, resolved_at=following.resolved_at, resolution=following.resolution)


def _incident_key(incident: ReplayedIncident) -> tuple[str, bool]:
    """Return the stream of an incident, and whether labels raised it: a stream has one open incident of either sort."""
    return incident.slice, incident.kind in LABEL_KINDS


def _shift_counts(incident: ReplayedIncident, shift: Counts) -> ReplayedIncident:
    offset = shift.get(incident.slice, 0)
    alarms = tuple(replace(alarm, position=alarm.position + offset) for alarm in incident.alarms)
    return replace(incident, alarms=alarms)


def _sum(counts: Counts, shift: Counts) -> dict[str, int]:
    return {name: count + shift.get(name, 0) for name, count in counts.items()}
