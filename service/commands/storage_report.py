"""`tidemark db vacuum-report`: what each table holds, what it weighs, what bounds it, and what to do about it."""

import datetime as dt
from collections.abc import Sequence
from typing import TypedDict

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..settings import Settings
from ..store import retention, sizes
from ..store.cleanup import BOUNDS
from ..store.open_database import open_database
from ..store.predictions import PARTITIONED
from ..store.sizes import Size

DEAD_SHARE = 0.2  # share of dead rows in a table from which the report advises a vacuum
MIN_DEAD = 10_000  # dead rows below which no vacuum is advised
GRACE_DAYS = 1  # days that a partition may outlive the retention, until the hourly job has dropped it


class TableReport(TypedDict):
    """The size of a table, or of a day of one; bytes but for the rows."""

    name: str
    parent: str | None
    rows: int
    dead: int
    heap: int
    indexes: int
    toast: int
    total: int
    vacuumed: str | None
    analysed: str | None
    bound: str | None


class StorageReport(TypedDict):
    """The content of `tidemark db vacuum-report`."""

    tables: list[TableReport]
    bytes: int
    predictions: int
    bytes_per_prediction: int | None
    days: int
    oldest_day: str | None
    retention_days: int
    bytes_at_retention: int | None
    advice: list[str]


def vacuum_report() -> StorageReport:
    """Return the sizes of all tables and days, bytes a prediction, and advice."""
    settings = Settings.load()
    with open_database(settings) as engine, engine.connect() as connection:
        tables = sizes.load_all(connection)
    return build_storage_report(tables, settings.retention_days, dt.datetime.now(dt.UTC).date())


def build_storage_report(tables: Sequence[Size], retention_days: int, today: dt.date) -> StorageReport:
    """Return the report on these tables."""
    parts = [table for table in tables if table.parent in PARTITIONED]
    logged = [table for table in parts if table.parent == "predictions"]
    rows = sum(table.rows for table in logged)
    rows_by_day = {day: table.rows for table in logged if table.rows and (day := retention.day_of(table.name))}
    rows_of_whole_days = [count for day, count in rows_by_day.items() if day < today]
    bytes_per_row = sum(table.total for table in parts) / rows if rows else None
    bytes_at_retention = None
    if bytes_per_row is not None and rows_of_whole_days:
        rows_per_day = sum(rows_of_whole_days) / len(rows_of_whole_days)
        bytes_at_retention = round(bytes_per_row * rows_per_day * retention_days)
    return {
        "tables": [_row(table) for table in tables],
        "bytes": sum(table.total for table in tables),
        "predictions": rows,
        "bytes_per_prediction": None if bytes_per_row is None else round(bytes_per_row),
        "days": len(rows_by_day),
        "oldest_day": min(rows_by_day).isoformat() if rows_by_day else None,
        "retention_days": retention_days,
        "bytes_at_retention": bytes_at_retention,
        "advice": _advice(tables, logged, retention_days, today),
    }


def show(report: StorageReport) -> None:
    """Print a report as tables for people."""
    console = Console()
    table = Table("table", box=None)
    for name in ("rows", "dead", "heap", "indexes", "toast", "total", "vacuumed"):
        table.add_column(name, justify="right")
    table.add_column("bound")
    for row in report["tables"]:
        weights = map(decimal, (row["heap"], row["indexes"], row["toast"], row["total"]))
        vacuumed = row["vacuumed"][:16].replace("T", " ") if row["vacuumed"] else "never"
        table.add_row(row["name"], f"{row['rows']:,}", f"{row['dead']:,}", *weights, vacuumed, row["bound"] or "")
    console.print(table)
    bytes_per_row = report["bytes_per_prediction"]
    console.print(
        f"{report['predictions']:,} predictions, {report['days']} of {report['retention_days']} days kept, "
        + (f"{bytes_per_row:,} bytes each with indexes; " if bytes_per_row else "")
        + f"{decimal(report['bytes'])} in all"
    )
    if report["bytes_at_retention"]:
        console.print(f"at this pace about {decimal(report['bytes_at_retention'])} when the retention is reached")
    for line in report["advice"] or ["nothing to do"]:
        console.print(line)


def _row(table: Size) -> TableReport:
    return TableReport(
        name=table.name,
        parent=table.parent,
        rows=table.rows,
        dead=table.dead,
        heap=table.heap,
        indexes=table.indexes,
        toast=table.toast,
        vacuumed=table.vacuumed.isoformat() if table.vacuumed else None,
        analysed=table.analysed.isoformat() if table.analysed else None,
        total=table.total,
        bound=_bound(table),
    )


def _bound(table: Size) -> str | None:
    """Return what bounds a table; None for one that is not Tidemark's."""
    if table.name.startswith("procrastinate_"):
        return "jobs are deleted when they end"
    return BOUNDS.get(table.parent or table.name)


def _advice(tables: Sequence[Size], logged: Sequence[Size], retention_days: int, today: dt.date) -> list[str]:
    advice = []
    days = {day for table in logged if (day := retention.day_of(table.name))}
    limit = today - dt.timedelta(days=retention_days + GRACE_DAYS)
    if old := [day for day in days if day < limit]:
        advice.append(
            f"{len(old)} days are older than TIDEMARK_RETENTION_DAYS={retention_days}: is a `tidemark monitor` "
            "running? It drops them once an hour, unless a long transaction reads them."
        )
    if logged and today + dt.timedelta(days=1) not in days:
        advice.append("tomorrow has no partition yet: is a server or a monitor running? Either makes it in time.")
    for table in tables:
        if table.dead >= max(MIN_DEAD, DEAD_SHARE * table.rows):
            advice.append(
                f"{table.name} has {table.dead:,} dead rows: run VACUUM {table.name}, or let autovacuum do more"
            )
        elif table.rows >= MIN_DEAD and table.analysed is None:
            advice.append(f"{table.name} was never analysed: run ANALYZE {table.name}, or is autovacuum off?")
    return advice
