"""Work of low importance takes a share of a core while others want the processor, and all of it otherwise."""

import pytest

from tidemark.monitor.rest_periods import SHARE_OF_CORE, RestPeriods


class Machine:
    """A machine whose clocks a test moves."""

    def __init__(self) -> None:
        self.now = self.processor = 0.0

    def work(self, processor: float, slowdown: float) -> None:
        self.now += slowdown * processor
        self.processor += processor

    def rests(self) -> RestPeriods:
        return RestPeriods(lambda: self.now, lambda: self.processor)


@pytest.mark.parametrize("slowdown", [1.6, 2.0, 5.0, 50.0])
def test_work_that_has_to_wait_for_the_processor_takes_its_share_at_the_most(slowdown: float) -> None:
    machine = Machine()
    rests = machine.rests()
    for _ in range(100):
        rests.begin()
        machine.work(0.3, slowdown)
        machine.now += rests.due()

    assert machine.processor / machine.now == pytest.approx(min(SHARE_OF_CORE, 1 / slowdown))


def test_work_that_nobody_else_wants_the_processor_of_has_no_rest() -> None:
    machine = Machine()
    rests = machine.rests()
    machine.work(5.0, slowdown=1.1)

    assert rests.due() == 0.0


def test_a_rest_is_no_part_of_the_work() -> None:
    machine = Machine()
    rests = machine.rests()
    machine.work(1.0, slowdown=3.0)
    machine.now += rests.due()
    rests.begin()
    machine.work(1.0, slowdown=1.0)

    assert rests.due() == 0.0
