"""The images of a report that people should look at: what is logged of each, and its picture where one is kept."""

import base64
import struct
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ..inference.thumbnails import MEDIA_TYPE
from ..store import predictions, references

SHOWN = 12
PROPERTIES = 3  # named per image, those that moved most in its window

Pictures = dict[str, str]  # address of a thumbnail: the same as a data URL, so that a page needs no further request


def describe(connection: Connection, report: dict[str, Any]) -> tuple[list[dict[str, Any]], Pictures]:
    """Return the images that carry the difference, each with its logged prediction where it is still kept.

    They are the least typical of a window with their neighbours in the reference, or after a concept shift the newest
    ones whose labels disagree.
    """
    names = [histogram["name"] for histogram in report.get("histograms") or []]
    moved = [item for item in report.get("properties") or [] if item["effect"]][:PROPERTIES]
    reference_id = report.get("reference")
    kept = {} if reference_id is None else references.load_thumbnails(connection, reference_id)
    found: list[dict[str, Any]] = []
    pictures: Pictures = {}
    for chosen in _chosen(report)[:SHOWN]:
        row = predictions.get(connection, UUID(chosen["id"]))
        image = dict(chosen, logged=row is not None)
        if row is not None:
            image |= {
                "at": row.at.isoformat(),
                "label": row.labels[row.label],
                "confidence": row.confidence,
                "feedback": None if row.feedback is None else row.labels[row.feedback],
                "tags": row.tags,
                "properties": _values(row.properties, names, moved),
                "thumbnail": _add(pictures, f"/predictions/{row.id}/thumbnail", row.thumbnail),
            }
        image["neighbours"] = [
            near
            | {"thumbnail": _add(pictures, f"/references/{reference_id}/thumbnails/{near['row']}", kept[near["row"]])}
            for near in chosen.get("neighbours") or []
            if near["row"] in kept
        ]
        found.append(image)
    return found, pictures


def _chosen(report: dict[str, Any]) -> list[dict[str, Any]]:
    if labels := report.get("labels"):
        return [{"id": key} for key in labels["disagreeing"]]
    return report.get("witnesses") or []


def _add(pictures: Pictures, address: str, picture: bytes | None) -> str | None:
    if picture is None:
        return None
    pictures[address] = f"data:{MEDIA_TYPE};base64,{base64.b64encode(picture).decode()}"
    return address


def _values(stored: bytes | None, names: list[str], moved: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """Return name, value and the reference's mean of the properties that moved."""
    values = dict(zip(names, (value for (value,) in struct.iter_unpack("<f", stored or b"")), strict=False))
    return [(item["name"], values[item["name"]], item["reference_mean"]) for item in moved if item["name"] in values]
