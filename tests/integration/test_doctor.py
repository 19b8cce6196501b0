"""Each fault of an installation is named by the doctor with what to do; a healthy one passes."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, make_url, text
from typer.testing import CliRunner

from tests.support.receiver import Receiver
from tidemark.cli import app
from tidemark.commands import doctor
from tidemark.spool import inspection
from tidemark.spool.spool import Spool
from tidemark.store import models, references, self_tests
from tidemark.store.logged import logged

CHECKS = {
    "database", "clock", "schema", "log", "reference", "monitor", "watching", "self-test", "deliveries", "spool",
    "receiver",
}  # fmt: skip


class Patient:
    """An installation with a model, a reference, a monitor that has just sent a heartbeat, and a receiver."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        with engine.begin() as connection:
            self.model_id = models.register(connection, "m", "1", "a" * 64, ["x", "y"])
            arrays = {"embeddings": np.zeros((2, 2)), "probabilities": np.full((2, 2), 0.5)}
            self.reference_id = references.save(connection, self.model_id, arrays)
        self.execute("INSERT INTO monitors (id, name) VALUES (gen_random_uuid(), 'here')")

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    @property
    def faults(self) -> dict[str, str]:
        """What the doctor finds wrong, by the name of the check."""
        return {check.name: f"{check.detail}: {check.advice}" for check in doctor.doctor() if not check.ok}


