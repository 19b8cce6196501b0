"""A backtest of a log in parts is approximate, and says so wherever it is read."""

import datetime as dt
from pathlib import Path
from uuid import UUID

import pytest

from tidemark.commands.backtest import presentation
from tidemark.commands.backtest.comparison import Comparison, Outcome, to_json
from tidemark.monitor.replayed_incident import ReplayedAlarm, ReplayedIncident

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def comparison(parts: int) -> Comparison:
    outcome = Outcome("today's settings", (), (), 0)
    return Comparison("m:1", (SINCE, SINCE + dt.timedelta(days=1)), (), (outcome,), parts)


def test_the_table_lists_the_first_incidents_and_counts_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    incidents = tuple(
        ReplayedIncident(
            UUID(int=number), "", "label", "sure", "ticket", f"summary {number}", SINCE,
            (ReplayedAlarm(SINCE, 50, "label"),),
        )
        for number in range(30)
    )  # fmt: skip
    outcome = Outcome("today's settings", incidents, (), 30)
    presentation.show(Comparison("m:1", (SINCE, SINCE + dt.timedelta(days=1)), (), (outcome,), 1))
    printed = capsys.readouterr().out
    assert "30 of 30 incidents" in printed
    assert [number for number in range(30) if f"summary {number}\n" in printed] == list(range(20))


@pytest.mark.parametrize("parts", [1, 3])
def test_table_json_and_picture_tell_that_a_backtest_in_parts_is_approximate(
    parts: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = comparison(parts)
    presentation.show(result)
    presentation.draw(result, tmp_path / "picture.svg")
    texts = [capsys.readouterr().out, str(to_json(result)["approximate"]), (tmp_path / "picture.svg").read_text()]
    assert to_json(result)["parts"] == parts
    for text in texts:
        assert (f"replayed in {parts} parts" in text.replace("\n", " ")) == (parts > 1)
