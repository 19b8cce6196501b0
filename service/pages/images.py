"""The least typical images of a window: what is logged of each."""

import struct
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from service.store import predictions

SHOWN = 12
PROPERTIES = 3  # named per image, those that moved most in its window


def describe(connection: Connection, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the report's witnesses, each with its logged prediction where it is still kept."""
    names = [histogram["name"] for histogram in report.get("histograms") or []]
    moved = [item for item in report.get("properties") or [] if item["effect"]][:PROPERTIES]
    found = []
    for witness in (report.get("witnesses") or [])[:SHOWN]:
        row = predictions.get(connection, UUID(witness["id"]))
        image = dict(witness, logged=row is not None)
        if row is not None:
            image |= {
                "at": row.at.isoformat(),
                "label": row.labels[row.label],
                "confidence": row.confidence,
                "feedback": None if row.feedback is None else row.labels[row.feedback],
                "tags": row.tags,
                "properties": _values(row.properties, names, moved),
            }
        found.append(image)
    return found


def _values(stored: bytes | None, names: list[str], moved: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """Return name, value and the reference's mean of the properties that moved."""
    values = dict(zip(names, (value for (value,) in struct.iter_unpack("<f", stored or b"")), strict=False))
    return [(item["name"], values[item["name"]], item["reference_mean"]) for item in moved if item["name"] in values]
