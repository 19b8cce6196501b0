"""Clients that send predictions all the time and remember which were acknowledged."""

import threading
import time
from collections import Counter

import httpx

from tests.support.installation import Installation
from tidemark.demo.stages import Kind

PAUSE = 0.25  # seconds between a client's requests


class Load:
    """A client per model; each sends calm traffic until its shift is changed.

    Parameters
    ----------
    servers : tuple of str
        Names of the servers to send to, in turn.
    """

    def __init__(
        self, installation: Installation, servers: tuple[str, ...] = ("serve",), models: tuple[str, ...] = ("digits:1",)
    ) -> None:
        self.kinds: dict[str, Kind] = dict.fromkeys(models, "none")
        self.acknowledged: dict[str, list[str]] = {model: [] for model in models}
        self.statuses: Counter[int | str] = Counter()
        self.refused: list[httpx.Response] = []
        self._installation = installation
        self._servers = servers
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(model,), daemon=True) for model in models]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def ids(self) -> list[str]:
        """All ids that were acknowledged."""
        return [key for keys in self.acknowledged.values() for key in keys]

    def more(self, count: int) -> None:
        """Wait until so many more predictions were acknowledged."""
        target = len(self.ids) + count
        self._installation.until(lambda: len(self.ids) >= target, f"{count} more answers, got {self.statuses}")

    def _send(self, model: str) -> None:
        clients = [self._installation.client(name) for name in self._servers]
        turn = 0
        while not self._stopping.is_set():
            turn += 1
            body = self._installation.assets.body(self.kinds[model], next(self._installation.numbers))
            try:
                answer = clients[turn % len(clients)].post(
                    "/predict",
                    params={"model": model},
                    content=body,
                    headers={"content-type": "application/json"},
                )
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
                time.sleep(PAUSE)
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                self.acknowledged[model] += [prediction["id"] for prediction in answer.json()["predictions"]]
            else:
                self.refused.append(answer)
            time.sleep(PAUSE)
