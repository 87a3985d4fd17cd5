"""The console's application and a client that has logged in, for the tests of its pages and of its forms."""

import re
from html import unescape
from typing import Any

from sqlalchemy import Engine
from starlette.testclient import TestClient

from orchestrator.console.server import Settings, application

Client = TestClient
TOKEN = "a-token-of-these-tests-alone"
PAGE = {"accept": "text/html"}


def client_of(engine: Engine, broker: str | None = None, token: str = TOKEN) -> Client:
    app = application(Settings(engine=engine, broker=broker, token=token))
    return Client(app, base_url="http://127.0.0.1:8642", follow_redirects=False)


def entered(client: Client) -> Client:
    answer = client.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303, answer.text
    return client


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=PAGE)
    assert answer.status_code == status, answer.text
    return answer.text


def send(client: Client, path: str, status: int = 303, /, **form: str) -> Any:
    stamp = re.search(r'name="stamp" value="(\w+)"', page(client, "/"))
    assert stamp is not None
    answer = client.post(path, data={"stamp": stamp[1], **form}, headers=PAGE)
    assert answer.status_code == status, answer.text
    return answer


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
