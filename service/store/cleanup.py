"""What bounds each table, and the deletion of what is beyond its bound; days of predictions are dropped by
`tidemark.store.retention`."""

import datetime as dt

from sqlalchemy import Engine, TextClause, text

DELETE_BATCH_ROWS = 5000  # rows of one transaction, so that none is long
MAX_ROUNDS = 200  # transactions a table and call, so that a call ends; the rest waits for the next hour
GRACE = dt.timedelta(days=1)  # time that segments and writers outlive the rows that they describe

# What bounds each table. Those of the job queue delete their own rows; a table not listed has a row a version or less.
BOUNDS = {
    "alerts": "TIDEMARK_REPORT_RETENTION_DAYS, from their resolution on",
    "alembic_version": "one row",
    "baselines": "ten a stream",
    "calibrations": "the newest a stream and reference, others TIDEMARK_REPORT_RETENTION_DAYS",
    "checkpoints": "one a stream",
    "deliveries": "as their alerts",
    "evidence_points": "2000 a stream",
    "feedback": "TIDEMARK_REPORT_RETENTION_DAYS",
    "installation": "one row",
    "label_log": "TIDEMARK_REPORT_RETENTION_DAYS",
    "label_requests": "1000 a round",
    "label_rounds": "ten a stream, TIDEMARK_REPORT_RETENTION_DAYS",
    "models": "one a model version",
    "monitors": "one a monitor that works",
    "predictions": "TIDEMARK_RETENTION_DAYS",
    "references": "those in use or the newest of their model, others TIDEMARK_REPORT_RETENTION_DAYS",
    "segments": "TIDEMARK_RETENTION_DAYS and a day",
    "self_tests": "one a reference",
    "slice_feedback": "unused since revision 0006",
    "slice_predictions": "TIDEMARK_RETENTION_DAYS, unused since revision 0006",
    "streams": "one a model version and slice; retired ones TIDEMARK_RETENTION_DAYS, with alerts as long as those",
    "windows": "TIDEMARK_REPORT_RETENTION_DAYS, those of alerts as long as their alerts",
    "writers": "one a worker process and model, TIDEMARK_RETENTION_DAYS and a day",
}

# In the order in which rows that others point to can go. `:before` is the end of the retention of predictions,
# `:reports_before` that of reports. A model's last segment and last label stay: they mark where its logs end.
CONDITIONS: tuple[tuple[str, str], ...] = (
    (
        "segments",
        "at_to < :before AND EXISTS (SELECT FROM segments newer"
        " WHERE newer.model_id = t.model_id AND newer.last_position > t.last_position)",
    ),
    (
        "writers",
        "written_at < :before AND spool <> '00000000-0000-0000-0000-000000000000'"
        " AND NOT EXISTS (SELECT FROM segments s WHERE s.writer_id = t.id AND s.model_id = t.model_id)",
    ),
    (
        "label_log",
        "at < :reports_before AND EXISTS (SELECT FROM label_log newer"
        " WHERE newer.model_id = t.model_id AND newer.position > t.position)",
    ),
    ("label_rounds", "created_at < :reports_before"),
    ("feedback", "created_at < :reports_before AND label IS NOT DISTINCT FROM placed"),
    (
        "deliveries",
        "created_at < :reports_before AND (alert_id IS NULL OR EXISTS (SELECT FROM alerts a"
        " WHERE a.id = t.alert_id AND a.state = 'resolved' AND a.resolved_at < :reports_before))",
    ),
    (
        "alerts",
        "state = 'resolved' AND resolved_at < :reports_before"
        " AND NOT EXISTS (SELECT FROM deliveries d WHERE d.alert_id = t.id)",
    ),
    (
        "windows",
        "(created_at < :reports_before OR EXISTS (SELECT FROM streams s WHERE s.id = t.stream_id"
        " AND s.retired_at < :before AND NOT EXISTS (SELECT FROM alerts a WHERE a.stream_id = s.id)))"
        " AND NOT EXISTS (SELECT FROM alerts a WHERE a.window_id = t.id)",
    ),
    (
        "calibrations",
        "created_at < :reports_before AND EXISTS (SELECT FROM calibrations newer"
        " WHERE newer.stream_id = t.stream_id AND newer.reference_id = t.reference_id AND newer.id > t.id)"
        " OR EXISTS (SELECT FROM streams s WHERE s.id = t.stream_id AND s.slice <> '' AND s.retired_at < :before"
        " AND NOT EXISTS (SELECT FROM alerts a WHERE a.stream_id = s.id))",
    ),
    (
        "streams",
        "slice <> '' AND retired_at < :before"
        " AND NOT EXISTS (SELECT FROM alerts a WHERE a.stream_id = t.id)"
        " AND NOT EXISTS (SELECT FROM windows w WHERE w.stream_id = t.id)"
        " AND NOT EXISTS (SELECT FROM calibrations c WHERE c.stream_id = t.id)"
        " AND NOT EXISTS (SELECT FROM baselines b WHERE b.stream_id = t.id)",
    ),
    (
        "references",
        "created_at < :reports_before"
        ' AND EXISTS (SELECT FROM "references" newer WHERE newer.model_id = t.model_id AND newer.id > t.id)'
        " AND NOT EXISTS (SELECT FROM streams s WHERE s.reference_id = t.id)"
        " AND NOT EXISTS (SELECT FROM calibrations c WHERE c.reference_id = t.id)"
        " AND NOT EXISTS (SELECT FROM baselines b WHERE b.reference_id = t.id)",
    ),
)


def delete_old(engine: Engine, now: dt.datetime, retention_days: int, report_retention_days: int) -> dict[str, int]:
    """Delete what is beyond the bounds, a few thousand rows a transaction; return how many rows of which tables."""
    moments = {
        "before": now - dt.timedelta(days=retention_days) - GRACE,
        "reports_before": now - dt.timedelta(days=report_retention_days),
        "limit": DELETE_BATCH_ROWS,
    }
    deleted: dict[str, int] = {}
    for table, condition in CONDITIONS:
        for _ in range(MAX_ROUNDS):
            with engine.begin() as connection:
                count = connection.execute(_delete(table, condition), moments).rowcount
            if count:
                deleted[table] = deleted.get(table, 0) + count
            if count < DELETE_BATCH_ROWS:
                break
    return deleted


def _delete(table: str, condition: str) -> TextClause:
    return text(
        f'DELETE FROM "{table}" WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM "{table}" t WHERE {condition} LIMIT :limit))'
    )
