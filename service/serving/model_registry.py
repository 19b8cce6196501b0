"""The models of this server: those that answer, the first being the default, and those that it only knows."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..api.endpoints.metrics import ModelMetrics
from ..api.problems import Problem
from ..inference.bundle import AnyBundle, Bundle
from ..inference.predictor import Predictor
from .prediction_logger import Kept
from .shadow import Shadow


@dataclass(frozen=True)
class Known:
    """A model whose predictions this server logs: it answers, runs in shadow, or is served elsewhere."""

    bundle: AnyBundle
    model_id: int  # of its row in Postgres
    metrics: ModelMetrics

    @property
    def name(self) -> str:
        """The model as `name:version`."""
        return f"{self.bundle.name}:{self.bundle.version}"


@dataclass(frozen=True)
class Served(Known):
    """A model that answers, with what does it."""

    bundle: Bundle
    predictor: Predictor[Kept]
    corrected: bool = False  # whether answers are corrected for other class proportions
    shadows: tuple[Shadow, ...] = ()  # what is shown the images that it answers


class ServedModels:
    """The models of this server in the order of the command line; at least one."""

    def __init__(self, models: Sequence[Known]) -> None:
        self.all = tuple(models)
        self.answering = tuple(model for model in models if isinstance(model, Served))
        self.shadows = tuple(shadow for model in self.answering for shadow in model.shadows)

    def find(self, name: str, version: str | None = None) -> Known:
        """Return the model called `name` or `name:version`: the first of several versions.

        Raises
        ------
        Problem
            404: it is not known here.
        """
        wanted = named(name if version is None else f"{name}:{version}")
        for model in self.all:
            if wanted in (model.name, model.bundle.name):
                return model
        raise Problem(404, f"no model {wanted}, this server has {', '.join(model.name for model in self.all)}")

    def served(self, name: str | None, version: str | None = None) -> Served:
        """Return the model called `name` or `name:version` that is to answer: the default for None.

        Raises
        ------
        Problem
            404: it is not known here, or does not answer.
        """
        wanted = name if name is None else named(name if version is None else f"{name}:{version}")
        for model in self.answering:
            if wanted in (None, model.name, model.bundle.name):
                return model
        found = self.all[0] if name is None else self.find(name, version)
        if isinstance(found.bundle, Bundle):
            raise Problem(404, f"{found.name} runs in shadow: it is shown the default model's images, and answers none")
        raise Problem(404, f"{found.name} is served elsewhere: send what it answers there to POST /observe")

    def versions(self, name: str) -> list[Served]:
        """Return the models that answer and share a name."""
        return [served for served in self.answering if served.bundle.name == name]


def named(text: str) -> str:
    """Return a model's or stream's name as a query brought it: a `+` that was not escaped arrives as a space, which
    no name holds."""
    return text.replace(" ", "+")
