"""Bad input: one clear line, exit code 2, nothing half-made, and nothing started for what can be seen without it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from db.engine import open_engine
from db.migrate import head, migrate
from tests.e2e.house import Done, House, Model, at_once, scripted, write_seeds

GOOD = b'{"instruction": "Name three rivers."}\n'
CLOSED = "127.0.0.1:1"  # nobody listens on port 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A command line that must be refused; `says` are the words its one line must have."""

    says: tuple[str, ...]
    seeds: bytes | None = GOOD
    file: str = "seeds.jsonl"
    options: tuple[str, ...] = ()
    config: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def of_seeds(*says: str, seeds: bytes | None, file: str = "seeds.jsonl", options: tuple[str, ...] = ()) -> Bad:
    return Bad(says=(file, *says), seeds=seeds, file=file, options=options)


def of_options(*options: str, says: tuple[str, ...]) -> Bad:
    return Bad(options=options, says=says)


def of_config(config: str, *says: str, options: tuple[str, ...] = ()) -> Bad:
    return Bad(config=config, says=says, options=options)


LONG = b'{"instruction": "' + b"x" * 8001 + b'"}'
ENDPOINT = '[endpoints.default]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'

# What can be seen without a database, a broker or a model: none of them is started for it.
UNAIDED = {
    "missing file": of_seeds("no such file", seeds=None),
    "a folder": of_seeds("unknown kind of file", seeds=None, file="."),
    "empty file": of_seeds("nothing in it", "at least one", seeds=b""),
    "blank lines only": of_seeds("nothing in it", seeds=b"\n  \n\n"),
    "unknown extension": of_seeds("unknown kind of file", ".jsonl", seeds=GOOD, file="seeds.docx"),
    "no extension": of_seeds("unknown kind of file", ".jsonl", seeds=GOOD, file="seeds"),
    "a line that is not JSON": of_seeds("line 2", "not JSON", seeds=GOOD + b"{oops}\n" + GOOD),
    "JSON nested too deep": of_seeds("line 1", "nested too deep", seeds=b"[" * 100_000 + b"\n"),
    "a JSON file that is not JSON": of_seeds("not JSON", seeds=b"[", file="seeds.json"),
    "a JSON file without a list": of_seeds("list", seeds=b"{}", file="seeds.json"),
    "a row without an instruction": of_seeds("line 2", "--field", seeds=GOOD + b'{"title": "x"}\n'),
    "a row that is a number": of_seeds("line 1", "found int", seeds=b"7\n"),
    "a field that is not there": of_seeds("'task'", "--field", seeds=GOOD, options=("--field", "task")),
    "no text at all": of_seeds("line 1", "empty", seeds=b'{"instruction": null}\n'),
    "an empty instruction": of_seeds("line 2", "empty", seeds=GOOD + b'{"instruction": ""}\n'),
    "a blank instruction": of_seeds("line 2", "empty", seeds=GOOD + b'{"instruction": " \\n\\t"}\n'),
    "an instruction of 8,001 characters": of_seeds("line 2", "8001", "8000", seeds=GOOD + LONG),
    "a NUL byte": of_seeds("line 1", "NUL", seeds=b'{"instruction": "a\\u0000b"}'),
    "a raw NUL byte": of_seeds("line 1", "NUL", seeds=b"a\x00b", file="seeds.txt"),
    "a lone surrogate": of_seeds("line 1", "surrogate", seeds=b'{"instruction": "a\\ud800b"}'),
    "bytes that are not UTF-8": of_seeds("UTF-8", seeds=b"caf\xe9\n", file="seeds.txt"),
    "a Parquet file that is none": of_seeds("Parquet", seeds=b"PAR1 not", file="seeds.parquet"),
    "unknown recipe": of_options("--recipe", "idea-mtcs", says=("'idea-mtcs'", "did you mean 'idea-mcts'")),
    "unknown option": of_options(
        "--set", "search.iteration=2", says=("search.iteration'", "did you mean 'iterations'")
    ),
    "unknown group of options": of_options("--set", "serch.iterations=2", says=("'serch'", "did you mean 'search'")),
    "option without a value": of_options("--set", "search.iterations", says=("key=value",)),
    "unknown role": of_options("--set", "roles.jugde.temperature=0", says=("roles.jugde", "did you mean 'judge'")),
    "unknown operator": of_options("--set", 'search.operators=["add-jokes"]', says=("'add-jokes'", "brand-new")),
    "a role at an unknown endpoint": of_options(
        "--set", "roles.judge.endpoint=far", says=("judge", "'far'", "default")
    ),
    "out of range": of_options(
        "--set", "search.children=0", says=("search.children = 0", "greater than or equal to 1")
    ),
    "not a number": of_options("--set", "search.children=many", says=("search.children = 'many'", "integer")),
    "not one of the choices": of_options("--set", "harvest.mode=all", says=("harvest.mode = 'all'", "estimate")),
    "no calls": of_options("--max-calls", "0", says=("--max-calls 0", "above 0")),
    "no tokens": of_options("--max-tokens", "-5", says=("--max-tokens -5", "above 0")),
    "no money": of_options("--max-usd", "0", says=("--max-usd 0", "above 0")),
    "not a sum of money": of_options("--max-usd", "nan", says=("--max-usd nan", "above 0")),
    "absurd money": of_options("--max-usd", "1e300", says=("--max-usd 1e+300", "at most 100,000,000")),
    "absurd calls": of_options("--max-calls", "9" * 14, says=("--max-calls 99999999999999", "at most")),
    "no hours": of_options("--max-hours", "0", says=("--max-hours 0", "above 0")),
    "a time-out longer than any task may take": of_options(
        "--set", "endpoints.default.timeout_s=9000", says=("endpoints.default.timeout_s = 9000", "600")
    ),
    "a name that cannot be one": of_options("--name", "a/b", says=("--name 'a/b'", "letters")),
    "a folder for results that is a file": of_options("--out", "seeds.jsonl", says=("seeds.jsonl", "not a folder")),
    "missing configuration": of_options("--config", "none.toml", says=("none.toml", "no such")),
    "configuration that is a folder": of_options("--config", ".", says=(".", "cannot be read")),
    "configuration that is not TOML": of_config("a b c", "config.toml", "not TOML"),
    "unknown option in the configuration": of_config("[search]\nchidren = 3\n", "search.chidren", "'children'"),
    "endpoints that are no tables": of_config('endpoints = "here"\n', "config.toml", "endpoints"),
    "an endpoint that is no table": of_config('[endpoints]\ndefault = "here"\n', "endpoints.default", "table"),
    "an endpoint without a model": of_config('[endpoints.default]\nbase_url = "http://127.0.0.1:1/v1"\n', "model"),
    "a key in the configuration": of_config(ENDPOINT + 'api_key = "sk-12345"\n', "api_key", "api_key_env"),
    "a variable that is not set": of_config(ENDPOINT + 'api_key_env = "NO_SUCH_KEY"\n', "NO_SUCH_KEY", "not set"),
    "an address that is none": Bad(env={"OPENAI_BASE_URL": "localhost"}, says=("OPENAI_BASE_URL", "http://")),
    "a key over plain http": Bad(env={"OPENAI_BASE_URL": "http://192.0.2.1/v1"}, says=("OPENAI_BASE_URL", "https")),
    "a database that is not Postgres": Bad(
        env={"INSTRUCTREE_DATABASE_URL": "mysql://h/d", "INSTRUCTREE_REDIS_URL": "redis://h"},
        says=("INSTRUCTREE_DATABASE_URL", "only Postgres"),
    ),
    "an address of a database that is none": Bad(
        env={"INSTRUCTREE_DATABASE_URL": "here", "INSTRUCTREE_REDIS_URL": "redis://h"},
        says=("INSTRUCTREE_DATABASE_URL", "postgresql://"),
    ),
    "unreachable database": Bad(
        env={
            "INSTRUCTREE_DATABASE_URL": f"postgresql://u:secret@{CLOSED}/d",
            "INSTRUCTREE_REDIS_URL": f"redis://{CLOSED}",
        },
        says=("database", "127.0.0.1", "instructree up", "INSTRUCTREE_DATABASE_URL"),
    ),
}


