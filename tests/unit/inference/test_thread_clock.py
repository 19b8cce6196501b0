"""The clock that does not count the time in which a thread waits for a core."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemark.inference import thread_clock


def in_new_thread() -> float:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(thread_clock.working_time).result()


@pytest.mark.parametrize(("figures", "seconds"), [("7000 2500000000 3\n", 7.5), ("", 10.0), (None, 10.0)])
def test_the_time_that_a_thread_waited_for_a_core_is_omitted_where_it_is_measured(
    figures: str | None, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "schedstat"
    if figures is not None:
        file.write_text(figures)
    monkeypatch.setattr(thread_clock, "SCHEDULER_FILE", file)
    monkeypatch.setattr(thread_clock, "time", SimpleNamespace(perf_counter=lambda: 10.0))
    assert in_new_thread() == pytest.approx(seconds)
