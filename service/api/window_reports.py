"""Window reports as the HTTP contract gives them."""

from typing import Any

from ..store.windows import WindowRow


def window_report(row: WindowRow) -> dict[str, Any]:
    """Return a stored window as its report with the keys that the row adds to it."""
    return {
        "id": row.id,
        "stream": row.stream,
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        **row.report,
        "evidence": row.evidence,
        "threshold": row.threshold,
    }
