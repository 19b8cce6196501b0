"""A headless Chromium, driven over the DevTools protocol."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from websockets.sync.client import ClientConnection, connect

from tests.support.wait import PATIENCE, until

SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
KEYS = {"Backspace": 8, "Tab": 9, "Enter": 13, ".": 190}  # codes of keys that are neither letters nor digits


@contextmanager
def chromium(program: str, folder: Path) -> Iterator["Page"]:
    """Start a browser with a profile of its own and yield its one page."""
    command = [
        program,
        *SWITCHES,
        "--remote-debugging-port=0",
        "--no-first-run",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, path = _address(process, folder / "DevToolsActivePort")
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait()


class Page:
    """A tab: where it goes, what it shows, and what it complained of or asked for on the way."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session: str | None = None
        self._count = 0
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def show(self, width: int, scheme: Literal["light", "dark"]) -> None:
        """Take on a width and a colour scheme."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Go to an address and wait until it has loaded."""
        self._events.clear()
        self._call("Page.navigate", url=url)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def follow(self, selector: str) -> None:
        """Click on a link and wait for its page."""
        self.leave(f"document.querySelector({json.dumps(selector)}).click()")

    def leave(self, script: str) -> None:
        """Run what leads to another page and wait for that."""
        self.run("window.stays = true")
        self.run(script)
        self.until("!window.stays && document.readyState == 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        until(lambda: self._settled(script), script)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key) or ord(key.upper())}
        self._call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **named)

    def offline(self, enabled: bool) -> None:
        """Cut or restore the network."""
        self._call(
            "Network.emulateNetworkConditions",
            offline=enabled,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        image = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(image["data"]))

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings since the page was opened: the script's, the console's and the browser's."""
        self.run("0")
        messages = []
        for event in self._events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                messages.append(str(parameters["exceptionDetails"].get("text")))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
                messages.append(str(parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                messages.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return messages

    @property
    def requested(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        self.run("0")
        return [e["params"]["request"]["url"] for e in self._events if e["method"] == "Network.requestWillBeSent"]

    def _settled(self, script: str) -> bool:
        """Evaluate while a page may be going away under the expression."""
        try:
            answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        except ProtocolError:
            return False
        return bool(answer["result"].get("value"))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, object] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") != self._count:
                self._events.append(answer)
            elif "error" in answer:
                raise ProtocolError(f"{method}: {answer['error']}")
            else:
                return dict(answer["result"])


class ProtocolError(Exception):
    """The browser refused a command."""


def _address(process: subprocess.Popen[bytes], path: Path) -> tuple[str, str]:
    """Return port and path of the DevTools, which the browser writes into its profile."""

    def lines() -> list[str]:
        assert process.poll() is None, "Chromium did not start"
        return path.read_text().splitlines() if path.exists() else []

    until(lambda: len(lines()) == 2, "Chromium")
    port, target = lines()
    return port, target
