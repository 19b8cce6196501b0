"""How many more errors than confidence says are not a concept shift, given the kinds of drift there are."""

from collections.abc import Collection

TOLERANCE = 0.02  # share of errors beyond calibrated confidence that is not a concept shift
TOLERANCE_OF_CHANGED_MIX = 0.05  # the same while the class proportions have drifted
TOLERANCE_OF_CHANGED_IMAGES = 0.3  # the same while the images have drifted, so that confidence is too high


def tolerance_of(kinds: Collection[str], fall: float = 0.0) -> float:
    """Return the share of errors beyond confidence that is not a concept shift, given the kinds of drift there are.

    Parameters
    ----------
    fall : float, default 0
        The fall of the accuracy that changed images allow for, as estimated without labels: errors that they explain
        say nothing about the labels' meaning.
    """
    if not {"covariate", "both"}.isdisjoint(kinds):
        return max(TOLERANCE_OF_CHANGED_IMAGES, fall)
    return TOLERANCE_OF_CHANGED_MIX if "label" in kinds else TOLERANCE
