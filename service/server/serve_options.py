"""Options of `tidemark serve`: models and address, and how its worker processes receive them."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..settings import Settings

VARIABLE = "TIDEMARK_SERVE_OPTIONS"  # environment variable that carries the options to worker processes, as JSON


@dataclass(frozen=True)
class ServeOptions:
    """The options of `tidemark serve`.

    Attributes
    ----------
    bundles : tuple of Path
        Folders of the models; the first that answers is the default.
    host, port : str
        Address to listen on.
    workers : int
        Number of server processes.
    priors : tuple of Path
        Files of class proportions that answers are corrected for.
    shadows : tuple of Path
        Folders of models that receive the default model's images and do not answer.
    grpc_port : int or None
        Port of the Open Inference Protocol over gRPC; None: it is not served.
    """

    bundles: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    priors: tuple[Path, ...] = ()
    shadows: tuple[Path, ...] = ()
    grpc_port: int | None = None

    def completed(self, settings: Settings) -> "ServeOptions":
        """Return these options with what the settings say where the command line says nothing."""
        return replace(self, grpc_port=self.grpc_port or settings.grpc_port)

    def arguments(self) -> list[str]:
        """Return the command line of `tidemark` that has these options."""
        arguments = ["serve", "--host", self.host, "--port", str(self.port), "--workers", str(self.workers)]
        for option, paths in (
            ("--bundle", self.bundles),
            ("--shadow", self.shadows),
            ("--correct-priors", self.priors),
        ):
            for path in paths:
                arguments += [option, str(path)]
        if self.grpc_port is not None:
            arguments += ["--grpc-port", str(self.grpc_port)]
        return arguments

    def export(self) -> None:
        """Write the options into the environment, for worker processes."""
        os.environ[VARIABLE] = json.dumps(asdict(self), default=str)

    @classmethod
    def from_environment(cls) -> "ServeOptions":
        """Return the options that the process which started this one has exported."""
        values = json.loads(os.environ[VARIABLE])
        for name in ("bundles", "priors", "shadows"):
            values[name] = tuple(Path(path) for path in values[name])
        return cls(**values)
