"""Filling in the pages. Every text goes through the report's environment: escaped, nothing in it invisible."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse

from orchestrator.console.figures import Left, is_silent, level
from orchestrator.console.limits import typed, whole_in
from orchestrator.report import frame, wording
from workers.config import NUSD_PER_USD

Context = Mapping[str, Any]
_MOST_PAGES = 1_000_000


def environment() -> Environment:
    found = frame.environment("orchestrator.console")
    found.filters.update({one.__name__: one for one in (clock, usd, compact, level, ago, span, typed, tenth)})
    found.filters["moment_of"] = datetime.fromisoformat
    found.tests["silent"] = is_silent
    found.globals["version"] = _version()
    return found


def _version() -> str:
    """Differs when an asset does, so that no browser keeps an old one."""
    folder = files("orchestrator.console") / "static"
    contents = b"".join(item.read_bytes() for item in sorted(folder.iterdir(), key=lambda item: item.name))
    return sha256(contents).hexdigest()[:10]


def clock(when: datetime | None, form: str = "time") -> Markup | str:
    """A time that the browser shows in its own zone: `time` of day, `day` and time, or `exact` with seconds."""
    if when is None:
        return wording.NONE
    utc = when.astimezone(UTC)
    shown = {"time": f"{utc:%H:%M}", "exact": f"{utc:%H:%M:%S}"}.get(form, f"{utc.day} {utc:%b %H:%M}")
    return Markup('<time datetime="{}" data-form="{}">{} UTC</time>').format(utc.isoformat(), form, shown)


def usd(value: float | None) -> str:
    """Dollars as the report says them."""
    return "price unknown" if value is None else wording.dollars(round(value * NUSD_PER_USD))


def compact(value: float | None) -> str:
    """A large number in three digits: 12,345 stays, 1,234,567 is 1.23 M."""
    if value is None:
        return wording.NONE
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e5)):
        if abs(value) >= size:
            divided = value / (1e3 if unit == "k" else size)
            return f"{divided:.3g} {unit}" if divided < 1000 else f"{divided:,.0f} {unit}"
    return f"{value:,.0f}"


def tenth(value: float | None) -> str:
    """A rate: one digit behind the point while it is small."""
    return wording.NONE if value is None else wording.number(value, 0 if value >= 100 else 1)


def span(left: Left) -> str:
    """A range of time in one unit: 16–23 min."""
    low, high = left.low, left.high
    for unit, size, digits in (("h", 3600.0, 1), ("min", 60.0, 0)):
        if high >= 2 * size:
            ends = [f"{value / size:.{digits if value < 9.5 * size else 0}f}" for value in (low, high)]
            return f"{ends[0]} {unit}" if ends[0] == ends[1] else f"{ends[0]}–{ends[1]} {unit}"
    return f"{low:.0f}–{high:.0f} s"


def ago(seconds: float) -> str:
    return "just now" if seconds < 3 else f"{wording.duration(round(seconds))} ago"


def render(request: Request, template: str, context: Context, status: int = 200) -> HTMLResponse:
    """A page, or a part of one."""
    jinja: Environment = request.app.state.jinja
    text = jinja.get_template(template).render({**frame_of(request), **context})
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def frame_of(request: Request) -> Context:
    """What every template may use."""
    return {
        "stamp": getattr(request.state, "stamp", ""),
        "inside": request.state.session is not None,
        "path": request.url.path,
        "said": _SAID.get(request.query_params.get("said", "")),
    }


# What a page says after a form was sent; the address names it, so nothing can be put into its mouth.
_SAID = {
    "paused": "The run is paused: nothing new is asked, what is in hand is finished and kept.",
    "resumed": "The run goes on.",
    "cancelled": "The run is cancelled. What it has grown stays.",
    "changed": "The limits are changed, on all machines.",
    "slots": "The workers take so many tasks at once from their next beat on.",
    "unchanged": "Nothing was different.",
    "kept": "Kept. The data set is written anew by the next export.",
    "dropped": "Dropped. The data set is written anew by the next export.",
}


def with_query(url: URL, **values: object) -> str:
    """The same page with other values; an empty one is left out."""
    changed = url.include_query_params(**values)
    for name, value in values.items():
        if value in ("", None):
            changed = changed.remove_query_params(name)
    changed = changed.remove_query_params("said")
    return changed.path + (f"?{changed.query}" if changed.query else "")


class Pager:
    """The pages of a list: which one is shown, and the ways to its neighbours."""

    def __init__(self, request: Request, size: int) -> None:
        self.number = whole_in(request.query_params.get("page", ""), _MOST_PAGES) or 1
        self.size = size
        self.total = 0
        self._url = request.url

    @property
    def skip(self) -> int:
        return (self.number - 1) * self.size

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.size))

    def to(self, number: int) -> str:
        return with_query(self._url, page="" if number == 1 else number)
