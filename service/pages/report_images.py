"""The images of a report: the log's content for each, and its thumbnail if one is stored."""

import base64
import struct
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ..inference.thumbnails import MEDIA_TYPE
from ..store import predictions, references

MAX_IMAGES = 12  # images that a page shows
MAX_PROPERTIES = 3  # properties named for each image: those that shifted most in its window

Pictures = dict[str, str]  # address of a thumbnail: the same as a data URL, so that a page needs no further request


def describe(connection: Connection, report: dict[str, Any]) -> tuple[list[dict[str, Any]], Pictures]:
    """Return the images that carry the difference, each with its logged prediction if it is still stored.

    They are the least typical of a window with their neighbours in the reference, or after a concept shift the newest
    ones whose labels disagree.
    """
    names = [histogram["name"] for histogram in report.get("histograms") or []]
    shifted = [item for item in report.get("properties") or [] if item["effect"]][:MAX_PROPERTIES]
    reference_id = report.get("reference")
    reference_thumbnails = {} if reference_id is None else references.load_thumbnails(connection, reference_id)
    images: list[dict[str, Any]] = []
    pictures: Pictures = {}
    for listed in _listed_images(report)[:MAX_IMAGES]:
        row = predictions.get(connection, UUID(listed["id"]))
        image = dict(listed, logged=row is not None)
        if row is not None:
            image |= {
                "at": row.at.isoformat(),
                "label": row.labels[row.label],
                "confidence": row.confidence,
                "feedback": None if row.feedback is None else row.labels[row.feedback],
                "tags": row.tags,
                "properties": _shifted_properties(row.properties, names, shifted),
                "thumbnail": _add_thumbnail(pictures, f"/predictions/{row.id}/thumbnail", row.thumbnail),
            }
        image["neighbours"] = [
            near
            | {
                "thumbnail": _add_thumbnail(
                    pictures, f"/references/{reference_id}/thumbnails/{near['row']}", reference_thumbnails[near["row"]]
                )
            }
            for near in listed.get("neighbours") or []
            if near["row"] in reference_thumbnails
        ]
        images.append(image)
    return images, pictures


def _listed_images(report: dict[str, Any]) -> list[dict[str, Any]]:
    if labels := report.get("labels"):
        return [{"id": key} for key in labels["disagreeing"]]
    return report.get("witnesses") or []


def _add_thumbnail(pictures: Pictures, address: str, picture: bytes | None) -> str | None:
    if picture is None:
        return None
    pictures[address] = f"data:{MEDIA_TYPE};base64,{base64.b64encode(picture).decode()}"
    return address


def _shifted_properties(
    stored: bytes | None, names: list[str], shifted: list[dict[str, Any]]
) -> list[tuple[str, float, float]]:
    """Return name, value and the reference's mean of the properties that shifted."""
    values = dict(zip(names, (value for (value,) in struct.iter_unpack("<f", stored or b"")), strict=False))
    return [(item["name"], values[item["name"]], item["reference_mean"]) for item in shifted if item["name"] in values]
