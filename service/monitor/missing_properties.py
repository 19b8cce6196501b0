"""Image properties of traffic in which some predictions have none, because another server made them."""

import numpy as np
from numpy.typing import NDArray

from ..drift import Reference


def fill_missing(
    reference: Reference, ids: NDArray[np.uint8], properties: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """Return the properties (m, p) of predictions, None if the reference has none.

    A prediction without properties gets those of a row of the reference that its id picks, always the same one: so it
    says nothing of the images, and calm traffic stays as calm as it is.

    Parameters
    ----------
    ids : uint8 (m, 16)
        The ids of the predictions as bytes.
    properties : float32 (m, p), optional
        NaN in the rows of predictions without; None if no prediction has any.
    """
    if reference.properties is None:
        return None
    p = reference.properties.shape[1]
    complete = np.full((len(ids), p), np.nan, np.float32)
    if properties is not None and properties.shape[1] == p:
        complete[:] = properties
    for row in np.flatnonzero(np.isnan(complete).any(axis=1)):
        drawn = reference.properties[int.from_bytes(ids[row].tobytes(), "big") % len(reference)]
        complete[row] = np.where(np.isnan(complete[row]), drawn, complete[row])
    return complete