# `{root}` stands for where the scripted model is.
UNAIDED |= {
    "unreachable endpoint": Bad(
        env={"OPENAI_BASE_URL": f"http://{CLOSED}/v1"}, says=("endpoint 'default'", CLOSED, "OPENAI_BASE_URL")
    ),
    "wrong key": Bad(env={"OPENAI_API_KEY": "wrong-secret"}, says=("does not take this API key", "OPENAI_API_KEY")),
    "no key": Bad(env={"OPENAI_API_KEY": ""}, says=("wants an API key", "OPENAI_API_KEY")),
    "a model that is not there": Bad(env={"OPENAI_MODEL": "gpt-99"}, says=("'gpt-99'", "offers large, small")),
    "several models and none named": Bad(env={"OPENAI_MODEL": ""}, says=("2 models", "large, small", "OPENAI_MODEL")),
    "wrong path": Bad(env={"OPENAI_BASE_URL": "{root}", "OPENAI_MODEL": ""}, says=("lists no models", "/v1")),
    "wrong path, with a model named": Bad(env={"OPENAI_BASE_URL": "{root}"}, says=("does not know the path", "/v1")),
    "a cap on money without prices": of_options(
        "--max-usd", "1", says=("--max-usd needs prices", "endpoints.default.usd_per_million_in")
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    done: Done
    left: tuple[str, ...]
    home_made: bool


def refused(folder: Path, bad: Bad, model: Model) -> Refused:
    """Runs it in a home that does not exist yet, and looks at what it left behind."""
    folder.mkdir()
    if bad.seeds is not None:
        (folder / bad.file).write_bytes(bad.seeds)
    if bad.config is not None:
        (folder / "config.toml").write_text(bad.config)
    before = {path.name for path in folder.iterdir()}
    endpoint = {**model.env, "OPENAI_MODEL": "large"} if bad.config is None else {}
    root = model.base_url.removesuffix("/v1")
    env = {name: value.format(root=root) for name, value in bad.env.items()}
    house = House(home=folder / "home", system=folder / "system", env=endpoint).at(env)
    config = () if bad.config is None else ("--config", "config.toml")
    done = house.cli("run", bad.file, *config, *bad.options, cwd=folder)
    left = {path.name for path in folder.iterdir()} - before
    return Refused(done=done, left=tuple(sorted(left)), home_made=house.home.exists())


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Refused]]:
    """What became of each, as many at once as there are cores. No model was asked for anything."""
    folder = tmp_path_factory.mktemp("bad")
    with scripted("right-secret", "--model", "large", "--model", "small") as model:
        named = enumerate(UNAIDED.items())
        found = at_once({name: partial(refused, folder / str(i), bad, model) for i, (name, bad) in named})
        assert model.paid == 0
    yield found


