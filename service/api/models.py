"""The models of this server: the first is the default, any is found by name or `name:version`."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.api.kept import Kept
from service.api.metrics import ModelMetrics
from service.api.problems import Problem
from service.inference.bundle import Bundle
from service.inference.predictor import Predictor


@dataclass(frozen=True)
class Served:
    """A model of this server, with what answers and counts for it."""

    bundle: Bundle
    model_id: int  # of its row in Postgres
    predictor: Predictor[Kept]
    metrics: ModelMetrics
    corrected: bool = False  # whether answers are corrected for other class proportions

    @property
    def name(self) -> str:
        """The model as `name:version`."""
        return f"{self.bundle.name}:{self.bundle.version}"


class ServedModels:
    """The models of this server in the order of the command line; at least one."""

    def __init__(self, models: Sequence[Served]) -> None:
        self.all = tuple(models)
        self.default = self.all[0]

    def find(self, name: str | None, version: str | None = None) -> Served:
        """Return the model called `name` or `name:version`: the default for None, the first of several versions.

        Raises
        ------
        Problem
            404: it is not served here.
        """
        if name is None:
            return self.default
        wanted = name if version is None else f"{name}:{version}"
        for served in self.all:
            if wanted in (served.name, served.bundle.name):
                return served
        raise Problem(404, f"no model {wanted}, this server has {', '.join(served.name for served in self.all)}")

    def versions(self, name: str) -> list[Served]:
        """Return the models that share a name."""
        return [served for served in self.all if served.bundle.name == name]
