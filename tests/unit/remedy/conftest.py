"""Remedies, with short bootstraps."""

from collections.abc import Iterator

import pytest

from tidemark.remedy import paired_bootstrap
from tidemark.remedy.label_shift import cross_fitting

RESAMPLES = 400  # bootstrap samples, a fifth of the usual ones: the ends of an interval vary by a tenth of its width


@pytest.fixture(scope="module", autouse=True)
def _brief_bootstraps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (paired_bootstrap, cross_fitting):
            patched.setattr(module, "RESAMPLES", RESAMPLES)
        yield