@pytest.mark.parametrize("name", UNAIDED)
def test_is_refused_in_one_line_before_anything_is_started(name: str, answers: Mapping[str, Refused]) -> None:
    found = answers[name]
    line = found.done.complaint
    assert found.done.code == 2
    assert found.done.err.count("\n") == 1 and found.done.out == ""
    assert [words for words in UNAIDED[name].says if words not in line] == [], line
    assert "secret" not in line and "sk-" not in line
    assert found.left == () and not found.home_made


USAGE = {
    "unknown command": (["grow"], "grow"),
    "unknown option": (["run", "seeds.jsonl", "--colour"], "--colour"),
    "no seeds": (["run"], "SEEDS"),
    "calls that are no number": (["run", "seeds.jsonl", "--max-calls", "many"], "--max-calls"),
    "slots out of range": (["worker", "--slots", "0"], "--slots"),
}


ALONE = {
    "status without a stack": (["status"], "instructree up"),
    "verify without a stack": (["verify", "x"], "instructree up"),
    "worker without a database": (["worker"], "INSTRUCTREE_DATABASE_URL"),
    "orchestrator without a database": (["orchestrator"], "INSTRUCTREE_DATABASE_URL"),
    "migrate without a database": (["migrate"], "INSTRUCTREE_DATABASE_URL"),
    "worker of an unknown queue": (["worker", "--queues", "expand,dig"], "'dig'"),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Done]:
    """What a command says on a machine where nothing runs and nothing is set."""
    folder = tmp_path_factory.mktemp("alone")
    house = House(home=folder / "home", system=folder, env={})
    found = at_once({name: partial(house.cli, *arguments) for name, (arguments, _) in {**USAGE, **ALONE}.items()})
    assert not house.home.exists()
    return found


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_command_line_is_told_with_its_usage(name: str, alone: Mapping[str, Done]) -> None:
    done, word = alone[name], USAGE[name][1]
    assert done.code == 2
    assert "Usage" in done.err and word in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("name", ALONE)
