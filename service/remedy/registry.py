"""The remedies that there are: each one's name, the shifts that it is chosen for, why, and what makes it."""

from collections.abc import Callable
from dataclasses import dataclass

from service.remedy.context import Context
from service.remedy.outcome import Remedy


@dataclass(frozen=True, slots=True)
class Cure:
    """A remedy that can be asked for by name; cheaper ones come first."""

    name: str
    kinds: frozenset[str]  # of "label", "covariate" and "concept": found shifts that it is chosen for
    why: str  # what it does about them, as a clause after "because"
    make: Callable[[Context], Remedy]  # raises Unfit where it lacks what it needs


CURES: tuple[Cure, ...] = ()
