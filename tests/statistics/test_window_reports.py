"""What the report of a window test explains and says."""

import json

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import Reference, WindowTest

WORLD = World()


def missing() -> list[float]:
    return [0, 0.25, 0.25, 0.25, 0.25]


def test_same_seed_same_report(reference: Reference, window_test: WindowTest) -> None:
    arrays = WORLD.traffic(200, np.random.default_rng(11))
    other = WindowTest(reference, window_size=200, seed=0)
    assert window_test(**arrays).to_dict() == other(**arrays).to_dict()


def test_report_is_json(window_test: WindowTest) -> None:
    document = json.loads(json.dumps(window_test(**WORLD.traffic(200, np.random.default_rng(12))).to_dict()))
    assert set(document["tests"]) == {"mmd", "mean", "ks", "proportions", "properties"}
    assert set(document["tests"]["mmd"]) == {"statistic", "p_value", "effect", "effect_low", "effect_high"}
    document = json.loads(json.dumps(window_test(**WORLD.traffic(200, np.random.default_rng(12), move=1.0)).to_dict()))
    assert "residual" in document["tests"]


def test_too_small_a_window_is_reported_as_warming_up(window_test: WindowTest) -> None:
    report = window_test(**WORLD.traffic(19, np.random.default_rng(14), move=5))
    assert (report.state, report.p_value, report.drifted, report.kind) == ("warming_up", 1.0, False, "none")
    assert "Warming up" not in report.alert_summary


def test_the_summary_of_an_alert_never_denies_drift(window_test: WindowTest) -> None:
    report = window_test(**WORLD.traffic(200, np.random.default_rng(12)))
    assert "No drift" in report.summary
    assert "No drift" not in report.alert_summary


def test_evidence_tells_apart_windows_whose_p_value_is_the_smallest(window_test: WindowTest) -> None:
    rng = np.random.default_rng(12)
    mild, strong = window_test(**WORLD.traffic(200, rng, move=0.4)), window_test(**WORLD.traffic(200, rng, move=2.0))
    assert mild.p_value == strong.p_value == mild.p_value_floor
    assert strong.evidence > mild.evidence > -np.log(mild.p_value_floor)
    calm = window_test(**WORLD.traffic(200, rng))
    assert calm.evidence == pytest.approx(-np.log(calm.p_value))


def test_explains_by_property_and_class(window_test: WindowTest) -> None:
    report = window_test(**WORLD.traffic(200, np.random.default_rng(9), move=1.0))
    assert report.properties[0].name == "brightness"
    assert report.properties[0].effect > 1
    assert "brighter" in report.summary
    report = window_test(**WORLD.traffic(200, np.random.default_rng(9), prior=missing()))
    assert "0" in [move.name for move in report.classes_moved]


def test_the_effect_on_a_property_is_reported_up_to_ten_deviations(window_test: WindowTest) -> None:
    window = WORLD.traffic(200, np.random.default_rng(24))
    for sign in (1, -1):
        report = window_test(**window | {"properties": window["properties"] + sign * 1e6})
        assert {shift.effect for shift in report.properties} == {sign * 10.0}


def test_witnesses_are_the_planted_rows(window_test: WindowTest) -> None:
    rng = np.random.default_rng(8)
    arrays = WORLD.traffic(200, rng)
    outlying = WORLD.traffic(12, rng, move=3.0)
    for name in arrays:
        arrays[name][40:52] = outlying[name]
    witnesses = {witness.row for witness in window_test(**arrays).witnesses}
    assert len(witnesses & set(range(40, 52))) >= 10


def test_a_new_kind_of_image_is_named(window_test: WindowTest) -> None:
    rng = np.random.default_rng(31)
    arrays = WORLD.traffic(200, rng)
    outlying = WORLD.see(np.full(20, 2), rng, move=4.0)
    for name in arrays:
        arrays[name][40:60] = outlying[name]
    report = window_test(**arrays)
    assert report.drifted
    assert report.new_kind.share == pytest.approx(0.1, abs=0.03)
    assert "new kind" in report.summary
    assert window_test(**WORLD.traffic(200, rng, prior=missing())).new_kind is None


def test_classes_are_named_when_changed_images_move_them(reference: Reference) -> None:
    report = WindowTest(reference, window_size=300)(**WORLD.traffic(300, np.random.default_rng(32), move=2.0))
    assert report.kind in ("covariate", "both")
    assert "→" in report.summary
    assert "predicts" in report.summary or "proportions" in report.summary
