"""Every state in which a model is not watched has its reason."""

from typing import Any

import pytest

from tidemark.store.watch_status import REASONS, watching

WATCHED: dict[str, Any] = {
    "has_reference": True,
    "is_new": False,
    "position": 100,
    "written": 100,
    "blind_reason": None,
    "leased": True,
    "idle_seconds": 1.0,
    "waiting_seconds": None,
}


@pytest.mark.parametrize(
    ("change", "state", "reason", "is_blind"),
    [
        ({}, "watching", None, False),
        ({"is_new": True}, "warming_up", None, False),
        ({"written": 150, "waiting_seconds": 3.0}, "watching", None, False),
        ({"leased": False}, "watching", None, False),
        ({"written": 150, "waiting_seconds": 30.0, "leased": False}, "blind", "no_monitor", True),
        ({"written": 150, "waiting_seconds": 90.0, "idle_seconds": 70.0}, "blind", "monitor_stalled", True),
        ({"written": 150, "waiting_seconds": 90.0, "idle_seconds": None}, "behind", "behind", True),
        ({"written": 150, "waiting_seconds": 900.0, "idle_seconds": None}, "blind", "monitor_stalled", True),
        ({"written": 150, "waiting_seconds": 90.0}, "behind", "behind", True),
        ({"blind_reason": "rows_rejected"}, "blind", "rows_rejected", True),
        ({"has_reference": False}, "no_reference", "no_reference", True),
        ({"has_reference": False, "position": 0, "written": 0}, "no_reference", "no_reference", False),
    ],
)
def test_a_model_that_is_not_watched_says_why(
    change: dict[str, Any], state: str, reason: str | None, is_blind: bool
) -> None:
    watch = watching(**WATCHED | change)
    assert (watch.state, watch.reason, watch.is_blind) == (state, reason, is_blind)
    assert reason is None or reason in REASONS
    assert watch.lag == watch.written - watch.position
