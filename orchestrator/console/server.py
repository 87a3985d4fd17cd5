"""The console's application, and the server that carries it."""

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.resources import files

import uvicorn
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from db.engine import AWAY, cause_of
from db.errors import ConfigError
from orchestrator.console import page
from orchestrator.console.front import Front
from orchestrator.console.live import Fresh
from orchestrator.console.pages import endpoints, examples, login, runs, trees
from orchestrator.console.session import Door


class _Number(Convertor[int]):
    """A whole number of an address. No row has one of more digits, and Python refuses to read thousands of them."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())
_ROUTES = (
    Route("/", runs.all_runs),
    Route("/live", runs.all_runs_live),
    Route("/login", login.ask, methods=["GET"]),
    Route("/login", login.enter, methods=["POST"]),
    Route("/logout", login.leave, methods=["POST"]),
    Route("/endpoints", endpoints.all_endpoints),
    Route("/endpoints/live", endpoints.all_endpoints_live),
    Route("/runs/{name}", runs.one_run),
    Route("/runs/{name}/live", runs.one_run_live),
    Route("/runs/{name}/steer", runs.steer, methods=["POST"]),
    Route("/runs/{name}/limits", runs.set_limits, methods=["POST"]),
    Route("/runs/{name}/slots", runs.set_slots, methods=["POST"]),
    Route("/runs/{name}/trees", trees.all_trees),
    Route("/runs/{name}/trees/{ordinal:number}", trees.one_tree),
    Route("/runs/{name}/trees/{ordinal:number}/live", trees.tree_live),
    Route("/runs/{name}/trees/{ordinal:number}/shape", trees.tree_shape),
    Route("/runs/{name}/trees/{ordinal:number}/table", trees.tree_table),
    Route("/runs/{name}/trees/{ordinal:number}/nodes/{key}", trees.one_node),
    Route("/runs/{name}/trees/{ordinal:number}/nodes/{key}/text", trees.node_text),
    Route("/runs/{name}/examples", examples.all_examples),
    Route("/runs/{name}/examples/{id:number}", examples.one_example),
    Route("/runs/{name}/examples/{id:number}/text", examples.example_text),
    Route("/runs/{name}/examples/{id:number}/verdict", examples.say, methods=["POST"]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the application needs. `broker` is asked what the limiter knows; `hosts` are further names of this host."""

    engine: Engine
    broker: str | None
    token: str
    hosts: Collection[str] = ()


def application(settings: Settings, closing: Callable[[], bool] = lambda: False) -> Starlette:
    """`closing` says when open pages are to be let go."""
    door = Door(settings.token)
    app = Starlette(
        routes=[*_ROUTES, Mount("/static", StaticFiles(directory=str(files("orchestrator.console") / "static")))],
        middleware=[Middleware(Front, door=door, hosts=settings.hosts, refuse=_error)],
        exception_handlers={HTTPException: _refused, **dict.fromkeys(AWAY, _away), Exception: _bug},
    )
    app.state.engine = settings.engine
    app.state.broker = settings.broker
    app.state.door = door
    app.state.fresh = Fresh()
    app.state.jinja = page.environment()
    app.state.closing = closing
    return app


def _error(request: Request, status: int, line: str) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return page.render(request, "error.html.j2", {"status": status, "line": line}, status)
    return PlainTextResponse(f"{line}\n", status)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = "there is no such page" if error.detail == "Not Found" else error.detail
    return _error(request, error.status_code, line)


def _away(request: Request, error: Exception) -> Response:
    cause = cause_of(error)  # type: ignore[arg-type]  # one of AWAY
    return _error(request, 503, f"the database does not answer ({cause}): this page comes back when it does")


def _bug(request: Request, error: Exception) -> Response:
    return _error(request, 500, f"this is a bug ({type(error).__name__}): the console's log has the details")


def listen(host: str, port: int) -> socket.socket:
    """Raises ConfigError when nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"the console cannot listen at {host}:{port} ({error.strerror}): name a free one with --port"
        ) from None
    return found


def serve(settings: Settings, at: socket.socket) -> None:
    """Answers until the process is told to stop."""
    server_of(settings).run(sockets=[at])


def server_of(settings: Settings) -> uvicorn.Server:
    """The server, not running yet. Open pages are let go as soon as it is told to exit."""
    server: uvicorn.Server
    app = application(settings, lambda: server.should_exit)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=32_768,
    )
    server = uvicorn.Server(config)
    return server
