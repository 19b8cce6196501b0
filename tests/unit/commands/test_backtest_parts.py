"""A backtest of a log in parts is approximate, and says so wherever it is read."""

import datetime as dt
from pathlib import Path

import pytest

from tidemark.commands.backtest import presentation
from tidemark.commands.backtest.comparison import Comparison, Outcome, to_json

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def comparison(parts: int) -> Comparison:
    outcome = Outcome("today's settings", (), (), 0)
    return Comparison("m:1", (SINCE, SINCE + dt.timedelta(days=1)), (), (outcome,), parts)


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
