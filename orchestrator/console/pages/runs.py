"""All runs, one run live, and steering it."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db import browse, gauges, minutes, verdicts, workers
from db.changes import endpoints_now
from db.errors import ConfigError
from db.records import Run
from orchestrator import steering
from orchestrator.begin import ENDED
from orchestrator.changing import change
from orchestrator.console import chart, figures, limits
from orchestrator.console.live import Parts, stream
from orchestrator.console.page import Pager, render
from orchestrator.console.pages.common import asked, form_of, fresh, reading, run_of, then, writing
from orchestrator.report.text import visible
from orchestrator.status import light_status, status_of

_RUNS_A_PAGE = 25
# How far back the chart reaches, in minutes; 0 is the whole run.
SPANS = {"1h": 60, "6h": 360, "all": 0}
_LATELY = timedelta(minutes=10)
PARTS = ("state", "progress", "tiles", "chart", "queues", "reasons", "workers", "usage")


def all_runs(request: Request) -> Response:
    words = asked(request, "q")
    pager = Pager(request, _RUNS_A_PAGE)
    with reading(request) as connection:
        pager.total = browse.runs_counted(connection, words)
        lines = _lines(connection, words, pager)
    return render(request, "runs.html.j2", {"lines": lines, "pager": pager, "words": words})


def all_runs_live(request: Request) -> Response:
    words = asked(request, "q")
    pager = Pager(request, _RUNS_A_PAGE)

    def look() -> Parts:
        with reading(request) as connection:
            lines = _lines(connection, words, pager)
        return {"runs": _part(request, "runs", {"lines": lines})}

    return stream(request, lambda: fresh(request).get(f"runs {words} {pager.number}", look))


def _lines(connection: Connection, words: str, pager: Pager) -> list[dict[str, Any]]:
    found = browse.runs_page(connection, words, browse.Page(skip=pager.skip, size=pager.size))
    paid = browse.paid_lately(connection, [run.id for run in found], 60.0)
    return [_line(connection, run, paid.get(run.id)) for run in found]


def _line(connection: Connection, run: Run, paid: browse.Paid | None) -> dict[str, Any]:
    """A run in the list. Its whole status is counted only while it goes."""
    status = status_of(connection, run) if run.status == "running" else light_status(connection, run)
    now = gauges.now(connection)
    rows = minutes.of_run(connection, run.id, after=now - _LATELY) if run.status == "running" else []
    seen = figures.Reading(run=run, status=status, now=now, minutes=rows)
    return {
        "run": run,
        "left": figures.time_left(seen),
        "progress": figures.progress_of(status),
        "status": status,
        "calls_per_s": paid.calls / 60.0 if paid and run.status == "running" else 0.0,
        "priced": _priced(run),
    }


def _priced(run: Run) -> bool:
    """Whether every endpoint of the run has prices, so that what was summed is what was spent."""
    prices = ("usd_per_million_in", "usd_per_million_out")
    return all(one.get(price) is not None for one in endpoints_now(run).values() for price in prices)


def one_run(request: Request) -> Response:
    return _run_page(request)


def _run_page(request: Request, trouble: str = "", status: int = 200) -> Response:
    with reading(request) as connection:
        run = run_of(connection, request)
        context = _context(connection, run, _span(request))
    return render(request, "run.html.j2", {**context, "parts": PARTS, "trouble": trouble}, status)


def one_run_live(request: Request) -> Response:
    """The parts of the page of a run, its title, and its status by which it can be steered."""
    name, span = request.path_params["name"], _span(request)

    def look() -> Parts:
        with reading(request) as connection:
            context = _context(connection, run_of(connection, request), span)
        parts = {part: _part(request, part, context) for part in PARTS}
        return {**parts, "title": _title(context), "steerable": context["run"].status}

    return stream(request, lambda: fresh(request).get(f"run {name} {span}", look))


def _part(request: Request, part: str, context: dict[str, Any]) -> str:
    jinja = request.app.state.jinja
    text: str = jinja.get_template(f"parts/{part}.html.j2").render(context)
    return text.encode("utf-8", "replace").decode()


def _title(context: dict[str, Any]) -> str:
    share, status = context["progress"].share, context["status"]["status"]
    how = status if status != "running" or share is None else f"{share:.0%}"
    return visible(f"{how} · {context['run'].name}")


def _span(request: Request) -> str:
    wanted = asked(request, "span")
    return wanted if wanted in SPANS else "1h"


def _context(connection: Connection, run: Run, span: str) -> dict[str, Any]:
    now = run.finished_at or gauges.now(connection)
    start = max(run.created_at, now - timedelta(minutes=SPANS[span])) if SPANS[span] else run.created_at
    rows = minutes.of_run(connection, run.id, after=min(start, now - _LATELY))
    said = verdicts.counts(connection, run.id)
    reading_of = figures.Reading(
        run=run,
        status=status_of(connection, run),
        now=now,
        minutes=rows,
        paid=browse.paid_lately(connection, [run.id], figures.PAID_WINDOW_S).get(run.id),
        processes=browse.processes(connection),
        dropped=said["dropped"],
        kept=said["kept"],
    )
    return {
        "run": run,
        "status": reading_of.status,
        "now": now,
        "health": figures.health_of(reading_of),
        "progress": figures.progress_of(reading_of.status),
        "phases": figures.phases(reading_of.status),
        "left": figures.time_left(reading_of),
        "per_hour": figures.per_hour(reading_of),
        "caps": figures.cap_lines(run),
        "chart": chart.throughput(rows, start, now),
        "span": span,
        "spans": tuple(SPANS),
        "queues": figures.queue_lines(reading_of.status, [row for row in rows if row.minute >= now - _LATELY]),
        "reasons": figures.reason_lines(reading_of.status),
        "reading": reading_of,
        "open": run.status not in ENDED,
        "groups": limits.groups_of(run) if run.status not in ENDED else [],
    }


_STEER = {
    "pause": (steering.pause, "paused"),
    "resume": (steering.resume, "resumed"),
    "cancel": (steering.cancel, "cancelled"),
}


def steer(request: Request) -> Response:
    """Pauses, resumes or cancels the run. One that has ended meanwhile is shown with that."""
    name, wanted = request.path_params["name"], form_of(request).get("action", "")
    if wanted not in _STEER:
        raise HTTPException(400, "there is no such action")
    act, said = _STEER[wanted]
    try:
        with writing(request) as connection:
            run_of(connection, request)
            act(connection, name)
    except ConfigError as error:
        return _run_page(request, str(error), 409)
    return _changed(request, said)


def _changed(request: Request, said: str) -> Response:
    name = request.path_params["name"]
    for span in SPANS:
        fresh(request).forget(f"run {name} {span}")
    return then(f"/runs/{name}", said)


def set_limits(request: Request) -> Response:
    """Changes caps, limits and prices, all or nothing."""
    try:
        wanted = limits.wanted_in(form_of(request))
        with writing(request) as connection:
            made = change(connection, run_of(connection, request), wanted) if wanted else ()
    except ConfigError as error:
        return _run_page(request, str(error), 422)
    return _changed(request, "changed" if made else "unchanged")


def set_slots(request: Request) -> Response:
    """Changes how many tasks the living workers of a host, or of all hosts, take at once."""
    host = form_of(request).get("host", "")
    try:
        slots = limits.slots_in(form_of(request), workers.MOST_SLOTS)
    except ConfigError as error:
        return _run_page(request, str(error), 422)
    with writing(request) as connection:
        found = workers.alive(connection, hosts=[host] if host else ())
        workers.want_slots(connection, [one.id for one in found], slots)
    return _changed(request, "slots" if found else "unchanged")