def test_a_part_without_its_services_says_how_to_get_them(name: str, alone: Mapping[str, Done]) -> None:
    done, words = alone[name], ALONE[name][1]
    assert done.code == 2 and words in done.complaint


# From here on with services: nothing may be left in the database either.


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    return write_seeds(tmp_path / "seeds.jsonl", 2, "bad input")


@contextmanager
def nothing_made(house: House, seeds: Path) -> Iterator[None]:
    """No row of a run, no folder of results, nothing asked of the model."""
    count = "SELECT count(*) FROM runs"
    before = house.number(count) if (house.home / "stack.json").exists() else 0
    yield
    assert house.number(count) == before
    assert [path.name for path in seeds.parent.iterdir() if path != seeds] == []


@pytest.fixture(scope="module")
def stack_up(house: House) -> House:
    assert house.cli("up").code == 0
    return house


def database(house: House, name: str) -> str:
    """A new, empty database beside the house's own."""
    url = house.stack().database_url
    assert url is not None
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def test_a_broker_that_is_away_is_named_and_no_run_is_made(stack_up: House, seeds: Path) -> None:
    with nothing_made(stack_up, seeds):
        done = stack_up.at({"INSTRUCTREE_REDIS_URL": f"redis://:secret@{CLOSED}/0"}).run(seeds, "refused")
    assert done.code == 2 and "secret" not in done.err
    for words in ("broker", CLOSED, "instructree up", "INSTRUCTREE_REDIS_URL"):
        assert words in done.complaint


def test_a_database_of_a_newer_program_is_left_alone(stack_up: House, seeds: Path) -> None:
    url = database(stack_up, "newer")
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    house = stack_up.at({"INSTRUCTREE_DATABASE_URL": url})
    house = house.at({"INSTRUCTREE_REDIS_URL": stack_up.stack().redis_url or ""})
    commands = {name: partial(house.cli, name) for name in ("status", "migrate", "worker", "orchestrator")}
    with nothing_made(house, seeds):
        found = at_once({**commands, "run": partial(house.run, seeds, "newer")})
    for name, done in found.items():
        assert (name, done.code) == (name, 2) and "9999" in done.complaint
        assert head() in done.complaint and "upgrade instructree" in done.complaint
    assert house.number("SELECT version_num FROM alembic_version") == "9999"


def test_a_database_without_tables_says_what_makes_them(stack_up: House, seeds: Path) -> None:
    url, broker = database(stack_up, "bare"), stack_up.stack().redis_url
    house = stack_up.at({"INSTRUCTREE_DATABASE_URL": url, "INSTRUCTREE_REDIS_URL": broker or ""})
    done = house.run(seeds, "bare")
    assert done.code == 2 and "instructree migrate" in done.complaint
    migrated, again = house.cli("migrate"), house.cli("migrate")
    assert (migrated.code, again.code) == (0, 0) and "already" in again.err
    assert house.cli("status").out == "no runs yet: start one with `instructree run SEEDS`\n"


