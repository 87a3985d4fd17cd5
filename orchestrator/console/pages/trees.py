"""The trees of a run: a list, one tree drawn, one node told."""

from typing import Any

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from db import browse
from db.records import NodeRow, Run, TreeRow
from orchestrator.console import node
from orchestrator.console.live import Parts, stream
from orchestrator.console.page import Pager, render
from orchestrator.console.pages.common import asked, fresh, reading, run_of
from orchestrator.console.shape import shape_of
from orchestrator.report.text import visible

_TREES_A_PAGE, _NODES_A_PAGE = 50, 100
STATUSES = ("waiting", "growing", "grown", "cut")


def all_trees(request: Request) -> Response:
    words = asked(request, "q")
    status = asked(request, "status")
    status = status if status in STATUSES else ""
    pager = Pager(request, _TREES_A_PAGE)
    with reading(request) as connection:
        run = run_of(connection, request)
        pager.total = browse.trees_counted(connection, run.id, words, status)
        page = browse.Page(skip=pager.skip, size=pager.size)
        lines = browse.trees_page(connection, run.id, words, status, page)
    context = {"run": run, "lines": lines, "pager": pager, "words": words, "wanted": status, "statuses": STATUSES}
    return render(request, "trees.html.j2", context)


def one_tree(request: Request) -> Response:
    with reading(request) as connection:
        run, tree = _tree_of(connection, request)
        count = browse.trees_counted(connection, run.id, "", "")
    return render(request, "tree.html.j2", {"run": run, "tree": tree, "trees": count})


def tree_shape(request: Request) -> Response:
    with reading(request) as connection:
        _, tree = _tree_of(connection, request)
        mark = browse.tree_mark(connection, tree.id)
        shape = shape_of(browse.dots(connection, tree))
    shape["operators"] = [visible(name) for name in shape.get("operators", ())]
    return JSONResponse({**shape, "mark": mark})


def tree_live(request: Request) -> Response:
    """A mark that differs when the tree has changed."""
    name, ordinal = request.path_params["name"], request.path_params["ordinal"]

    def look() -> Parts:
        with reading(request) as connection:
            _, tree = _tree_of(connection, request)
            return {"mark": browse.tree_mark(connection, tree.id)}

    return stream(request, lambda: fresh(request).get(f"tree {name} {ordinal}", look))


def tree_table(request: Request) -> Response:
    """The same tree as a table, for whoever cannot see or use the drawing."""
    pager = Pager(request, _NODES_A_PAGE)
    with reading(request) as connection:
        run, tree = _tree_of(connection, request)
        dots = browse.dots(connection, tree)
    pager.total = len(dots)
    shown = dots[pager.skip : pager.skip + pager.size]
    return render(request, "table.html.j2", {"run": run, "tree": tree, "dots": shown, "pager": pager})


def one_node(request: Request) -> Response:
    """All of one node: as a page, or with `part` as what the drawing shows beside it."""
    with reading(request) as connection:
        run, tree = _tree_of(connection, request)
        path = _path_of(connection, request, tree)
        told = node.tell(path, browse.calls_of_node(connection, path[-1]), tree)
    whole = "part" not in request.query_params
    context: dict[str, Any] = {"run": run, "tree": tree, "told": told, "whole": whole}
    return render(request, "node.html.j2" if whole else "parts/node.html.j2", context)


def node_text(request: Request) -> Response:
    """A text of any length, with nothing around it."""
    with reading(request) as connection:
        _, tree = _tree_of(connection, request)
        path = _path_of(connection, request, tree)
    return PlainTextResponse(visible(path[-1].text or "").encode("utf-8", "replace"))


def _tree_of(connection: Connection, request: Request) -> tuple[Run, TreeRow]:
    run = run_of(connection, request)
    ordinal = request.path_params["ordinal"]
    tree = browse.tree(connection, run.id, ordinal) if ordinal < 2**31 else None
    if tree is None:
        raise HTTPException(404, f"run {run.name!r} has no tree {ordinal}")
    return run, tree


def _path_of(connection: Connection, request: Request, tree: TreeRow) -> list[NodeRow]:
    path = browse.path(connection, tree.id, request.path_params["key"])
    if not path:
        raise HTTPException(404, f"tree {tree.ordinal} has no such node")
    return path
