"""Bounds on the reports that one answer holds: those of a thousand classes are a hundred times those of ten."""

from typing import Any

from sqlalchemy import Select, Text, case, cast, func, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array

MAX_PAGE_BYTES = 4_000_000  # bytes of the stored, compressed reports of one answer: about 15 MB of JSON
LARGE_MEMBERS = ("proportions", "histograms", "label_shift", "witnesses")  # members of a report that grow with classes


def first_page(query: Select[Any], key: str) -> Select[Any]:
    """Return the first rows of a query, up to the bytes of a page but at least one.

    Parameters
    ----------
    query : Select
        It has a limit, a column `report`, and the order of `key` from the largest on.
    key : str
        The column that the rows are ordered by.
    """
    rows = query.subquery()
    size = func.pg_column_size(rows.c.report)
    preceding = func.sum(size).over(order_by=rows.c[key].desc(), rows=(None, 0)) - size
    measured = select(rows, preceding.label("preceding_bytes")).subquery()
    columns = [column for column in measured.c if column.name != "preceding_bytes"]
    return select(*columns).where(measured.c.preceding_bytes < MAX_PAGE_BYTES).order_by(measured.c[key].desc())


def with_short_reports(query: Select[Any], key: str) -> Select[Any]:
    """Return the rows of a query; the reports beyond the bytes of a page are without their large members."""
    rows = query.subquery()
    total = func.sum(func.pg_column_size(rows.c.report)).over(order_by=rows.c[key], rows=(None, 0))
    short = rows.c.report.op("-")(cast(array(LARGE_MEMBERS), ARRAY(Text)))
    report = type_coerce(case((total > MAX_PAGE_BYTES, short), else_=rows.c.report), JSONB)
    columns = [report.label("report") if column.name == "report" else column for column in rows.c]
    return select(*columns)
