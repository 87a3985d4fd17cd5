"""The Chromium of this machine, driven by Playwright: used as a person uses it.

Whatever a page says to its console, throws, asks for or pops up is written down, for tests to look at.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Dialog, Error, Page, Request, sync_playwright

from tests.programs import chromium

# What it asks for on its own account goes nowhere.
_FLAGS = ("--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
_LOOKED_AT = """hidden => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  Object.defineProperty(document, "visibilityState", {configurable: true, get: () => hidden ? "hidden" : "visible"});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
_ANSWER_S, _PATIENCE_S = 60.0, 30.0


@dataclass  # without slots: Playwright hangs something on the object whose methods listen
class Seen:
    """What a page did beside being shown. `asked` are addresses, `dialogs` their texts."""

    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def outside(self, origin: str) -> list[str]:
        """What was asked of anybody else."""
        return [url for url in self.asked if f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" != origin]

    def hear(self, page: Page) -> None:
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.on("dialog", self._dialog)

    def _told(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.asked.append(request.url)

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


class Tab:
    """One page. Its methods wait for what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.seen = Seen()
        self.seen.hear(page)

    # --- what a person does

    def open(self, url: str) -> None:
        self._page.goto(url)

    def key(self, name: str) -> None:
        """By the name a browser has for it; `Shift+Tab` for two at once."""
        self._page.keyboard.press(name)

    def type(self, text: str) -> None:
        self._page.keyboard.insert_text(text)

    def click(self, selector: str) -> None:
        """In the middle of the first element that is so, as soon as nothing lies over it."""
        self._page.locator(selector).first.click()

    def click_at(self, x: float, y: float) -> None:
        self._page.mouse.click(x, y)

    def beside(self, url: str) -> "Tab":
        """Another of the same window, in front of this one."""
        with self._page.expect_popup() as opened:
            self._page.evaluate("url => void open(url)", url)
        return Tab(opened.value)

    def seen_by_nobody(self, yes: bool = True) -> None:
        """As if another tab lay over it. Playwright has every page believe that it is looked at."""
        self._page.evaluate(_LOOKED_AT, yes)

    def looks(self, *, dark: bool = False, calm: bool = False) -> None:
        """As for a reader who wants it dark, or nothing to move."""
        self._page.emulate_media(
            color_scheme="dark" if dark else "light", reduced_motion="reduce" if calm else "no-preference"
        )

    def size(self, width: int, height: int) -> None:
        self._page.set_viewport_size({"width": width, "height": height})

    def picture(self, path: Path) -> None:
        self._page.screenshot(path=path)

    # --- what a person sees

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        return self._page.evaluate(expression)

    def until(self, expression: str, patience_s: float = _PATIENCE_S) -> Any:
        """Waits until an expression has a value that is true here too, and returns it."""
        deadline = time.monotonic() + patience_s
        while True:
            if value := self._value(expression):
                return value
            assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {expression}\n{self.text()[:2000]}"
            self._page.wait_for_timeout(50)  # what happens on the page meanwhile is heard

    def _value(self, expression: str) -> Any:
        try:
            return self.js(expression)
        except Error:  # what it asks about is not there yet, or the page has just given way to another
            return None

    def text(self, selector: str = "body") -> str:
        """What is shown there, as a person reads it."""
        return str(self._page.evaluate("selector => document.querySelector(selector)?.innerText ?? ''", selector))


@contextmanager
def browsing(width: int = 1280, height: int = 800) -> Iterator[Tab]:
    """A fresh browser with one page, until the end of the block."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=_FLAGS, chromium_sandbox=False)
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(_ANSWER_S * 1000)
        try:
            yield Tab(context.new_page())
        finally:
            browser.close()
