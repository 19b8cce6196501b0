"""The processor time of window tests that no alert needs is bounded by a share of one core."""

import pytest

from tidemark.monitor.processor_allowance import MAX_ALLOWANCE, RESERVE, SHARE_OF_CORE, ProcessorAllowance


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_work_that_always_waits_takes_the_share_of_a_core_in_the_long_run() -> None:
    clock = Clock()
    allowance = ProcessorAllowance(clock)
    spent = 0.0
    for second in range(3600):
        clock.now = float(second)
        if allowance.permits():
            allowance.spend(0.7)
            spent += 0.7

    assert spent == pytest.approx(SHARE_OF_CORE * 3600 + MAX_ALLOWANCE, rel=0.02)


def test_unused_shares_add_up_to_the_maximum_only() -> None:
    clock = Clock()
    allowance = ProcessorAllowance(clock)
    clock.now = 1e6

    allowance.spend(MAX_ALLOWANCE)

    assert not allowance.permits()


def test_routine_work_leaves_a_reserve_to_incidents() -> None:
    allowance = ProcessorAllowance(Clock())
    while allowance.permits(reserve=RESERVE):
        allowance.spend(0.5)

    assert allowance.permits()
    allowance.spend(RESERVE)
    assert not allowance.permits()
