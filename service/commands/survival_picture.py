"""A picture of what a model survives: accuracy by shift and severity, as SVG."""

from collections.abc import Sequence
from html import escape

from ..drift.rehearsals.survival import SEVERITIES, SurvivalRow

NAME_WIDTH, CELL_WIDTH, ROW_HEIGHT = 110, 130, 26  # pixels of a line's name, of one severity, and of a line
HEAD_HEIGHT = 60  # pixels above the first line
NOTE_LENGTH = 75  # characters of a note, which fit into the width
TEXT_RISE = 8  # pixels from the bottom of a line to its text
HUES = (8, 140)  # hues, in degrees, of an accuracy of 0 and of the accuracy on unchanged images


def survival_picture(rows: Sequence[SurvivalRow], unchanged: float, left_out: Sequence[str] = ()) -> str:
    """Return an SVG picture: a line for each shift, a cell for each magnitude, green where the accuracy holds.

    Below stands what was not rehearsed, if something was not.

    Parameters
    ----------
    rows : sequence of SurvivalRow
        Rows of `survival_rows`.
    unchanged : float
        Accuracy on the images as they are.
    left_out : sequence of str
        What was not rehearsed because the time was up.
    """
    shifts = list(dict.fromkeys(row.shift for row in rows))
    width = NAME_WIDTH + len(SEVERITIES) * CELL_WIDTH + 10
    notes = ["The time was up; not rehearsed:", *left_out] if left_out else []
    notes_top = HEAD_HEIGHT + len(shifts) * ROW_HEIGHT
    height = notes_top + len(notes) * ROW_HEIGHT + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="13">',
        "<title>Accuracy under rehearsed shifts</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="20">Accuracy under rehearsed shifts; unchanged {unchanged:.2f}</text>',
    ]
    for column, severity in enumerate(SEVERITIES):
        parts.append(f'<text x="{NAME_WIDTH + column * CELL_WIDTH + 4}" y="{HEAD_HEIGHT - 10}">{severity}</text>')
    for line, shift in enumerate(shifts):
        top = HEAD_HEIGHT + line * ROW_HEIGHT
        parts.append(f'<text x="8" y="{top + ROW_HEIGHT - TEXT_RISE}">{escape(shift)}</text>')
        for column, severity in enumerate(SEVERITIES):
            cells = [row for row in rows if row.shift == shift and row.severity == severity]
            for number, row in enumerate(cells):
                share = CELL_WIDTH / len(cells)
                x = NAME_WIDTH + column * CELL_WIDTH + number * share
                parts.append(_cell(row, x, top, share, unchanged))
    for line, note in enumerate(notes):
        text = f"{note[:NOTE_LENGTH]}…" if len(note) > NOTE_LENGTH else note
        parts.append(f'<text x="8" y="{notes_top + (line + 1) * ROW_HEIGHT - TEXT_RISE}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cell(row: SurvivalRow, x: float, top: int, width: float, unchanged: float) -> str:
    share = min(row.accuracy / max(unchanged, 1e-9), 1)
    hue = HUES[0] + (HUES[1] - HUES[0]) * share**2
    return (
        f'<rect x="{x:.1f}" y="{top}" width="{width - 2:.1f}" height="{ROW_HEIGHT - 2}" '
        f'fill="hsl({hue:.0f} 55% 78%)"><title>{escape(row.shift)} {row.magnitude:g}, {escape(row.unit)}</title></rect>'
        f'<text x="{x + 5:.1f}" y="{top + ROW_HEIGHT - TEXT_RISE}">{row.accuracy:.2f}</text>'
    )
