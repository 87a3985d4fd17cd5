"""The main job from end to end: seeds in, data set and report out, and what every command says about it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.e2e.house import ROW_KEYS, Done, House, Model, rows, until, write_seeds

STATUS_KEYS = {
    *("name", "recipe", "status", "seeds", "trees_done", "nodes", "nodes_scored", "nodes_unscored", "nodes_rejected"),
    *("examples", "calls", "calls_replayed", "tokens_in", "tokens_out", "usd", "failures", "mean_seed"),
    *("mean_harvest", "queues", "rate", "eta_s"),
}
SCORES = {"quality", "diversity", "complexity", "reward"}
PRICED = """
[endpoints.default]
base_url = "URL"
api_key_env = "HOUSE_KEY"
model = "scripted"
usd_per_million_in = 1.0
usd_per_million_out = 2.0
# The worst case is set aside before anything is asked: what a call may take at most, not what it takes.
[roles]
evolver = { max_tokens = 256, max_prompt_tokens = 1024 }
judge = { max_tokens = 512, max_prompt_tokens = 2048 }
responder = { max_tokens = 256, max_prompt_tokens = 1024 }
[harvest]
size = 5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A run that went well: its seeds, its folder and what it said."""

    seeds: Path
    out: Path
    done: Done
    asked: int


@pytest.fixture(scope="module")
def grown(house: House, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    seeds = write_seeds(tmp_path_factory.mktemp("run") / "seeds.jsonl", 8, "the main job")
    paid = model.paid
    done = house.run(seeds, "main")
    return Grown(seeds=seeds, out=seeds.parent / "main", done=done, asked=model.paid - paid)


def test_it_ends_well_and_says_what_came_of_it(grown: Grown) -> None:
    assert grown.done.code == 0, grown.done.err
    assert grown.done.out == ""  # standard output is for data
    assert "run main: 8 seeds, recipe idea-mcts" in grown.done.err
    assert f"examples in {grown.out / 'dataset.jsonl'}" in grown.done.err
    assert {path.name for path in grown.out.iterdir()} == {"dataset.jsonl", "report.html"}


def test_every_row_names_what_it_comes_from_and_no_two_are_alike(grown: Grown) -> None:
    found = rows(grown.out / "dataset.jsonl")
    seeds = {row["instruction"] for row in rows(grown.seeds)}
    assert found
    assert [row["id"] for row in found if set(row) < ROW_KEYS] == []
    assert len({" ".join(row["instruction"].lower().split()) for row in found}) == len(found)
    assert len({row["id"] for row in found}) == len(found)
    for row in found:
        assert row["seed"] in seeds and row["instruction"] not in seeds
        assert row["depth"] == len(row["operators"]) >= 1
        assert row["reward"] == pytest.approx(row["quality"] + row["diversity"] + row["complexity"])
        assert row["output"].strip()
        assert row["parent_id"].rpartition("/")[0] == row["id"].rpartition("/")[0]
        assert row["models"] and row["cost"]["calls"] > 0 and row["cost"]["tokens_in"] > 0


class Addresses(HTMLParser):
    """What a page would ask for: addresses in attributes and styles, not those in its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        loads = [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "style")]
        self.found += [value for value in loads if not value.startswith("#")]

    def handle_data(self, data: str) -> None:
        if self.style:
            self.found += re.findall(r"url\((?![\"']?#)[^)]*\)|@import[^;]*", data)
            self.style = False


