"""Image properties of traffic in which some predictions have none, for another server made them."""

import numpy as np
from numpy.typing import NDArray

from ..drift import Reference
from ..store.predictions import Batch


def filled(reference: Reference, batch: Batch) -> NDArray[np.float32] | None:
    """Return a batch's properties (m, p), None where the reference has none.

    A prediction without properties gets those of a row of the reference that its id picks, always the same one: so it
    says nothing of the images, and calm traffic stays as calm as it is.
    """
    if reference.properties is None:
        return None
    rows = np.array([key.int % len(reference) for key in batch.ids])
    drawn = reference.properties[rows]
    return drawn if batch.measured is None else np.where(np.isnan(batch.measured), drawn, batch.measured)
