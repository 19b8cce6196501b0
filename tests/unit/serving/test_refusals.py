import pytest

from tidemark.serving.counters import ModelMetrics, ServerMetrics
from tidemark.serving.refusals import SAMPLES, RecentRefusals, RefusedShare


@pytest.fixture
def server() -> ServerMetrics:
    return ServerMetrics(["camera"], 2)


@pytest.fixture
def model(server: ServerMetrics) -> ModelMetrics:
    return ModelMetrics(server, "pets", "3", ["ant", "bee"])


def test_a_camera_whose_images_are_refused_is_listed(server: ServerMetrics, model: ModelMetrics) -> None:
    refusals = RecentRefusals(server)
    for _ in range(100):
        model.images_accepted({"camera": "0"}, 1)
    for _ in range(2):
        model.images_accepted({"camera": "1"}, 1)
    for _ in range(8):
        model.images_refused("not_an_image", {"camera": "1"}, 1)
    model.images_refused("too_large", {"camera": "1"}, 2)
    assert refusals.shares() == [RefusedShare("pets:3/camera=1", 10, 12, "not an image")]


def test_a_few_refused_images_are_not_listed(server: ServerMetrics, model: ModelMetrics) -> None:
    refusals = RecentRefusals(server)
    model.images_refused("not_an_image", {"camera": "1"}, 4)
    assert refusals.shares() == []


def test_after_an_hour_refusals_are_no_longer_listed(server: ServerMetrics, model: ModelMetrics) -> None:
    refusals = RecentRefusals(server)
    model.images_refused("not_an_image", {}, 10)
    for _ in range(SAMPLES):
        refusals.sample()
    assert [share.refused for share in refusals.shares()] == [10]
    refusals.sample()
    assert refusals.shares() == []


def test_the_values_of_a_tag_are_bounded(server: ServerMetrics) -> None:
    labels = [server.slices.names({"camera": value, "site": "x"}) for value in "abca"]
    assert labels == [["camera=a"], ["camera=b"], ["camera=other"], ["camera=a"]]
