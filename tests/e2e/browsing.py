"""A real Chromium, spoken to by its DevTools protocol over a websocket: used as a person uses it.

Whatever a page says to its console, throws, asks for or pops up is written down, for tests to look at.
"""

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

T = TypeVar("T")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = "INSTRUCTREE_REQUIRE_BROWSER"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what it asks for on its own account goes nowhere
)
_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "Space": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
_ANSWER_S, _PATIENCE_S = 60.0, 30.0


@dataclass(slots=True)
class Seen:
    """What a page did beside being shown. `asked` are addresses, `dialogs` their texts."""

    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def outside(self, origin: str) -> list[str]:
        """What was asked of anybody else."""
        return [url for url in self.asked if f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" != origin]


class Tab:
    """One page. Its methods wait for what they do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket = loop, socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.seen = Seen()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._done(self._call(method, parameters))

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    async def _call(self, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await waiting
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        found: dict[str, Any] = answer["result"]
        return found

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if (waiting := self._waiting.pop(told.get("id", 0), None)) is not None:
                waiting.set_result(told)
            elif "method" in told:
                await self._hear(told["method"], told["params"])

    async def _hear(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.seen.errors.append(json.dumps(told["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.seen.errors.append(json.dumps(told["args"])[:500])
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.seen.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.seen.asked.append(told["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.seen.dialogs.append(told["message"])
            task = asyncio.ensure_future(self._call("Page.handleJavaScriptDialog", {"accept": False}))
            task.add_done_callback(lambda done: done.exception())

    # --- what a person does

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{expression}: {json.dumps(found['exceptionDetails'])[:600]}"
        return found["result"].get("value")

    def until(self, expression: str, patience_s: float = _PATIENCE_S) -> Any:
        """Waits until an expression has a value that is true here too, and returns it."""
        deadline = time.monotonic() + patience_s
        while True:
            found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            if value := found["result"].get("value"):
                return value
            assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {expression}\n{self.text()[:2000]}"
            time.sleep(0.05)

    def text(self, selector: str = "body") -> str:
        """What is shown there, as a person reads it."""
        return str(self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def key(self, name: str, *, shift: bool = False) -> None:
        code, text = _KEYS[name]
        key = " " if name == "Space" else name
        common = {"key": key, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """In the middle of the first element that is so."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{place}.scrollIntoView({{block: 'center'}})")
        box = self.js(f"{place}.getBoundingClientRect().toJSON()")
        self.click_at(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def click_at(self, x: float, y: float) -> None:
        for what in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, button="left", clickCount=1)

    def looks(self, *, dark: bool = False, calm: bool = False) -> None:
        """As for a reader who wants it dark, or nothing to move."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browsing(width: int = 1280, height: int = 800) -> Iterator[Tab]:
    """A fresh browser with one page, until the end of the block."""
    assert BROWSER is not None
    profile = Path(tempfile.mkdtemp(prefix="instructree-test-browser-"))
    command = [BROWSER, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    environment = {**os.environ, "HOME": str(profile)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            opened = asyncio.run_coroutine_threadsafe(_open(loop, profile), loop).result(_ANSWER_S)
            session, tab, listening = opened
            try:
                for domain in ("Page", "Runtime", "Log", "Network"):
                    tab.call(f"{domain}.enable")
                tab.size(width, height)
                yield tab
            finally:
                asyncio.run_coroutine_threadsafe(_close(session, listening), loop).result(_ANSWER_S)
        finally:
            process.terminate()
            process.wait(20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()
            shutil.rmtree(profile, ignore_errors=True)


async def _open(
    loop: asyncio.AbstractEventLoop, profile: Path
) -> tuple[aiohttp.ClientSession, Tab, "asyncio.Task[None]"]:
    place = profile / "DevToolsActivePort"
    for _ in range(600):
        if place.exists() and place.read_text().count("\n"):
            break
        await asyncio.sleep(0.1)
    port = place.read_text().splitlines()[0]
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        page = next(one for one in await answer.json() if one["type"] == "page")
    socket = await session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
    tab = Tab(loop, socket)
    return session, tab, asyncio.ensure_future(tab.listen())


async def _close(session: aiohttp.ClientSession, listening: "asyncio.Task[None]") -> None:
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await session.close()
