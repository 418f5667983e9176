"""A headless Chromium for tests, spoken to over two pipes in its DevTools protocol: no port, no driver, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
#: Chromium reads commands from file descriptor 3 and writes answers to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """Path of a Chromium, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A browser with one page.

    events : all that it reported of the page: {"method": ..., "params": ...}.

    Raises
    ------
    TimeoutError : where it does not start or answer in time; RuntimeError : where it refuses a command or has ended.
    """

    def __init__(self, program: str, *, timeout: float = 60.0) -> None:
        self.events: list[dict[str, Any]] = []
        self._timeout, self._count, self._buffer, self._session = timeout, 0, b"", ""
        self._answers: dict[int, dict[str, Any]] = {}
        self._profile = tempfile.mkdtemp(prefix="browser-")
        theirs_in, self._commands = os.pipe()
        self._from_browser, theirs_out = os.pipe()
        # Numbers above 4, so that none is overwritten before it is copied to its place.
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        command = [program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-E", "-S", "-c", _START, *map(str, given), *command],
            pass_fds=given, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "HOME": self._profile},
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, *given):
            os.close(fd)
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        def a_page() -> str | None:
            targets = self.command("Target.getTargets")["targetInfos"]
            return next((target["targetId"] for target in targets if target["type"] == "page"), None)

        target = self.until(a_page)
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)  # else focus would depend on clicks before

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser that was started here, and nothing else; remove its profile."""
        with suppress(OSError, RuntimeError, TimeoutError):
            self._session, self._timeout = "", 5.0
            self.command("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        for fd in (self._commands, self._from_browser):
            with suppress(OSError):
                os.close(fd)
        shutil.rmtree(self._profile, ignore_errors=True)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its answer."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout
        while number not in self._answers:
            self._read(deadline, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self, deadline: float, what: str) -> None:
        """Take in what the browser tells next."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._from_browser], [], [], left)[0]:
            raise TimeoutError(f"the browser did not answer within {self._timeout:.0f} s: {what}")
        chunk = os.read(self._from_browser, 1 << 20)
        if not chunk:
            raise RuntimeError(f"the browser has ended: {what}")
        *messages, self._buffer = (self._buffer + chunk).split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)

    def until(self, ready: Callable[[], Any], timeout: float = 20.0) -> Any:
        """The first true value of `ready()`."""
        deadline = time.monotonic() + timeout
        while not (value := ready()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so within {timeout:.0f} s")
            time.sleep(0.02)
        return value

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, page: Path, *, width: int, height: int = 800, phone: bool = False, dark: bool = False) -> None:
        """Show a file at a size in CSS pixels, drawn anew."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=scheme)
        self.events.clear()
        self.command("Page.navigate", url=page.resolve().as_uri())
        self.until(lambda: any(event["method"] == "Page.loadEventFired" for event in self._fresh()), self._timeout)
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def _fresh(self) -> list[dict[str, Any]]:
        self.command("Runtime.evaluate", expression="0")  # whose answer comes after all earlier events
        return self.events

    def complaints(self) -> list[str]:
        """What the page wrote to the console, logged, or threw, since it was opened."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"])[:500] for event in self._fresh() if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since it was opened, data inside the page left out."""
        sent = [event["params"] for event in self._fresh() if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent if not each["request"]["url"].startswith("data:")]

    def mouse(self, kind: str, x: float, y: float) -> None:
        """ "move" to a place in the window, or "click" there."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if kind == "click":
            for event in ("mousePressed", "mouseReleased"):
                self.command("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)

    def tap(self, x: float, y: float) -> None:
        """A finger that touches a place in the window and leaves it."""
        self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        for event in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=event, key=key, code=key)

    def screenshot(self, whole: bool = False) -> bytes:
        """PNG of what the window shows, or of the whole page."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        answer = self.command("Page.printToPDF", printBackground=True, preferCSSPageSize=True, paperWidth=8.27,
                              paperHeight=11.69)  # fmt: skip
        return base64.b64decode(answer["data"])
