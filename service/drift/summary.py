"""A window report in one sentence, for whoever was woken by it."""

from collections.abc import Sequence

from .report import Kind, LabelShift, Performance, PropertyShift

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
NAMED_PROPERTIES = 4
MIN_EFFECT = 0.2  # standardised mean difference from which a property is named
LEVEL = 0.01
NAMED_CLASSES = 3


def summarise(
    kind: Kind,
    p_value: float,
    properties: Sequence[PropertyShift],
    shift: LabelShift | None,
    performance: Performance | None,
) -> str:
    """Say what changed, and what it does to the accuracy."""
    if kind == "none":
        return f"No drift: the window looks like the reference (p = {p_value:.2g})"
    parts = []
    if kind in ("covariate", "both"):
        parts.append(_images(properties))
    if kind in ("label", "both"):
        parts.append(_classes(shift))
    if performance is not None:
        parts.append(f"estimated accuracy {performance.reference_accuracy:.2f} → {performance.estimated_accuracy:.2f}")
    return "; ".join(parts)


def _images(properties: Sequence[PropertyShift]) -> str:
    moved = [item for item in properties if item.p_value <= LEVEL and abs(item.effect) >= MIN_EFFECT]
    if not moved:
        return "Images look different to the model, though none of their measured properties moved much"
    order = list(WORDS)
    moved = sorted(
        moved[:NAMED_PROPERTIES], key=lambda item: order.index(item.name) if item.name in order else len(order)
    )
    words = [f"{_word(item)} ({item.name} {item.reference_mean:.3g} → {item.window_mean:.3g})" for item in moved]
    return f"Images are {', '.join(words)} than in training"


def _word(item: PropertyShift) -> str:
    more, less = WORDS.get(item.name, (f"higher in {item.name}", f"lower in {item.name}"))
    return more if item.effect > 0 else less


def _classes(shift: LabelShift | None) -> str:
    if shift is None:
        return "Class proportions moved"
    order = sorted(shift.reference, key=lambda name: -abs(shift.estimated[name] - shift.reference[name]))
    moved = [name for name in order if not shift.low[name] <= shift.reference[name] <= shift.high[name]]
    words = [f"{name} {shift.reference[name]:.0%} → {shift.estimated[name]:.0%}" for name in moved or order[:1]]
    return f"Class proportions moved: {', '.join(words[:NAMED_CLASSES])}"
