"""`tidemark demo`: runs the script against a real installation and checks that each shift is detected and named."""

import base64
import io
import secrets
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypedDict

import httpx
import numpy as np
from PIL import Image

from ..polling import wait_until
from .installation import installation
from .receiver import Receiver
from .scans import halves
from .screen import Screen, StreamProgress
from .stages import STAGES, Stage, StageOutcome, StageOutcomeJson, Traffic

BATCH = 20  # predictions between two requests for the drift state
RATE = 150.0  # predictions that are sent in a second
CLIENTS = 4  # threads that send images
SETTLE_SECONDS = 20.0  # longest wait for the monitor to catch up, and for a delivery to arrive
CALM_SECONDS = 1.0  # wait for a delivery that a calm stage must not cause
PAUSE = 0.1  # seconds between two checks of a state
SETTINGS = {
    "TIDEMARK_WINDOW_SIZE": "200",
    "TIDEMARK_EXPECTED_RUN_TIME": "100000",
    "TIDEMARK_MONITOR_POLL": "0.2",
    "TIDEMARK_RESOLVE_AFTER": "3",
    "TIDEMARK_SHUTDOWN_GRACE": "0",
    "TIDEMARK_THUMBNAILS": "true",
}


class OutcomeJson(TypedDict):
    """The printed content of `tidemark demo --once --json`."""

    ok: bool
    stages: list[StageOutcomeJson]


@dataclass
class Outcome:
    """The outcomes of all stages."""

    stages: list[StageOutcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return len(self.stages) == len(STAGES) and all(result.ok for result in self.stages)

    def to_dict(self) -> OutcomeJson:
        return {"ok": self.ok, "stages": [result.to_dict() for result in self.stages]}


def run(port: int, once: bool, seed: int, quiet: bool) -> Outcome:
    """Play the script; then end, or keep the pages up until Ctrl-C."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    receiver = Receiver(secret)
    _, held_out = halves()
    traffic = Traffic(held_out, np.random.default_rng([seed, 2]))
    settings = SETTINGS | {"TIDEMARK_WEBHOOK_URLS": receiver.url, "TIDEMARK_WEBHOOK_SECRET": secret}
    settings["TIDEMARK_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    outcome = Outcome()
    with Screen(quiet) as screen:
        screen.write("building the reference and starting the service")
        with installation(port, held_out, seed, settings) as client:
            screen.write(f"serving on http://127.0.0.1:{port}")
            script = _Script(client, receiver, traffic, screen.progress)
            for stage in STAGES:
                screen.stage(stage)
                result = script.play(stage)
                outcome.stages.append(result)
                screen.outcome(result)
            screen.verdict(outcome.ok, receiver.received)
            if not once:
                screen.write(f"the pages stay up at http://127.0.0.1:{port} until Ctrl-C")
                _wait_for_interrupt()
    return outcome


class _Script:
    def __init__(
        self,
        client: httpx.Client,
        receiver: Receiver,
        traffic: Traffic,
        progress: Callable[[Stage, int, StreamProgress], None],
    ) -> None:
        self._client = client
        self._receiver = receiver
        self._traffic = traffic
        self._progress = progress
        self._sent = 0

    def play(self, stage: Stage) -> StageOutcome:
        """Send a stage's traffic: a planted shift until it is detected, calm in full and until all is resolved."""
        webhooks_before, planted_at = len(self._receiver.received), self._sent
        planted = stage.kind != "none"
        while self._sent - planted_at < stage.predictions or (not planted and self._drifting(planted_at, stage)):
            self._send(stage)
            self._catch_up(wait=False)
            self._progress(stage, self._sent - planted_at, self._state())
            if planted and self._receiver.firing(webhooks_before):
                break
        self._catch_up(wait=True)
        return self._outcome(stage, webhooks_before, planted_at)

    def _outcome(self, stage: Stage, webhooks_before: int, planted_at: int) -> StageOutcome:
        seconds = SETTLE_SECONDS if stage.kind != "none" else CALM_SECONDS
        wait_until(lambda: bool(self._receiver.firing(webhooks_before)), seconds, PAUSE)
        firing = self._receiver.firing(webhooks_before)
        result = StageOutcome(stage, alerts=len(firing))
        if firing:
            data = firing[0].body["data"]
            alert = self._client.get(f"/alerts/{data['alert_id']}").json()
            result.kind, result.summary = data["kind"], data["summary"]
            first_alarm = alert["position"] - planted_at  # before the stage if an earlier incident opened again
            result.predictions = first_alarm if first_alarm > 0 else self._sent - planted_at
        return result

    def _send(self, stage: Stage) -> None:
        started = time.monotonic()
        images, labels = self._traffic.draw(stage.kind, BATCH)
        with ThreadPoolExecutor(CLIENTS) as pool:
            ids = list(pool.map(self._predict, images))
        self._sent += BATCH
        labelled = self._traffic.rng.random(BATCH) < stage.feedback
        items = [
            {"id": key, "label": str(label)} for key, label, back in zip(ids, labels, labelled, strict=True) if back
        ]
        if items:
            self._client.post("/feedback", json={"items": items}).raise_for_status()
        time.sleep(max(0.0, BATCH / RATE - (time.monotonic() - started)))

    def _predict(self, pixels: Any) -> str:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        response = self._client.post("/predict", content=buffer.getvalue(), headers={"content-type": "image/png"})
        response.raise_for_status()
        return str(response.json()["predictions"][0]["id"])

    def _state(self) -> StreamProgress:
        streams: list[StreamProgress] = self._client.get("/drift").json()["streams"]
        return streams[0] if streams else {}

    def _drifting(self, planted_at: int, stage: Stage) -> bool:
        return self._state().get("state") == "drifting" and self._sent - planted_at < 3 * stage.predictions

    def _catch_up(self, wait: bool) -> None:
        """Let the monitor keep pace, so that predictions until the alarm are counted fairly."""
        allowed = 0 if wait else 3 * BATCH
        wait_until(lambda: self._sent - self._state().get("predictions", 0) <= allowed, SETTLE_SECONDS, PAUSE)


def _wait_for_interrupt() -> None:
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    interrupted.wait()
