"""Groups of rare classes, so that a shift of their shares is seen although no single one has enough reference rows."""

import numpy as np

from .types import Float32Array, FloatArray

MIN_GROUP_ROWS = 30  # reference rows expected in a group: a rarer one's share is too uncertain to compare with
MAX_GROUPS = 128  # groups with alternatives of their own


def rare_class_groups(posterior: FloatArray) -> Float32Array:
    """Return the membership (k, groups) of each class in one group, or in none where all classes are too rare.

    A class with at least 30 expected rows is a group of its own. The rarest group is joined with the one that the
    model confuses it with most (the mean posterior of the one where the other is likely) until none is too rare; with
    more than 128 groups, further ones are joined in the same way.

    Parameters
    ----------
    posterior : float (n, k)
        Calibrated probabilities of the reference's rows.
    """
    rows = posterior.sum(axis=0)
    k = len(rows)
    confusion = posterior.T @ posterior
    np.fill_diagonal(confusion, -1)
    member = np.arange(k)
    alive = np.ones(k, dtype=bool)
    sizes = rows.copy()
    while True:
        groups = np.flatnonzero(alive)
        rarest = int(groups[sizes[groups].argmin()])
        if sizes[rarest] >= MIN_GROUP_ROWS and len(groups) <= MAX_GROUPS:
            break
        rare = alive & (sizes < MIN_GROUP_ROWS) if sizes[rarest] < MIN_GROUP_ROWS else alive.copy()
        rare[rarest] = False
        if not rare.any():  # the last rare class: it joins a group of others, if there is one
            rare = alive & (np.bincount(member, minlength=k) > 1)
            rare[rarest] = False
        if not rare.any():
            alive[rarest] = False
            break
        partners = np.flatnonzero(rare)
        partner = int(partners[confusion[rarest, partners].argmax()])
        confusion[partner] += confusion[rarest]
        confusion[:, partner] += confusion[:, rarest]
        confusion[partner, partner] = -1
        sizes[partner] += sizes[rarest]
        member[member == rarest] = partner
        alive[rarest] = False
    return np.asarray(member[:, None] == np.flatnonzero(alive), dtype=np.float32)