def test_a_run_that_is_not_there_is_said_to_be_so(stack_up: House) -> None:
    commands = ("status", "verify", "export", "pause", "resume", "cancel", "remove")
    for name, done in at_once({name: partial(stack_up.cli, name, "nosuch") for name in commands}).items():
        assert (name, done.code) == (name, 2) and "no run 'nosuch'" in done.complaint


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        argv = [sys.executable, "-m", "workers.llm.scripted", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("port ") and done.stderr.count("\n") == 1


def test_a_taken_port_of_metrics_leaves_nothing_in_the_register(stack_up: House, seeds: Path) -> None:
    """Whoever looks after a part starts it again and again."""
    url, broker = database(stack_up, "metrics"), stack_up.stack().redis_url
    house = stack_up.at({"INSTRUCTREE_DATABASE_URL": url, "INSTRUCTREE_REDIS_URL": broker or ""})
    assert house.cli("migrate").code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        parts = {name: partial(house.cli, name, "--metrics", port) for name in ("worker", "orchestrator")}
        with nothing_made(house, seeds):
            found = at_once(parts)
    for name, done in found.items():
        assert (name, done.code) == (name, 2)
        assert f"metrics cannot be served at 127.0.0.1:{port}" in done.complaint and "free port" in done.complaint
    assert house.number("SELECT count(*) FROM workers") == 0


def test_a_taken_port_of_the_stack_is_replaced_without_a_word_to_the_user(own_house: House, model: Model) -> None:
    """The port that Valkey had last time belongs to somebody else now."""
    house = own_house.at(model.env)
    house.home.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (house.home / "stack.json").write_text(json.dumps({"salt": "0", "ports": {"valkey": port}}))
        assert house.cli("up").code == 0
        assert make_url(house.stack().redis_url or "").port != port
        assert house.cli("doctor").code == 0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs", str(folder)]
    able = shutil.which("mount") and os.geteuid() == 0
    if not able or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk of 24 MB can only be had as root, and where mounting is allowed")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_stops_the_start(small_disk: Path, model: Model, seeds: Path) -> None:
    house = House(home=small_disk / "home", system=small_disk / "system", env=model.env)
    done = house.run(seeds, "full")
    assert done.code == 2
    assert "no space left" in done.complaint and "INSTRUCTREE_HOME" in done.complaint
    assert house.processes() == {} and not (seeds.parent / "full").exists()
    assert not any(path.name == "data" for path in small_disk.rglob("*"))


def test_the_same_name_with_another_configuration_says_what_differs(stack_up: House, seeds: Path) -> None:
    assert stack_up.run(seeds, "mine", "--no-responses").code == 0
    other = stack_up.run(seeds, "mine", "--no-responses", "--set", "search.iterations=2", "--set", "seed=5")
    assert other.code == 2
    assert "'mine' exists" in other.complaint and "choose another --name" in other.complaint
    assert "search.iterations is 3 there, 2 here" in other.complaint and "seed is 0 there, 5 here" in other.complaint
    elsewhere = stack_up.run(write_seeds(seeds, 1, "other seeds"), "mine", "--no-responses")
    assert elsewhere.code == 2 and "other seeds" in elsewhere.complaint
    ended = stack_up.cli("pause", "mine")
    assert ended.code == 2 and "has ended (done)" in ended.complaint
    unknown = stack_up.cli("export", "mine", "--format", "xml", "--out", seeds.parent / "x.xml")
    assert unknown.code == 2 and "sharegpt" in unknown.complaint and not (seeds.parent / "x.xml").exists()


def test_a_run_is_removed_only_when_it_is_over_and_somebody_says_yes(stack_up: House, seeds: Path) -> None:
    assert stack_up.run(seeds, "past", "--no-responses").code == 0
    stack_up.sql("UPDATE runs SET status = 'paused' WHERE name = 'past' RETURNING id")
    on = stack_up.cli("remove", "past", "--yes")
    assert on.code == 2 and "is paused" in on.complaint and "instructree cancel past" in on.complaint
    stack_up.sql("UPDATE runs SET status = 'done' WHERE name = 'past' RETURNING id")
    unasked = stack_up.cli("remove", "past")
    assert unasked.code == 2 and "--yes" in unasked.complaint
    assert stack_up.verified("past")
    done = stack_up.cli("remove", "past", "--yes")
    assert done.code == 0 and done.out == "" and " nodes" in done.err
    assert "no run 'past'" in stack_up.cli("status", "past").complaint
    assert (seeds.parent / "past" / "dataset.jsonl").exists()
