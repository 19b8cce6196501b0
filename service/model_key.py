"""The name of a model with its version."""

from typing import NamedTuple, Self


class ModelKey(NamedTuple):
    """A model and its version, written `name:version`."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key that is written as `name:version`; neither part holds a colon."""
        name, _, version = text.partition(":")
        return cls(name, version)

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"
