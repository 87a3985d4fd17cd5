"""Coming in and leaving."""

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.console.page import render
from orchestrator.console.pages.common import form_of, local_path, then
from orchestrator.console.session import SESSION_S, Door, TooManyTries, WrongToken

_WRONG = "That is not the token. It was printed when the console was started, or set in INSTRUCTREE_CONSOLE_TOKEN."


def ask(request: Request) -> Response:
    if request.state.session is not None:
        return then(local_path(request.query_params.get("next"), "/"))
    return _form(request, request.query_params.get("next"))


def enter(request: Request) -> Response:
    form, door = form_of(request), _door(request)
    try:
        session = door.enter(form.get("token", ""))
    except WrongToken:
        return _form(request, form.get("next"), _WRONG, 401)
    except TooManyTries as error:
        answer = _form(request, form.get("next"), f"{error}.".capitalize(), 429)
        answer.headers["Retry-After"] = str(round(error.wait_s) + 1)
        return answer
    answer = then(local_path(form.get("next"), "/"))
    answer.set_cookie(
        door.cookie, session, max_age=SESSION_S, httponly=True, samesite="strict", secure=_encrypted(request)
    )
    return answer


def _encrypted(request: Request) -> bool:
    """By a proxy before us, too: who pretends that has a cookie that is sent less often, and nothing else."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))


def leave(request: Request) -> Response:
    answer = then("/login")
    answer.delete_cookie(_door(request).cookie, httponly=True, samesite="strict")
    return answer


def _form(request: Request, next_path: str | None, trouble: str = "", status: int = 200) -> Response:
    context = {"next": local_path(next_path, "/"), "trouble": trouble}
    return render(request, "login.html.j2", context, status)


def _door(request: Request) -> Door:
    found: Door = request.app.state.door
    return found
