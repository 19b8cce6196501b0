"""Pictures of a span next to its reference, as SVG: embeddings by class and by witness score, and properties."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import linalg

from ... import svg
from ...drift.reference import Reference
from ...drift.samples import Sample
from ...drift.views import View, Views
from ...inference.properties import UNITS
from ..span import Span
from ..witness_scores import witness_scores

Matrix = NDArray[np.float64]

WIDTH, HEIGHT = 340, 250
MARGIN = 18
MAX_POINTS = 400  # points of each side on a map
BINS = 24
PALETTE = ("#4477aa", "#ee6677", "#228833", "#b79f00", "#3399bb", "#aa3377", "#dd7711", "#7755cc", "#777777", "#009988")
# SVG attributes of the reference's points, and of the span's
STYLES = 'fill="var(--ref, #aaa)"', 'fill="none" stroke="var(--accent, #1f5fa8)"'
COLD, HOT = np.array([58, 118, 175]), np.array([214, 69, 32])  # colours of typical and of atypical images


def pictures(span: Span, seed: int = 0) -> tuple[tuple[str, Markup], ...]:
    """Return titles with SVG elements that show a span: two maps of embeddings, and each property's distribution."""
    reference, sample = span.reference, span.sample
    rng = np.random.default_rng(seed)
    reference_rows = np.sort(rng.permutation(len(reference))[:MAX_POINTS])
    rows = np.sort(rng.permutation(len(sample))[:MAX_POINTS])
    places, method = _places(reference, sample.rows(rows), reference_rows)
    before, now = places[: len(reference_rows)], places[len(reference_rows) :]
    predicted = sample.probabilities.argmax(axis=1)[rows]
    classes = (
        reference.probabilities.argmax(axis=1)[reference_rows]
        if reference.labels is None
        else reference.labels[reference_rows]
    )
    by_class = _map(before, now, _class_colours(classes), _class_colours(predicted), method, "coloured by class")
    scores = witness_scores(reference, sample)[rows]
    grey = ["var(--ref, #999)"] * len(reference_rows)
    by_score = _map(before, now, grey, _heat(scores), method, "the span from blue, typical, to red, atypical")
    drawn = [
        (f"Embeddings by class ({method}): crosses are the reference, dots the span", by_class + _key(reference)),
        (f"Embeddings by how atypical they are ({method}): grey crosses are the reference", by_score),
    ]
    if reference.properties is not None and sample.properties is not None:
        columns = zip(reference.property_names, reference.properties.T, sample.properties.T, strict=True)
        drawn += [
            (f"{name.capitalize()}, share of images: filled the reference, lined the span", histogram(name, old, new))
            for name, old, new in columns
            if old.std() > 0 or new.std() > 0
        ]
    return tuple(drawn)


def histogram(name: str, reference: NDArray[np.floating], span: NDArray[np.floating]) -> Markup:
    """Draw the distribution of a property in the span (m,) over the reference's (n,)."""
    both = np.concatenate([reference, span])
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (reference, span)]
    top, base = max(float(share.max()) for share in shares), 86
    parts = [
        f'<polygon {style} points="{svg.outline(share.tolist(), top, MARGIN, WIDTH - MARGIN, base, 76)}"/>'
        for share, style in zip(shares, STYLES, strict=True)
    ]
    parts += [
        svg.text(MARGIN, base + 13, f"{edges[0]:.3g}"),
        svg.text(WIDTH - MARGIN, base + 13, f"{edges[-1]:.3g}", "end"),
    ]
    parts.append(svg.text(WIDTH / 2, base + 13, f"{name}, {UNITS.get(name, 'as measured')}", "middle"))
    description = f"{name}: mean {reference.mean():.3g} in the reference, {span.mean():.3g} in the span"
    return svg.drawing(description, WIDTH, base + 18, parts)


def _places(reference: Reference, sample: Sample, rows: NDArray[np.int64]) -> tuple[Matrix, str]:
    """Return two coordinates of the reference's `rows` and of the sample, their first two principal components."""
    views = Views(reference)
    both = np.concatenate([views(reference.sample.rows(rows))[View.EMBEDDING], views(sample)[View.EMBEDDING]]).astype(
        np.float64
    )
    centred = both - both.mean(axis=0)
    _, _, directions = linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T, "PCA"


def _map(before: Matrix, now: Matrix, old: Sequence[str], new: Sequence[str], method: str, colouring: str) -> Markup:
    both = np.concatenate([before, now])
    low, high = np.quantile(both, 0.005, axis=0), np.quantile(both, 0.995, axis=0)
    room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    share = np.clip((both - low) / np.maximum(high - low, 1e-12), 0, 1)
    at = MARGIN + np.stack([share[:, 0], 1 - share[:, 1]], axis=1) * room
    crosses = [
        f'<path d="M{x - 2:.1f} {y:.1f}h4M{x:.1f} {y - 2:.1f}v4" stroke="{colour}" opacity=".55"/>'
        for (x, y), colour in zip(at[: len(before)], old, strict=True)
    ]
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}" opacity=".75"/>'
        for (x, y), colour in zip(at[len(before) :], new, strict=True)
    ]
    axes = [
        svg.text(WIDTH / 2, HEIGHT - 3, f"{method} axis 1, no unit", "middle"),
        f'<g transform="rotate(-90)">{svg.text(-HEIGHT / 2, 11, f"{method} axis 2, no unit", "middle")}</g>',
    ]
    gap = float(linalg.norm((now.mean(axis=0) - before.mean(axis=0)) / np.maximum(before.std(axis=0), 1e-12)))
    description = (
        f"Map of {len(before)} reference and {len(now)} span embeddings, {colouring}; "
        f"their centres lie {gap:.2f} standard deviations apart"
    )
    return svg.drawing(description, WIDTH, HEIGHT, [*crosses, *dots, *axes])


def _key(reference: Reference) -> Markup:
    names = reference.class_names[: len(PALETTE)]
    items = Markup("").join(
        Markup('<span style="border-color:{}">{}</span>').format(colour, name)
        for colour, name in zip(PALETTE, names, strict=False)
    )
    more = f" Colours repeat for the other {reference.classes - len(names)} classes."
    return Markup('<p class="key">{}{}</p>').format(items, more if reference.classes > len(names) else "")


def _class_colours(classes: NDArray[np.int64]) -> list[str]:
    return [PALETTE[label % len(PALETTE)] for label in classes]


def _heat(scores: Matrix) -> list[str]:
    low, high = np.quantile(scores, [0.02, 0.98])
    share = np.clip((scores - low) / max(high - low, 1e-12), 0, 1)
    return ["#{:02x}{:02x}{:02x}".format(*(COLD + part * (HOT - COLD)).astype(int)) for part in share]
