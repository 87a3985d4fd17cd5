"""What all pages use: the database, the run that an address names, the answer after a form."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse

from db.errors import ConfigError
from db.records import Run
from orchestrator.console.live import Fresh
from orchestrator.steering import find_run

Form = dict[str, str]


@contextmanager
def reading(request: Request) -> Iterator[Connection]:
    """A connection for a page that only looks."""
    engine: Engine = request.app.state.engine
    with engine.connect() as connection:
        yield connection


@contextmanager
def writing(request: Request) -> Iterator[Connection]:
    engine: Engine = request.app.state.engine
    with engine.begin() as connection:
        yield connection


def fresh(request: Request) -> Fresh[Any]:
    found: Fresh[Any] = request.app.state.fresh
    return found


def run_of(connection: Connection, request: Request) -> Run:
    """The run that the address names. Raises HTTPException (404), naming runs there are, when there is none."""
    try:
        return find_run(connection, request.path_params["name"])
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None


def asked(request: Request, name: str, most: int = 200) -> str:
    """A word of the address, without what no database takes."""
    return request.query_params.get(name, "").replace("\0", "").strip()[:most]


def form_of(request: Request) -> Form:
    found: Form = request.state.form
    return found


def then(path: str, said: str = "", anchor: str = "") -> RedirectResponse:
    """After a form: the page to look at, and what it says was done."""
    joint = "&" if "?" in path else "?"
    return RedirectResponse(path + (f"{joint}said={said}" if said else "") + (f"#{anchor}" if anchor else ""), 303)


def local_path(path: str | None, otherwise: str) -> str:
    """A path of this very console, whatever a form or an address says."""
    if path and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable():
        return path
    return otherwise
