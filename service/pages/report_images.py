"""The images of a report: the log's content for each, and its thumbnail if one is stored."""

import base64
import struct
from collections.abc import Mapping
from typing import NotRequired, TypedDict
from uuid import UUID

from sqlalchemy import Connection

from ..inference.thumbnails import MEDIA_TYPE
from ..store import predictions, references
from ..store.report_json import NeighbourJson, PropertyShiftJson, WindowReportJson

MAX_IMAGES = 12  # images that a page shows
MAX_PROPERTIES = 3  # properties named for each image: those that shifted most in its window


class NeighbourImage(NeighbourJson):
    """A reference row with the address of its thumbnail."""

    thumbnail: str | None


class ReportImage(TypedDict):
    """An image that a page shows; all from `at` to `thumbnail` only while its prediction is stored."""

    id: str
    logged: bool
    score: NotRequired[float | None]
    nearest: NotRequired[int]
    at: NotRequired[str]
    label: NotRequired[str]
    confidence: NotRequired[float]
    feedback: NotRequired[str | None]
    tags: NotRequired[Mapping[str, str]]
    properties: NotRequired[list[tuple[str, float, float | None]]]
    thumbnail: NotRequired[str | None]
    neighbours: list[NeighbourImage]


Pictures = dict[str, str]  # address of a thumbnail: the same as a data URL, so that a page needs no further request


def describe(connection: Connection, report: WindowReportJson) -> tuple[list[ReportImage], Pictures]:
    """Return the images that carry the difference, each with its logged prediction if it is still stored.

    They are the least typical of a window with their neighbours in the reference, or after a concept shift the newest
    ones whose labels disagree.
    """
    names = [histogram["name"] for histogram in report.get("histograms") or []]
    shifted = [item for item in report.get("properties") or [] if item["effect"]][:MAX_PROPERTIES]
    images, pictures = _listed_images(report)[:MAX_IMAGES], Pictures()
    _add_neighbours(connection, report.get("reference"), images, pictures)
    for image in images:
        row = predictions.get(connection, UUID(image["id"]))
        if row is not None:
            image |= {
                "logged": True,
                "at": row.at.isoformat(),
                "label": row.labels[row.label],
                "confidence": row.confidence,
                "feedback": None if row.feedback is None else row.labels[row.feedback],
                "tags": row.tags,
                "properties": _shifted_properties(row.properties, names, shifted),
                "thumbnail": _add_thumbnail(pictures, f"/predictions/{row.id}/thumbnail", row.thumbnail),
            }
    return images, pictures


def _listed_images(report: WindowReportJson) -> list[ReportImage]:
    """Return the images that a report names."""
    if labels := report.get("labels"):
        return [ReportImage(id=key, logged=False, neighbours=[]) for key in labels["disagreeing"]]
    return [
        ReportImage(
            id=witness["id"],
            logged=False,
            score=witness["score"],
            nearest=witness["nearest"],
            neighbours=[NeighbourImage(**near, thumbnail=None) for near in witness.get("neighbours") or []],
        )
        for witness in report.get("witnesses") or []
    ]


def _add_neighbours(
    connection: Connection, reference_id: int | None, images: list[ReportImage], pictures: Pictures
) -> None:
    """Add the thumbnails of the reference rows that are like the images; rows without one are left out."""
    thumbnails = {} if reference_id is None else references.load_thumbnails(connection, reference_id)
    for image in images:
        image["neighbours"] = [near for near in image["neighbours"] if near["row"] in thumbnails]
        for near in image["neighbours"]:
            address = f"/references/{reference_id}/thumbnails/{near['row']}"
            near["thumbnail"] = _add_thumbnail(pictures, address, thumbnails[near["row"]])


def _add_thumbnail(pictures: Pictures, address: str, picture: bytes | None) -> str | None:
    if picture is None:
        return None
    pictures[address] = f"data:{MEDIA_TYPE};base64,{base64.b64encode(picture).decode()}"
    return address


def _shifted_properties(
    stored: bytes | None, names: list[str], shifted: list[PropertyShiftJson]
) -> list[tuple[str, float, float | None]]:
    """Return name, value and the reference's mean of the properties that shifted."""
    values = dict(zip(names, (value for (value,) in struct.iter_unpack("<f", stored or b"")), strict=False))
    return [(item["name"], values[item["name"]], item["reference_mean"]) for item in shifted if item["name"] in values]
