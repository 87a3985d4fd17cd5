"""The rows of a run: searched, filtered, told, and kept or dropped by hand."""

from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from db import browse, verdicts, views
from db.records import Run
from orchestrator.console import node
from orchestrator.console.page import Pager, render
from orchestrator.console.pages.common import asked, form_of, local_path, reading, run_of, then, writing
from orchestrator.report.text import visible

_ROWS_A_PAGE = 25
STATUSES = ("accepted", "rejected", "failed", "pending")
VERDICTS = ("keep", "drop", "none")
_LONGEST_REASON = 2000


def all_examples(request: Request) -> Response:
    sought, pager = _sought(request), Pager(request, _ROWS_A_PAGE)
    with reading(request) as connection:
        run = run_of(connection, request)
        pager.total = browse.examples_counted(connection, run.id, sought)
        lines = browse.examples_page(connection, run.id, sought, browse.Page(skip=pager.skip, size=pager.size))
        context: dict[str, Any] = {
            "counts": views.example_counts(connection, run.id),
            "said_counts": verdicts.counts(connection, run.id),
            "reasons": browse.example_reasons(connection, run.id),
            "operators": sorted(run.config.get("search", {}).get("operators") or ()),
        }
    choices = {"statuses": STATUSES, "verdicts": VERDICTS, "sorts": browse.SORTS}
    more = pager.total > browse.MOST_COUNTED
    context |= {"run": run, "lines": lines, "pager": pager, "sought": sought, "more": more, **choices}
    return render(request, "examples.html.j2", context)


def _sought(request: Request) -> browse.Sought:
    sort = asked(request, "sort")
    return browse.Sought(
        words=asked(request, "q"),
        status=asked(request, "status"),
        reason=asked(request, "reason"),
        operator=asked(request, "operator"),
        verdict=asked(request, "verdict"),
        sort=cast(browse.Sort, sort if sort in get_args(browse.Sort) else "first"),
    )


def one_example(request: Request) -> Response:
    return _example_page(request)


def _example_page(request: Request, trouble: str = "", status: int = 200) -> Response:
    with reading(request) as connection:
        run = run_of(connection, request)
        line = _example_of(connection, request, run)
        context = {
            "run": run,
            "line": line,
            "history": verdicts.of_example(connection, line.id),
            "answers": browse.calls_by_key(connection, line.response_calls),
            "told": _told(connection, run, line),
            "origin": browse.origin(connection, run.id, line.ordinal) if line.ordinal is not None else None,
            "trouble": trouble,
        }
    return render(request, "example.html.j2", context, status)


def _told(connection: Connection, run: Run, line: browse.ExampleLine) -> node.Told | None:
    """The node that the row is of, with the way to it; None for a row of a pool."""
    if line.tree is None or line.tree_id is None or line.node_key is None:
        return None
    tree, path = browse.tree(connection, run.id, line.tree), browse.path(connection, line.tree_id, line.node_key)
    return node.tell(path, browse.calls_of_node(connection, path[-1]), tree) if tree and path else None


def example_text(request: Request) -> Response:
    """All three texts of a row, whole, with nothing around them."""
    with reading(request) as connection:
        line = _example_of(connection, request, run_of(connection, request))
    texts = [text for text in (line.instruction, line.input, line.output) if text]
    return PlainTextResponse(visible("\n\n".join(texts)).encode("utf-8", "replace"))


def say(request: Request) -> Response:
    """Keeps or drops a row, with the reason; what was said before stays in its history."""
    form = form_of(request)
    verdict, reason = form.get("verdict", ""), form.get("reason", "").strip()
    if verdict not in get_args(verdicts.Said):
        raise HTTPException(400, "a row can be kept or dropped")
    if not reason or len(reason) > _LONGEST_REASON:
        trouble = f"Say why, in at most {_LONGEST_REASON:,} characters: the reason is kept with the row."
        return _example_page(request, trouble, 422)
    with writing(request) as connection:
        run = run_of(connection, request)
        line = _example_of(connection, request, run)
        made = cast(verdicts.Said, verdict)
        verdicts.give(connection, run.id, line.id, made, reason=reason, made_by="console")
    back = local_path(form.get("back"), f"/runs/{run.name}/examples/{line.id}")
    return then(back, "kept" if verdict == "keep" else "dropped", anchor=f"e{line.id}")


def _example_of(connection: Connection, request: Request, run: Run) -> browse.ExampleLine:
    number = request.path_params["id"]
    line = browse.example(connection, run.id, number)
    if line is None:
        raise HTTPException(404, f"run {run.name!r} has no example {number}")
    return line
