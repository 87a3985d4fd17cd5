"""`instructree console`: the web console."""

from typing import Annotated

import typer

from db.environment import REDIS, read
from db.errors import ConfigError
from orchestrator import stack
from orchestrator.cli.say import say
from orchestrator.places import existing_engine

PORT = 8642
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_to(app: typer.Typer) -> None:
    app.command()(console)


def console(
    host: Annotated[str, typer.Option("--host", help="Address to listen at; beyond this machine only if named")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one")] = PORT,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            envvar="INSTRUCTREE_CONSOLE_NAMES",
            help="A host name by which browsers ask for it, such as a proxy's; in the variable, blanks between several",
        ),
    ] = None,
) -> None:
    """Watch and steer runs in a browser: progress, trees, examples, endpoints.

    Whoever knows the token comes in: that of INSTRUCTREE_CONSOLE_TOKEN (or of the file INSTRUCTREE_CONSOLE_TOKEN_FILE),
    or else a fresh one, printed once as an address to open.

    Listens on this machine only unless --host says otherwise. What it sends is not encrypted: from elsewhere, come by a
    tunnel (ssh -L 8642:127.0.0.1:8642 HOST) or a proxy with TLS, see docs/console.md.
    """
    try:
        from orchestrator.console import server
        from orchestrator.console.session import new_token, token_of_environment
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "anyio"):
            raise
        raise ConfigError("the console needs more packages: pip install 'instructree[console]'") from None
    given = token_of_environment()
    token = given or new_token()
    engine = existing_engine()
    at = server.listen(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{at.getsockname()[1]}/"
    if host not in _LOOPBACK:
        say(f"warning: {host} is not this machine alone, and what is sent is not encrypted: see docs/console.md")
    say(f"console at {address}" + (f"#token={token}" if given is None else " (token: INSTRUCTREE_CONSOLE_TOKEN)"))
    server.serve(server.Settings(engine=engine, broker=_broker(), token=token, hosts=names or ()), at)


def _broker() -> str | None:
    """Where the limiter keeps what it knows: as the environment says, or on the local stack."""
    if url := read(REDIS):
        return url
    found = stack.find()
    return found.redis_url if found else None