@pytest.fixture
def hook() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def patient(engine: Engine, url: str, tmp_path: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    monkeypatch.setenv("TIDEMARK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TIDEMARK_WEBHOOK_URLS", hook.url)
    return Patient(engine, tmp_path / "data")


@pytest.fixture
def spool(patient: Patient) -> Iterator[Spool]:
    """A spool in which three predictions wait."""
    spool_of_patient = Spool.create(patient.folder / "spool")
    values = np.full((3, 2), 0.5, np.float32)
    spool_of_patient.append(logged("m:1", bytes(48), values, values, None))
    yield spool_of_patient
    spool_of_patient.close()


def test_a_healthy_installation_passes_every_check(patient: Patient, hook: Receiver) -> None:
    checks = doctor.doctor()
    assert {check.name for check in checks} == CHECKS
    assert all(check.ok for check in checks)
    assert hook.requests == []


def test_the_command_prints_one_line_a_check_and_its_exit_code_tells(patient: Patient) -> None:
    healthy = CliRunner().invoke(app, ["doctor"])
    assert (healthy.exit_code, len(healthy.stdout.splitlines())) == (0, len(CHECKS))
    patient.execute("DELETE FROM monitors")
    ill = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(ill.stdout)
    assert (ill.exit_code, report["healthy"]) == (1, False)
    [fault] = [check for check in report["checks"] if not check["ok"]]
    assert (fault["name"], fault["detail"]) == ("monitor", "not running")
    assert "tidemark monitor" in fault["advice"]


def test_a_monitor_without_a_heartbeat_for_half_a_minute_does_not_run(patient: Patient) -> None:
    patient.execute("UPDATE monitors SET heartbeat_at = now() - interval '31 seconds'")
    assert "31 s ago" in patient.faults["monitor"]


def test_a_stream_without_a_reference_is_named(patient: Patient) -> None:
    with patient.engine.begin() as connection:
        models.register(connection, "m", "2", "b" * 64, ["x", "y"])
    assert "m:2" in patient.faults["reference"]


def test_a_model_that_is_not_watched_is_named_with_the_reason(patient: Patient) -> None:
    columns = "model_id, first_position, last_position, first_number, writer_id, at_from, at_to"
    waiting = f"{patient.model_id}, 1, 10, 1, 1, now() - interval '30 seconds', now()"
    patient.execute(f"INSERT INTO segments ({columns}) VALUES ({waiting})")
    assert "m:1 (no_monitor)" in patient.faults["watching"]
    patient.execute("UPDATE streams SET position = 10")
    assert patient.faults == {}


def test_a_failed_self_test_is_a_fault_until_one_succeeds(patient: Patient) -> None:
    def outcome(days_ago: int, delay: int | None, reason: str | None) -> None:
        with patient.engine.begin() as connection:
            at = connection.execute(text(f"SELECT now() - interval '{days_ago} days'")).scalar_one()
            self_tests.save(connection, patient.reference_id, at, delay, reason)

    outcome(1, None, "a planted shift was not found")
    assert "not found" in patient.faults["self-test"]
    outcome(0, 30, None)
    assert patient.faults == {}
    outcome(3, 30, None)
    assert "3 days ago" in patient.faults["self-test"]


def test_a_gap_in_the_order_of_the_log_is_named(patient: Patient) -> None:
    columns = "model_id, first_position, last_position, first_number, writer_id, at_from, at_to"
    for first, last in ((1, 10), (11, 20)):
        values = f"{patient.model_id}, {first}, {last}, {first}, 1, now(), now()"
        patient.execute(f"INSERT INTO segments ({columns}) VALUES ({values})")
    assert patient.faults == {}
    patient.execute("UPDATE segments SET first_position = 12 WHERE first_position = 11")
    assert "m:1" in patient.faults["log"]
    patient.execute("UPDATE segments SET first_position = 11 WHERE first_position = 12")
    patient.execute("UPDATE streams SET position = 21")
    assert "after the end of the log of m:1" in patient.faults["log"]


def test_predictions_of_an_earlier_version_without_a_position_are_counted(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "MAX_UNPLACED_AGE", -1.0)
    day = "CREATE TABLE today PARTITION OF predictions FOR VALUES FROM (current_date) TO (current_date + 1)"
    patient.execute(day)
    patient.execute(
        f"""
        INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding, writer_id)
        VALUES (gen_random_uuid(), now(), {patient.model_id}, 0, 1, '', '', NULL)
        """
    )
    assert "1 predictions" in patient.faults["log"]


def test_a_database_that_takes_no_writes_is_named(patient: Patient, url: str) -> None:
    name = make_url(url).database
    patient.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "takes no writes" in patient.faults["database"]


def test_an_old_schema_is_named_with_the_command(
    patient: Patient, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.execute("UPDATE alembic_version SET version_num = '0001'")
    assert "tidemark migrate" in patient.faults["schema"]


def test_an_unreachable_database_leaves_the_other_checks(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", "postgresql://user:sesame@127.0.0.1:1/x")
    checks = {check.name: check for check in doctor.doctor()}
    assert set(checks) == {"database", "spool", "receiver"}
    assert not checks["database"].ok
    assert "sesame" not in str(checks["database"])


def test_events_that_were_given_up_are_a_fault_while_it_matters(patient: Patient) -> None:
    patient.execute(
        """
        INSERT INTO alerts (id, stream_id, kind, state, since, fired_at, position, p_value, summary, report)
        SELECT gen_random_uuid(), id, 'label', 'resolved', now(), now(), 1, 0.1, '', '{}' FROM streams;
        INSERT INTO deliveries (id, alert_id, event, url, format, body, outcome, give_up_at)
        SELECT gen_random_uuid(), id, 'drift.firing', 'http://x', 'standard', '', 'failed', now() FROM alerts
        """
    )
    assert "1 events were given up" in patient.faults["deliveries"]
    patient.execute("UPDATE deliveries SET give_up_at = now() - interval '2 days'")
    assert patient.faults == {}


def test_alerts_that_alertmanager_cannot_be_told_of_are_a_fault_while_they_fire(patient: Patient) -> None:
    patient.execute(
        """
        INSERT INTO alerts (id, stream_id, kind, state, since, fired_at, position, p_value, summary, report)
        SELECT gen_random_uuid(), id, 'label', 'firing', now(), now(), 1, 0.1, '', '{}' FROM streams;
        INSERT INTO deliveries (id, alert_id, event, url, format, body, outcome, give_up_at, last_error)
        SELECT gen_random_uuid(), id, 'drift.firing', 'http://x', 'alertmanager', '', 'delivered', now(), 'refused'
        FROM alerts
        """
    )
    assert "1 alerts that Alertmanager could not be told of" in patient.faults["deliveries"]
    patient.execute("UPDATE alerts SET state = 'resolved'")
    assert patient.faults == {}


def test_clocks_that_differ_are_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MAX_CLOCK_DIFFERENCE", -1.0)
    assert "NTP" in patient.faults["clock"]


def test_predictions_that_nobody_forwards_are_counted(
    patient: Patient, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "PROGRESS_SECONDS", 0.3)
    assert "3 predictions wait" in patient.faults["spool"]
    spool.discard(spool.peek(10).last)
    assert patient.faults == {}


def test_predictions_that_are_being_forwarded_are_no_fault(
    patient: Patient, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.polling.time.sleep", lambda _: spool.discard(spool.peek(10).last))
    assert inspection.inspect(patient.folder / "spool").problem is None


def test_a_damaged_spool_file_is_named(patient: Patient) -> None:
    folder = patient.folder / "spool"
    folder.mkdir(parents=True)
    (folder / "0192.damaged").write_bytes(b"x")
    assert "0192.damaged" in patient.faults["spool"]
    (folder / "0192.damaged").unlink()
    (folder / "0192.rejected").write_bytes(b"x")
    assert "0192.rejected" in patient.faults["spool"]
    (folder / "0192.rejected").unlink()
    (folder / "0193.sqlite").write_bytes(b"this is no database, but it is long enough to be read as one" * 20)
    assert "cannot be read" in patient.faults["spool"]


def test_a_receiver_that_cannot_be_reached_is_named_without_its_token(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_WEBHOOK_URLS", "http://127.0.0.1:1/services/T0K3N")
    fault = patient.faults["receiver"]
    assert "http://127.0.0.1:1/…" in fault
    assert "T0K3N" not in fault


def test_without_receivers_the_doctor_says_so(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_WEBHOOK_URLS", "")
    [check] = [check for check in doctor.doctor() if check.name == "receivers"]
    assert check.ok
    assert "none configured" in check.detail
