"""What a remedy was made for is what its model is compared with: class proportions, or the traffic of a bundle."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import NAMES, WORLD, Installation
from tidemark.alerts import acceptance
from tidemark.alerts.adopted_baseline import withdraw_corrected_priors
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.inference.bundle import BASELINE_FILE, BrokenBundle
from tidemark.remedy import span
from tidemark.remedy.baseline_adoption import adopt_baselines
from tidemark.remedy.bundle_baseline import read_baseline, write_baseline
from tidemark.remedy.label_shift.accepted_priors import traffic_of_mix
from tidemark.remedy.label_shift.priors_file import CalibrationValues, ClassShare, Priors
from tidemark.store import baselines, streams
from tidemark.store.engine import conninfo

SKEWED = [0.5, 0.2, 0.1, 0.1, 0.1]


class Skewed(Installation):
    """A stream whose mix of classes has changed, with an alert that fires."""

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url, expected_run_time=200_000)
        self.watching = self.monitor()
        self.send(300, self.watching)
        self.send_until_alert(1000, prior=SKEWED)

    def send_until_alert(self, limit: int, **change: Any) -> int | None:
        for sent in range(0, limit, 50):
            self.send(50, self.watching, **change)
            if self.firing():
                return sent + 50
        return None

    def firing(self) -> list[Any]:
        return [alert for alert in self.alerts() if alert.state == "firing"]

    def serve(self, priors: Priors) -> None:
        """Start serving with corrected priors, as far as the database goes."""
        raiser = Alerts(open_queue(conninfo(self.url)), (), "http://x")
        with self.engine.begin() as connection:
            adopt_baselines(connection, raiser, [], {"m:1": priors}, dt.datetime.now(dt.UTC))
        self.watching.settle()

    def baselines(self) -> int:
        with self.engine.connect() as connection:
            return 0 if baselines.current(connection, self.stream_id) is None else 1


def priors_of(mix: list[float], predictions: int | None = 2000) -> Priors:
    shares = [
        ClassShare(label=name, reference=0.2, estimated=share, low=share, high=share, weight=share / 0.2)
        for name, share in zip(NAMES, mix, strict=True)
    ]
    calibration = CalibrationValues(slope=1.0, bias=(0.0,) * len(NAMES))
    return Priors(model="m:1", sha256="a" * 64, classes=tuple(shares), calibration=calibration, predictions=predictions)


@pytest.fixture
def skewed(engine: Engine, url: str) -> Skewed:
    return Skewed(engine, url)


def test_corrected_priors_end_the_alert_and_their_mix_is_normal_from_then_on(skewed: Skewed) -> None:
    [alert] = skewed.firing()
    assert alert.kind == "label"
    skewed.serve(priors_of(SKEWED))
    [ended] = skewed.alerts()
    assert (ended.state, ended.resolution) == ("resolved", "accepted")
    skewed.send(2000, skewed.watching, prior=SKEWED)
    assert skewed.firing() == []
    assert skewed.send_until_alert(600, prior=SKEWED, move=0.6) is not None


def test_the_mix_before_is_a_drift_once_priors_are_corrected(skewed: Skewed) -> None:
    skewed.serve(priors_of(SKEWED))
    assert skewed.send_until_alert(1000) is not None


def test_serving_again_with_the_same_priors_changes_nothing_also_after_an_undo(skewed: Skewed) -> None:
    skewed.serve(priors_of(SKEWED))
    with skewed.engine.begin() as connection:
        row = streams.get(connection, skewed.stream_id)
        acceptance.undo(connection, row, "a test", dt.datetime.now(dt.UTC))
    skewed.serve(priors_of(SKEWED))
    assert skewed.baselines() == 0
    skewed.serve(priors_of([0.4, 0.3, 0.1, 0.1, 0.1]))
    assert skewed.baselines() == 1


def test_a_server_that_no_longer_corrects_for_a_mix_watches_against_the_reference_until_one_does(
    skewed: Skewed,
) -> None:
    skewed.serve(priors_of(SKEWED))
    now = dt.datetime.now(dt.UTC)
    with skewed.engine.begin() as connection:
        row = streams.get(connection, skewed.stream_id)
        undone = withdraw_corrected_priors(connection, row, now)
        assert undone is not None
        assert withdraw_corrected_priors(connection, row, now) is None
    skewed.watching.settle()
    assert skewed.baselines() == 0
    assert skewed.send_until_alert(1000, prior=SKEWED) is not None
    skewed.serve(priors_of(SKEWED))
    assert skewed.baselines() == 1
    assert skewed.firing() == []


def test_priors_do_not_take_accepted_images_back(skewed: Skewed) -> None:
    now = dt.datetime.now(dt.UTC)
    raiser = Alerts(open_queue(conninfo(skewed.url)), (), "http://x")
    skewed.send(600, skewed.watching, prior=SKEWED)
    with skewed.engine.begin() as connection:
        row = streams.get(connection, skewed.stream_id)
        start = now - dt.timedelta(hours=1)
        end = dt.datetime.now(dt.UTC)
        acceptance.accept(connection, raiser, row, "all", (start, end), by="a test", note="", at=end)
    skewed.serve(priors_of(SKEWED))
    with skewed.engine.connect() as connection:
        current = baselines.current(connection, skewed.stream_id)
    assert current is not None
    assert current.accepted_by == "a test"


@pytest.mark.parametrize(("predictions", "rows"), [(None, 2000), (100, 500), (1234, 1234), (10**6, 20_000)])
def test_the_mix_is_as_uncertain_as_what_it_was_estimated_from(predictions: int | None, rows: int) -> None:
    reference = WORLD.reference(1500, np.random.default_rng(0))
    arrays = traffic_of_mix(reference, priors_of(SKEWED, predictions))
    assert {len(values) for values in arrays.values()} == {rows}
    shares = np.bincount(arrays["probabilities"].argmax(axis=1), minlength=5) / rows
    assert shares[0] == pytest.approx(0.5, abs=0.1)


def test_a_bundle_brings_the_traffic_that_it_was_made_for(skewed: Skewed, tmp_path: Path) -> None:
    skewed.send(600, skewed.watching, prior=SKEWED)
    since, until = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1), dt.datetime.now(dt.UTC)
    with skewed.engine.connect() as connection:
        loaded = span.load(connection, "m:1", since, until)
    write_baseline(tmp_path, loaded, loaded.sample.probabilities, "mix")
    baseline = read_baseline(tmp_path)
    assert baseline is not None
    assert (baseline.what, baseline.stream, baseline.span) == ("mix", "m:1", (since, until))
    assert len(baseline.arrays["ids"]) == len(loaded)
    np.testing.assert_array_equal(baseline.arrays["properties"], loaded.sample.properties)


def test_a_bundle_without_such_a_file_brings_none(tmp_path: Path) -> None:
    assert read_baseline(tmp_path) is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / BASELINE_FILE).write_bytes(b"no archive")
    with pytest.raises(BrokenBundle, match=BASELINE_FILE):
        read_baseline(tmp_path)
