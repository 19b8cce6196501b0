"""Window reports as the HTTP contract gives them."""

from ..store.report_json import ServedWindowJson
from ..store.windows import WindowRow


def window_report(row: WindowRow) -> ServedWindowJson:
    """Return a stored window as its report with the keys that the row adds to it."""
    return {
        **row.report,
        "id": row.id,
        "stream": row.stream,
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        "evidence": row.evidence,
        "threshold": row.threshold,
    }
