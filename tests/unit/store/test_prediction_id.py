import pytest

from tidemark.store.prediction_id import LATEST, id_at, time_span


@pytest.mark.parametrize("times", [[7], [1_700_000_000_123], [3, 1, 2], [255, 256, 65_536, 2**40]])
def test_the_span_of_ids_is_that_of_their_times(times: list[int]) -> None:
    ids = b"".join(id_at(time, bytes([n] * 10)).bytes for n, time in enumerate(times))
    assert time_span(ids) == (min(times), max(times))


def test_the_span_of_ids_ends_where_pythons_times_do() -> None:
    assert time_span(bytes(16) + b"\xff" * 16) == (0, LATEST)
