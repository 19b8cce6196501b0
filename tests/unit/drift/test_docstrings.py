"""The examples in the docstrings of the statistics run, and give what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import tidemark.drift

MODULES = sorted(module.name for module in pkgutil.iter_modules(tidemark.drift.__path__, "tidemark.drift."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    exported = {name: getattr(tidemark.drift, name) for name in tidemark.drift.__all__}
    failures, _ = doctest.testmod(module, extraglobs={"np": np} | exported)
    assert failures == 0


def test_result_types_that_users_hold_are_exported() -> None:
    for name in ("WindowReport", "Result", "LabelShift", "Performance", "PropertyShift", "Witness", "ClassMove"):
        assert name in tidemark.drift.__all__
    assert sorted(tidemark.drift.__all__) == tidemark.drift.__all__
    assert all(hasattr(tidemark.drift, name) for name in tidemark.drift.__all__)
