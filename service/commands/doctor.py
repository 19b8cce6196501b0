"""`tidemark doctor`: checks an installation from the database to the receivers and says what to do about faults."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..alerts.receivers import Reachability, reach_all
from ..alerts.webhook_network import WebhookNetwork
from ..errors import TidemarkError
from ..model_key import ModelKey
from ..settings import Settings
from ..spool import inspection
from ..store import database_health, deliveries, schema, self_tests, streams, watch_status
from ..store import engine as engines
from ..store.errors import reason

MAX_HEARTBEAT_AGE = 30.0  # seconds after which a monitor counts as not running; a live one beats every 10
CHECKED_SEGMENTS = 10_000  # newest segments checked for each model: about an hour of one server
MAX_UNPLACED_AGE = 60.0  # seconds that a prediction of an earlier version may be without a position
MAX_CLOCK_DIFFERENCE = 5.0  # seconds between this machine and the database: times of predictions are this machine's
MAX_SELF_TEST_AGE = dt.timedelta(days=2)  # age of the last successful self-test above which a daily one is overdue
RECENT_FAILURES = dt.timedelta(days=1)  # age up to which a delivery that was given up counts as a fault
NAME_WIDTH = 12  # characters of the names of checks


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Parameters
    ----------
    name : str
        What was checked.
    ok : bool
        Whether it is as it should be.
    detail : str
        What was found.
    advice : str, optional
        What to do where it is not.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{'ok' if self.ok else 'FAULT':6s}{self.name:{NAME_WIDTH}s}{self.detail}"
        return line if self.ok or not self.advice else f"{line}: {self.advice}"


def doctor() -> list[Check]:
    """Check the installation that the settings describe; an error of one check is its fault, and the others go on.

    Raises
    ------
    ConfigurationError
        The settings cannot be used.
    """
    settings = Settings.load()
    checks = [_spool(settings)]
    try:
        with engines.database(settings) as url:
            engine = engines.connect(url)
            try:
                engines.check(engine)
                checks = [*_database(engine, settings), *checks]
            finally:
                engine.dispose()
    except TidemarkError as error:
        advice = "start it, or correct TIDEMARK_DATABASE_URL; nothing else can be checked without it"
        checks = [Check("database", False, str(error), advice), *checks]
    return [*checks, *_receivers(reach_all(settings.webhook_urls, WebhookNetwork.from_settings(settings)))]


class DoctorReport(TypedDict):
    """The content of `tidemark doctor --json`."""

    healthy: bool
    checks: list[dict[str, str | bool]]  # the fields of `Check`


def to_dict(checks: Sequence[Check]) -> DoctorReport:
    """Return the report as JSON values."""
    return {"healthy": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]}


def _database(engine: Engine, settings: Settings) -> list[Check]:
    """Return the checks of what lies in Postgres; those that need a current schema are left out where it is not."""
    checks = _run_checks(engine, {"database": _server, "clock": _clock})
    try:
        schema.check(engine)
    except TidemarkError as error:
        return [*checks, Check("schema", False, str(error), "run `tidemark migrate`")]
    checks.append(Check("schema", True, f"current, revision {schema.revisions()[0]}"))
    more = {
        "log": _log,
        "reference": _reference,
        "monitor": _monitor,
        "watching": _check_watching,
        "self-test": _self_test,
        "deliveries": _deliveries,
    }
    return checks + _run_checks(engine, more)


def _run_checks(engine: Engine, checks: Mapping[str, Callable[[Connection], Check]]) -> list[Check]:
    results = []
    for name, check in checks.items():
        try:
            with engine.connect() as connection:
                results.append(check(connection))
        except DBAPIError as error:
            results.append(Check(name, False, f"the database answers: {reason(error)}", "see the log of Postgres"))
    return results


def _server(connection: Connection) -> Check:
    server = database_health.server(connection)
    if server.read_only:
        return Check(
            "database",
            False,
            f"Postgres {server.version} takes no writes",
            "connect to the primary, or end default_transaction_read_only: predictions wait in the spool",
        )
    return Check("database", True, f"Postgres {server.version}, reachable and writable")


def _clock(connection: Connection) -> Check:
    difference = (database_health.server(connection).now - dt.datetime.now(dt.UTC)).total_seconds()
    advice = "synchronise the clocks (NTP): predictions carry the time of this machine"
    return Check("clock", abs(difference) <= MAX_CLOCK_DIFFERENCE, f"{abs(difference):.1f} s from the database", advice)


def _log(connection: Connection) -> Check:
    if models := database_health.models_with_gaps(connection, CHECKED_SEGMENTS):
        advice = "restore the table `segments` from the backup that the other tables come from"
        return Check("log", False, f"positions are missing in the order of {', '.join(models)}", advice)
    if models := database_health.models_beyond_log(connection):
        advice = "restore all tables from the same backup: what is logged next would not be watched"
        return Check("log", False, f"streams lie after the end of the log of {', '.join(models)}", advice)
    if count := database_health.unplaced(connection, MAX_UNPLACED_AGE):
        advice = "start a server of this version: it gives positions to what earlier versions log"
        return Check("log", False, f"{count} predictions have had no position for a minute", advice)
    return Check("log", True, "the order of predictions has no gap")


def _reference(connection: Connection) -> Check:
    rows = streams.load_all(connection)
    missing = [row.stream for row in rows if row.reference_id is None]
    if missing:
        advice = "run `tidemark reference build` with the bundle of each: until then its traffic is not watched"
        return Check("reference", False, f"none of {', '.join(missing)}", advice)
    if not rows:
        return Check("reference", True, "no model has been served yet")
    return Check("reference", True, f"one for each of {len(rows)} streams")


def _monitor(connection: Connection) -> Check:
    age = database_health.heartbeat_age(connection)
    advice = "start `tidemark monitor`, or see why it ended in its log: predictions are logged, nothing is watched"
    if age is None:
        return Check("monitor", False, "not running", advice)
    if age > MAX_HEARTBEAT_AGE:
        return Check("monitor", False, f"not running: its last heartbeat was {age:.0f} s ago", advice)
    return Check("monitor", True, f"running, heartbeat {age:.0f} s ago")


def _check_watching(connection: Connection) -> Check:
    states = watch_status.of_models(connection)
    wholes = [row for row in streams.load_all(connection) if not row.slice and row.model_id in states]
    blind = [f"{row.stream} ({states[row.model_id].reason})" for row in wholes if states[row.model_id].is_blind]
    if blind:
        advice = "see the reason in the runbook of TidemarkBlind"
        return Check("watching", False, f"not watched, or not in time: {', '.join(blind)}", advice)
    lag = sum(states[row.model_id].lag for row in wholes)
    return Check("watching", True, f"{len(wholes)} models, {lag} predictions to go")


def _self_test(connection: Connection) -> Check:
    rows = self_tests.load_all(connection)
    now = dt.datetime.now(dt.UTC)
    for row in rows:
        name = str(ModelKey(row.model_name, row.model_version))
        if row.reason is not None:
            advice = "run `tidemark reference build` again; if that does not help, the detector is broken"
            return Check("self-test", False, f"of {name} failed: {row.reason}", advice)
        if row.succeeded_at is not None and now - row.succeeded_at > MAX_SELF_TEST_AGE:
            days = (now - row.succeeded_at).days
            return Check("self-test", False, f"of {name} last succeeded {days} days ago", "see the monitor's log")
    delays = [row.delay for row in rows if row.delay is not None]
    if not delays:
        return Check("self-test", True, "has not run yet: it does once a monitor has calibrated a reference")
    return Check("self-test", True, f"a planted shift was found after {max(delays)} predictions at the most")


def _deliveries(connection: Connection) -> Check:
    counts = deliveries.outcomes(connection)
    if failures := deliveries.recent_failures(connection, RECENT_FAILURES):
        advice = "see `GET /alerts` for the reasons, and send them again with POST /alerts/{id}/deliver"
        return Check("deliveries", False, f"{failures} events were given up", advice)
    if alerts := deliveries.failing_reminders(connection):
        advice = "see the pages of the alerts that fire for the reasons: what is muted or acknowledged is notified on"
        return Check("deliveries", False, f"{alerts} alerts that Alertmanager could not be told of", advice)
    return Check("deliveries", True, f"{counts['delivered']} events delivered, {counts['pending']} waiting")


def _spool(settings: Settings) -> Check:
    state = inspection.inspect(settings.data_dir / "spool")
    if state.problem is not None:
        return Check("spool", False, state.problem, state.advice)
    return Check("spool", True, f"{state.pending} predictions waiting in {state.files} files, writable")


def _receivers(results: Sequence[Reachability]) -> list[Check]:
    if not results:
        return [Check("receivers", True, "none configured: alerts are shown on the pages only")]
    advice = "check its address in TIDEMARK_WEBHOOK_URLS and the way to it; then try POST /alerts/test"
    return [Check("receiver", result.error is None, f"{result.url} {result.text}", advice) for result in results]