def test_the_report_is_one_file_that_asks_nobody(grown: Grown) -> None:
    page = (grown.out / "report.html").read_text(encoding="utf-8")
    seen = Addresses()
    seen.feed(page)
    assert [found for found in seen.found if re.search(r"https?:|//|url\((?![\"']?#)|@import", found)] == []
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(", page)
    best = max(rows(grown.out / "dataset.jsonl"), key=lambda row: row["reward"])
    assert best["instruction"][:40].replace("'", "&#x27;") in page or best["instruction"][:40] in page


def test_every_law_holds_as_words_and_as_json(grown: Grown, house: House) -> None:
    said = house.cli("verify", "main")
    assert said.code == 0 and said.err == ""
    found = json.loads(house.cli("verify", "main", "--json").out)
    assert found == {"name": "main", "laws": len(said.out.splitlines()), "broken": {}}


def test_status_counts_what_the_tables_hold(grown: Grown, house: House, model: Model) -> None:
    done = house.cli("status", "main", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)  # one object and nothing else
    assert set(found) >= STATUS_KEYS
    assert set(found["mean_seed"]) == set(found["mean_harvest"]) == SCORES
    assert set(found["rate"]) == {"calls_per_s", "nodes_per_s", "tokens_per_s"}
    assert set(found["eta_s"]) == {"low", "high"}
    assert {name: found[name] for name in COUNTED} == {
        name: house.number(query, run="main") for name, query in COUNTED.items()
    }
    assert found["failures"] == {row.reason: row.n for row in house.sql(REASONS, run="main")}
    for when, query in MEANS.items():
        means = {name: house.number(query.format(name=name), run="main") for name in SCORES}
        assert found[when] == pytest.approx(means, abs=1e-4)
    assert found["calls"] == grown.asked == model_calls(found)
    assert found["examples"] == len(rows(grown.out / "dataset.jsonl"))
    assert found["usd"] is None  # no price is known, which is not the same as nothing
    assert [worker["tasks_done"] >= 0 for worker in found["workers"]] == [True, True]


def model_calls(status: dict[str, int]) -> int:
    return status["calls"] + status["calls_replayed"]


OF_RUN = "FROM {table} x JOIN runs r ON r.id = x.run_id WHERE r.name = :run"
NODES = (
    "SELECT count(*) FROM nodes n JOIN trees t ON t.id = n.tree_id JOIN runs r ON r.id = t.run_id WHERE r.name = :run"
)
COUNTED = {
    "recipe": "SELECT recipe FROM runs WHERE name = :run",
    "status": "SELECT status FROM runs WHERE name = :run",
    "seeds": f"SELECT count(*) {OF_RUN.format(table='trees')}",
    "trees_done": f"SELECT count(*) {OF_RUN.format(table='trees')} AND x.status = 'grown'",
    "nodes": NODES,
    "nodes_scored": f"{NODES} AND n.reward IS NOT NULL",
    "nodes_unscored": f"{NODES} AND n.status = 'unscored'",
    "nodes_rejected": f"{NODES} AND n.status = 'rejected'",
    "examples": f"SELECT count(*) {OF_RUN.format(table='examples')} AND x.status = 'accepted'",
    "calls": f"SELECT count(*) {OF_RUN.format(table='calls')}",
    "calls_replayed": "SELECT calls_replayed FROM runs WHERE name = :run",
    "tokens_in": f"SELECT sum(tokens_in) {OF_RUN.format(table='calls')}",
    "tokens_out": f"SELECT sum(tokens_out) {OF_RUN.format(table='calls')}",
}
REASONS = f"""
    SELECT reason, count(*) AS n FROM (
        {NODES.replace("count(*)", "n.reason")} AND n.status IN ('rejected', 'failed', 'unscored')
        UNION ALL SELECT x.reason {OF_RUN.format(table="examples")} AND x.status IN ('rejected', 'failed')
    ) AS found GROUP BY reason
"""
SEEDED = NODES.replace("count(*)", "avg(n.{name})")
MEANS = {
    "mean_seed": f"{SEEDED} AND n.depth = 0 AND n.reward IS NOT NULL",
    "mean_harvest": f"{SEEDED} AND EXISTS (SELECT 1 FROM examples x WHERE x.tree_id = n.tree_id"
    " AND x.node_key = n.key AND x.status = 'accepted')",
}


def test_status_is_told_in_words_too(grown: Grown, house: House) -> None:
    assert "main: done" in house.cli("status").out
    words = house.cli("status", "main").out
    assert "8 of 8" in words and "tasks done" in words
    listed = json.loads(house.cli("status", "--json").out)
    assert "main" in [run["name"] for run in listed["runs"]]


def test_the_doctor_finds_everything_well(grown: Grown, house: House) -> None:
    done = house.cli("doctor")
    assert done.code == 0 and "wrong" not in done.out
    assert {line.split()[1].rstrip(":") for line in done.out.splitlines() if line.startswith("ok")} == {
        *("disk", "libraries", "settings", "configuration", "database", "broker", "models", "workers", "notices")
    }


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_array(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_parquet(path: Path) -> list[dict[str, object]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `export` is not installed")
    found: list[dict[str, object]] = parquet.read_table(path).to_pylist()
    return found


FORMATS = {
    "jsonl": (read_lines, ROW_KEYS),
    "parquet": (read_parquet, ROW_KEYS),
    "alpaca": (read_array, {"instruction", "input", "output"}),
    "sharegpt": (read_array, {"conversations"}),
    "messages": (read_lines, {"messages"}),
}


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_holds_every_row_in_its_format(form: str, grown: Grown, house: House, tmp_path: Path) -> None:
    read, keys = FORMATS[form]
    done = house.cli("export", "main", "--format", form, "--out", tmp_path / "new" / "file")
    assert (done.code, done.out) == (0, ""), done.err
    wanted, found = rows(grown.out / "dataset.jsonl"), read(tmp_path / "new" / "file")
    assert len(found) == len(wanted)
    assert all(set(row) >= keys for row in found)
    for row, original in zip(found, wanted, strict=True):
        written = json.dumps(row)
        assert json.dumps(original["instruction"])[1:-1] in written and json.dumps(original["output"])[1:-1] in written


def test_the_same_command_again_says_that_the_run_has_ended_and_asks_nothing(
    grown: Grown, house: House, model: Model
) -> None:
    before, paid = (grown.out / "dataset.jsonl").read_bytes(), model.paid
    again = house.run(grown.seeds, "main")
    assert again.code == 0
    assert "run main has ended already (done); choose another --name" in again.err
    assert (grown.out / "dataset.jsonl").read_bytes() == before
    assert model.paid == paid


def test_what_was_paid_for_once_is_never_asked_again(grown: Grown, house: House, model: Model) -> None:
    paid = model.paid
    assert house.run(grown.seeds, "again").code == 0
    found = house.status("again")
    assert model.paid == paid
    assert (found["calls"], found["calls_replayed"]) == (0, grown.asked)
    first, second = (rows(grown.seeds.parent / name / "dataset.jsonl") for name in ("main", "again"))
    assert [without_ids(row) for row in second] == [without_ids(row) for row in first]
    assert house.verified("again")


def without_ids(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("id", "parent_id")}


def test_a_run_without_a_name_is_named_after_its_seeds_and_duplicates_are_kept_once(
    house: House, tmp_path: Path
) -> None:
    seeds = write_seeds(tmp_path / "garden.jsonl", 2, "names")
    doubled = seeds.read_text()
    seeds.write_text(doubled + doubled.upper().replace('"INSTRUCTION"', '"instruction"'))
    done = house.cli("run", seeds, "--no-responses", "--set", "search.iterations=1", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "run garden-1: 2 seeds, 2 duplicates left out" in done.err
    assert len(rows(tmp_path / "out" / "dataset.jsonl")) == house.status("garden-1")["examples"]
    assert house.status("garden-1")["seeds_duplicate"] == 2


def test_without_responses_nobody_is_asked_for_any(house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 2, "no responses")
    assert house.run(seeds, "bare", "--no-responses").code == 0
    found = rows(tmp_path / "bare" / "dataset.jsonl")
    assert found and {row["output"] for row in found} == {None}
    asked = f"SELECT count(*) {OF_RUN.format(table='calls')} AND x.role = 'responder'"
    assert house.number(asked, run="bare") == 0
    assert house.verified("bare")


def test_a_cap_on_calls_ends_the_run_with_what_it_has(house: House, model: Model, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 12, "a cap on calls")
    paid = model.paid
    done = house.run(seeds, "capped", "--max-calls", "60")
    assert done.code == 3, done.err
    assert "stopped by its budget" in done.err
    found = house.status("capped")
    assert found["calls"] == model.paid - paid <= 60
    assert found["status"] == "stopped" and found["trees_done"] < found["seeds"] == 12
    assert len(rows(tmp_path / "capped" / "dataset.jsonl")) == found["examples"] > 0
    assert (tmp_path / "capped" / "report.html").exists()
    assert house.verified("capped")


@pytest.fixture
def priced(house: House, model: Model, tmp_path: Path) -> Iterator[tuple[House, Path]]:
    """The endpoint named by a configuration file, and its key by a variable of the user's own."""
    config = tmp_path / "config.toml"
    config.write_text(PRICED.replace("URL", model.base_url))
    yield house.at({"OPENAI_BASE_URL": "", "OPENAI_API_KEY": "", "HOUSE_KEY": model.key}), config


def test_an_endpoint_from_a_file_has_its_price_and_money_can_be_capped(
    priced: tuple[House, Path], tmp_path: Path
) -> None:
    house, config = priced
    free = house.run(write_seeds(tmp_path / "a.jsonl", 2, "prices"), "priced", "--config", config)
    assert free.code == 0, free.err
    found = house.status("priced")
    assert found["usd"] == pytest.approx((found["tokens_in"] + 2 * found["tokens_out"]) / 1e6, abs=1e-9)
    assert found["usd"] > 0
    cost = [row["cost"]["usd"] for row in rows(tmp_path / "priced" / "dataset.jsonl")]
    assert cost and min(cost) > 0
    seeds = write_seeds(tmp_path / "b.jsonl", 12, "a cap on money")
    capped = house.run(seeds, "poor", "--config", config, "--max-usd", "0.04")
    assert capped.code == 3, capped.err
    assert 0 < house.status("poor")["usd"] <= 0.04
    assert rows(tmp_path / "poor" / "dataset.jsonl")
    assert house.verified("priced") and house.verified("poor")


def test_the_key_is_nowhere_but_where_the_user_put_it(grown: Grown, house: House, model: Model) -> None:
    """Logs, state, rows and output of everything that this session's stack has done so far."""
    files = [path for path in house.home.rglob("*") if path.is_file()]
    logs = [path for path in files if path.suffix == ".log"]
    assert len(logs) >= 5 and sum(path.stat().st_size for path in logs) > 1000
    holding = [path for path in files if model.key.encode() in path.read_bytes()]
    assert holding == []
    assert [words for words in house.said if model.key in words] == []
    assert [path for path in grown.out.iterdir() if model.key in path.read_text()] == []
    with house.engine() as engine, engine.connect() as connection:
        tables = [str(row[0]) for row in connection.execute(text(TABLES))]
        dumps = {name: dump(connection.execute(text(f'SELECT x::text FROM "{name}" x')).scalars()) for name in tables}
    assert len(dumps["calls"]) > 1000 and "runs" in dumps
    assert [name for name, rows_ in dumps.items() if model.key in rows_] == []


TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


def dump(values: object) -> str:
    return "\n".join(map(str, values))  # type: ignore[call-overload]  # rows of text


def test_workers_are_in_the_register_and_have_worked(grown: Grown, house: House) -> None:
    """Their figures reach the register with their next beat."""
    until(lambda: sum(worker["tasks_done"] for worker in house.status("main")["workers"]) > 0, "tasks done", every_s=1)
