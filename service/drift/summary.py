"""A window report in one sentence, for the person who receives the alert."""

from collections.abc import Sequence
from typing import NamedTuple

from .estimated_accuracy import LABELS_NEEDED
from .estimates import AccuracyMethod, LabelShift, Performance
from .report import ClassMove, Kind, NewKind, PropertyShift, RepeatShare

WORDS = {
    "brightness": ("brighter", "darker"),
    "contrast": ("higher in contrast", "lower in contrast"),
    "sharpness": ("sharper", "blurrier"),
    "noise": ("noisier", "smoother"),
    "entropy": ("busier", "plainer"),
    "saturation": ("more colourful", "less colourful"),
    "width": ("wider", "narrower"),
    "height": ("taller", "lower"),
}
NAMED_PROPERTIES = 4  # properties that a sentence names at most
MIN_EFFECT = 0.2  # standardised mean difference from which a property is named
LEVEL = 0.1  # p-value at or below which a property is named
NAMED_CLASSES = 3  # classes that a sentence names at most
MIN_SHARE_CHANGE = 0.03  # change of a predicted class's share from which the sentence on changed images names it


METHODS: dict[AccuracyMethod, str] = {
    "confidence": "confidence",
    "reweighted": "reweighted confidence",
    "recreated": "recreating the shift",
    "regression": "regression on rehearsals",
    "combined": "regression on rehearsals at many class proportions",
    "unknown": "no method",
}


class Findings(NamedTuple):
    """The findings that the sentences name; see `WindowReport` for the fields."""

    kind: Kind
    p_value: float
    p_value_floor: float
    properties: Sequence[PropertyShift]
    label_shift: LabelShift | None
    performance: Performance | None
    classes_moved: Sequence[ClassMove]
    repeats: RepeatShare
    new_kind: NewKind | None
    size: int
    in_context: bool = False  # whether the window was compared with calm traffic of its context


def summarise(findings: Findings) -> str:
    """Return what changed, and what it does to the accuracy."""
    if findings.kind == "none":
        p = format_p_value(findings.p_value, findings.p_value_floor)
        return f"No drift: the window looks like the reference ({p}){_constant(findings.properties)}"
    return _changes(findings)


def summarise_for_alert(findings: Findings) -> str:
    """Return the sentence for an alert that the sequential detector or another test raised."""
    if findings.kind != "none":
        return _changes(findings)
    p = format_p_value(findings.p_value, findings.p_value_floor)
    parts = [
        f"The stream has left the reference by little or since few predictions: the last {findings.size} alone "
        f"do not show how ({p})"
    ]
    strongest = [item for item in findings.properties if not item.constant][:1]
    if strongest and abs(strongest[0].effect) >= MIN_EFFECT / 2:
        parts.append(f"the largest difference is in {strongest[0].name}: they are {_describe_shift(strongest[0])}")
    if shares := _moved_shares(findings.classes_moved):
        parts.append(_predicted_classes(shares))
    return "; ".join(parts)


def format_p_value(p_value: float, floor: float) -> str:
    """Return "p = 0.03", or "p < 0.002" at or below the smallest p-value that the permutations allow.

    Examples
    --------
    >>> format_p_value(0.0312, 0.002), format_p_value(0.002, 0.002)
    ('p = 0.031', 'p < 0.002')
    """
    return f"p < {floor:.2g}" if p_value <= floor else f"p = {p_value:.2g}"


def _changes(findings: Findings) -> str:
    parts = []
    if findings.repeats.unusual:
        parts.append(_repeats(findings.repeats))
    if findings.new_kind is not None:
        parts.append(
            f"{findings.new_kind.share:.0%} of the images are of a new kind: unlike any in the reference, and alike "
            "among themselves"
        )
    if findings.kind in ("covariate", "both", "unknown"):
        parts.append(_images(findings.properties, findings.in_context))
    if findings.kind in ("label", "both"):
        parts.append(_proportions(findings.label_shift))
    elif findings.kind in ("covariate", "unknown") and (shares := _moved_shares(findings.classes_moved)):
        parts.append(_predicted_classes(shares))
    if findings.performance is not None:
        parts.append(_accuracy(findings.performance))
    return "; ".join(parts) + _constant(findings.properties)


def _accuracy(performance: Performance) -> str:
    """Return what the change does to the accuracy, and by which method that is known."""
    after = f"{performance.estimated_accuracy:.2f} by {METHODS[performance.method]}"
    if performance.method == "unknown":
        after = f"unknown: label {LABELS_NEEDED} images"
    return f"estimated accuracy {performance.reference_accuracy:.2f} → {after}"


def _repeats(repeats: RepeatShare) -> str:
    if repeats.largest_share >= repeats.share / 2:
        return f"The same image again and again: it is {repeats.largest_share:.0%} of the predictions"
    return f"The same images again and again: {repeats.share:.0%} of the predictions repeat an earlier one"


def _images(properties: Sequence[PropertyShift], in_context: bool) -> str:
    shifted = [item for item in properties if _is_named(item)][:NAMED_PROPERTIES]
    if not shifted:
        return "Images look different to the model, though none of their measured properties moved much"
    usual = "is normal for their time and tags" if in_context else "in training"
    order = list(WORDS)
    shifted = sorted(shifted, key=lambda item: order.index(item.name) if item.name in order else len(order))
    return f"Images are {', '.join(_describe_shift(item) for item in shifted)} than {usual}"


def _is_named(item: PropertyShift) -> bool:
    return not item.constant and item.p_value <= LEVEL and abs(item.effect) >= MIN_EFFECT


def _describe_shift(item: PropertyShift) -> str:
    more, less = WORDS.get(item.name, (f"higher in {item.name}", f"lower in {item.name}"))
    word = more if item.effect > 0 else less
    return f"{word} ({item.name} {item.reference_mean:.3g} → {item.window_mean:.3g})"


def _constant(properties: Sequence[PropertyShift]) -> str:
    """Return the clause about properties that never vary in the reference and are different now."""
    changed = [item for item in properties if item.constant and item.effect != 0]
    words = [f"{item.name} {item.reference_mean:.3g} → {item.window_mean:.3g}" for item in changed]
    return f"; {', '.join(words)}, which never varied in the reference" if words else ""


def _proportions(shift: LabelShift | None) -> str:
    if shift is None:
        return "Class proportions moved"
    order = sorted(shift.reference, key=lambda name: -abs(shift.estimated[name] - shift.reference[name]))
    shifted = [name for name in order if not shift.low[name] <= shift.reference[name] <= shift.high[name]]
    words = [f"{name} {shift.reference[name]:.0%} → {shift.estimated[name]:.0%}" for name in shifted or order[:1]]
    return f"Class proportions moved: {', '.join(words[:NAMED_CLASSES])}"


def _moved_shares(moves: Sequence[ClassMove]) -> list[ClassMove]:
    """Return the classes whose predicted share moved enough to be named, the largest change first."""
    order = sorted(moves, key=lambda move: -abs(move.window_share - move.reference_share))
    return [move for move in order if abs(move.window_share - move.reference_share) >= MIN_SHARE_CHANGE]


def _predicted_classes(moves: Sequence[ClassMove]) -> str:
    words = [f"{move.name} {move.reference_share:.0%} → {move.window_share:.0%}" for move in moves[:NAMED_CLASSES]]
    return f"the model now predicts {', '.join(words)}"
