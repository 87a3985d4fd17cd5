"""One canary for each secret: API key, password of the database, password of the broker. Nobody may sing of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from tests.e2e.house import House, Model, rows, scripted, until, write_seeds

API_KEY, DATABASE = "canary-api-key-7f3a91", "canary-database-5c1d20"
# Where the local stack keeps its broker's password, for its owner's eyes only.
KEPT = {"password", "valkey.conf"}

pytestmark = pytest.mark.slow


@dataclass
class Aviary:
    """A stack whose secrets are known, and everything that was seen while things went wrong."""

    house: House
    broker: str
    secrets: tuple[str, ...]
    folder: Path
    seen: dict[str, str] = field(default_factory=dict)

    def assert_silent(self, what: str, text: str) -> None:
        assert [secret for secret in self.secrets if secret in text] == [], what


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Model]:
    with scripted(API_KEY, "--latency", "150", "--fail-share", "0.02", "--hostile-share", "0.05") as model:
        yield model


@pytest.fixture
def aviary(own_house: House, endpoint: Model, tmp_path: Path) -> Aviary:
    """The database is asked for by a user with a password, as on another machine."""
    assert own_house.at(endpoint.env).cli("up").code == 0
    found = own_house.stack()
    assert found.database_url and found.redis_url
    with_password = found.database_url.replace("://instructree@", f"://instructree:{DATABASE}@")
    assert DATABASE in with_password
    house = own_house.at({**endpoint.env, "INSTRUCTREE_DATABASE_URL": with_password})
    broker = found.redis_url.partition("://:")[2].partition("@")[0]
    return Aviary(house, found.redis_url, (API_KEY, DATABASE, broker), tmp_path)


def test_no_secret_is_in_any_log_row_message_report_or_export(aviary: Aviary) -> None:
    house, folder = aviary.house, aviary.folder
    seeds = write_seeds(folder / "seeds.jsonl", 4, "secrets")
    with house.running("run", seeds, "--name", "told", "--out", folder / "told", folder=folder) as running:
        until(lambda: house.number("SELECT count(*) FROM calls") > 10, "the run is under way")
        assert_messages_are_silent(aviary)
        assert_processes_are_silent(aviary)
        crash_the_database(house)
        done = running.ended()
    aviary.assert_silent("what run says", done.out + done.err)
    again = house.run(seeds, "told")
    assert again.code == 0, again.err
    assert rows(folder / "told" / "dataset.jsonl")
    for command in (
        ("status", "told", "--json"),
        ("verify", "told"),
        ("doctor",),
        ("export", "told", "--out", folder / "x"),
    ):
        found = house.cli(*command)
        aviary.assert_silent(str(command), found.out + found.err)
    assert_errors_are_silent(aviary)
    assert_files_are_silent(aviary)
    assert_rows_are_silent(aviary)


def assert_messages_are_silent(aviary: Aviary) -> None:
    client = Redis.from_url(aviary.broker, decode_responses=True)
    dumped = [(client.dump if client.type(key) != "string" else client.get)(key) for key in client.keys("*")]
    aviary.assert_silent("messages", repr(dumped))


def assert_processes_are_silent(aviary: Aviary) -> None:
    """Anybody on the machine may read a command line."""
    for pids in aviary.house.processes().values():
        for pid in pids:
            line = Path(f"/proc/{pid}/cmdline")
            aviary.assert_silent(f"process {pid}", line.read_text() if line.exists() else "")


def crash_the_database(house: House) -> None:
    """Whoever is connected learns of it the hard way."""
    import psutil  # of the extra `local`, without which the tests that need a stack are skipped

    server = psutil.Process(min(house.processes()["postgres"]))
    (writer,) = [child for child in server.children() if "walwriter" in " ".join(child.cmdline())]
    writer.kill()


def assert_errors_are_silent(aviary: Aviary) -> None:
    """Every address wrong in turn, with its secret in it."""
    wrong = {
        "INSTRUCTREE_DATABASE_URL": f"postgresql://instructree:{DATABASE}@127.0.0.1:1/none",
        "INSTRUCTREE_REDIS_URL": f"redis://:{aviary.secrets[2]}@127.0.0.1:1/0",
        "OPENAI_BASE_URL": f"http://127.0.0.1:1/{API_KEY}/v1",
    }
    seeds = aviary.folder / "seeds.jsonl"
    for name, value in wrong.items():
        for command in (("doctor",), ("run", seeds, "--name", "wrong", "--out", aviary.folder / "wrong")):
            found = aviary.house.at({name: value}).cli(*command)
            assert found.code != 0
            if name != "OPENAI_BASE_URL":  # who writes a key into an address has published it themselves
                aviary.assert_silent(f"{command} with a wrong {name}", found.out + found.err)
    unknown = aviary.house.at({"OPENAI_API_KEY": f"{API_KEY}-wrong"}).cli(
        "run", seeds, "--name", "locked", "--out", aviary.folder / "locked"
    )
    assert unknown.code == 2
    aviary.assert_silent("a wrong key", unknown.out + unknown.err)


def assert_files_are_silent(aviary: Aviary) -> None:
    paths = [path for root in (aviary.house.home, aviary.folder) for path in root.rglob("*") if path.is_file()]
    logs = [path for path in paths if path.suffix == ".log"]
    assert len(logs) >= 5 and any(b"database_away" in path.read_bytes() for path in logs)
    for path in paths:
        if path.name not in KEPT:
            aviary.assert_silent(str(path), path.read_bytes().decode(errors="replace"))


def assert_rows_are_silent(aviary: Aviary) -> None:
    tables = aviary.house.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    for (table,) in tables:
        dumped = aviary.house.sql(f'SELECT x::text FROM "{table}" x')
        aviary.assert_silent(f"table {table}", "\n".join(row[0] for row in dumped))


def test_verify_finds_a_secret_in_a_row(aviary: Aviary) -> None:
    house, seeds = aviary.house, write_seeds(aviary.folder / "seeds.jsonl", 1, "a planted secret")
    assert house.run(seeds, "planted", "--set", "search.iterations=1").code == 0
    assert house.verified("planted")
    house.sql("UPDATE trees SET reason = :said RETURNING id", said=f"the key is {API_KEY}")
    found = house.cli("verify", "planted")
    assert found.code == 1 and "1 rows of table trees" in found.out
    aviary.assert_silent("verify", found.out + found.err)
