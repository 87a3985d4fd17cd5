"""Looking through what is there, a page at a time. Queries are bounded by their page, their tree or their time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, select, text

from db import runs
from db.nodes import node_row
from db.records import NodeRow, Run, TreeRow
from db.schema import runs as run_rows
from db.schema import trees as tree_rows
from db.verdicts import EXPORTED

# Beyond this many, pages say "more than".
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list: `size` rows after the first `skip`."""

    skip: int
    size: int


def runs_page(connection: Connection, words: str, page: Page) -> list[Run]:
    """Runs whose name holds `words`, newest first."""
    query = select(run_rows.c.id).order_by(run_rows.c.id.desc()).offset(page.skip).limit(page.size)
    query = query.where(run_rows.c.name.icontains(words, autoescape=True)) if words else query
    return [runs.by_id(connection, run_id) for run_id in connection.scalars(query)]


def runs_counted(connection: Connection, words: str) -> int:
    query = select(func.count()).select_from(run_rows)
    query = query.where(run_rows.c.name.icontains(words, autoescape=True)) if words else query
    return int(connection.execute(query).scalar_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Answers of a window of time. `nusd` sums the prices that are known."""

    calls: int
    tokens: int
    nusd: int


def paid_lately(connection: Connection, run_ids: Sequence[int], window_s: float) -> Mapping[int, Paid]:
    """By run; a run that paid for nothing in the window is absent."""
    query = """
        SELECT run_id, count(*) AS calls, sum(tokens_in + tokens_out)::bigint AS tokens,
               coalesce(sum(nusd), 0)::bigint AS nusd
        FROM calls WHERE created_at > now() - make_interval(secs => :window) AND run_id = ANY (:runs) GROUP BY run_id
    """
    rows = connection.execute(text(query), {"runs": list(run_ids), "window": window_s})
    return {row.run_id: Paid(calls=row.calls, tokens=row.tokens, nusd=row.nusd) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A worker or orchestrator that beat within the last hour and has not left."""

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    tasks_done: int
    silent_s: float


_PROCESSES = """
    SELECT id, host, pid, version, queues, slots, busy, tasks_done,
           extract(epoch FROM now() - beat_at)::float8 AS silent_s
    FROM workers WHERE left_at IS NULL AND beat_at > now() - interval '1 hour' ORDER BY host, id LIMIT 500
"""


def processes(connection: Connection) -> list[Process]:
    return [
        Process(**{**row._mapping, "queues": tuple(row.queues), "silent_s": max(row.silent_s, 0.0)})
        for row in connection.execute(text(_PROCESSES))
    ]


# --- trees


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLine:
    """A tree in a list. `open` are nodes that wait for a text or a score."""

    ordinal: int
    status: str
    reason: str | None
    instruction: str
    nodes: int
    open: int
    depth: int
    seed_reward: float | None
    best_reward: float | None
    accepted: int


_TREES_WHERE = """
    t.run_id = :run AND (:status = '' OR t.status = :status)
    AND (:words = '' OR t.seed ->> 'instruction' ILIKE :pattern OR t.ordinal::text = :words)
"""
_TREES = text(
    f"""
    WITH page AS (
        SELECT t.* FROM trees t WHERE {_TREES_WHERE} ORDER BY t.ordinal LIMIT :size OFFSET :skip
    )
    SELECT p.ordinal, p.status, p.reason, left(p.seed ->> 'instruction', 400) AS instruction,
           f.nodes, f.open, f.depth, f.seed_reward, f.best_reward,
           (SELECT count(*) FROM examples e WHERE e.run_id = p.run_id AND e.tree_id = p.id AND e.status = 'accepted')
               AS accepted
    FROM page p, LATERAL (
        SELECT count(*) AS nodes, count(*) FILTER (WHERE n.status IN ('proposed', 'generated')) AS open,
               coalesce(max(n.depth), 0) AS depth, max(n.reward) FILTER (WHERE n.parent_key IS NULL) AS seed_reward,
               max(n.reward) FILTER (WHERE n.parent_key IS NOT NULL) AS best_reward
        FROM nodes n WHERE n.tree_id = p.id
    ) AS f ORDER BY p.ordinal
    """
)


def trees_page(connection: Connection, run_id: int, words: str, status: str, page: Page) -> list[TreeLine]:
    """Trees in the order of their seeds, whose seed holds `words` or whose number they are."""
    values = {**_sought(run_id, words), "status": status, "size": page.size, "skip": page.skip}
    return [TreeLine(**row._mapping) for row in connection.execute(_TREES, values)]


def trees_counted(connection: Connection, run_id: int, words: str, status: str) -> int:
    query = text(f"SELECT count(*) FROM trees t WHERE {_TREES_WHERE}")
    return int(connection.execute(query, {**_sought(run_id, words), "status": status}).scalar_one())


def _sought(run_id: int, words: str) -> dict[str, object]:
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {"run": run_id, "words": words, "pattern": f"%{escaped}%"}


def tree(connection: Connection, run_id: int, ordinal: int) -> TreeRow | None:
    query = select(tree_rows).where(tree_rows.c.run_id == run_id, tree_rows.c.ordinal == ordinal)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return TreeRow(
        id=row.id, run_id=row.run_id, ordinal=row.ordinal, seed=row.seed, status=row.status, reason=row.reason
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A node without its text. `fate` is that of its example: "" where it has none."""

    key: str
    parent_key: str | None
    depth: int
    operator: str | None
    origin: str
    status: str
    reward: float | None
    visits: int
    created_at: datetime
    settled_at: datetime | None
    fate: str


_DOTS = text(
    """
    SELECT n.key, n.parent_key, n.depth, n.operator, n.origin, n.status, n.reward, n.visits, n.created_at, n.settled_at,
           coalesce(e.status, '') AS fate
    FROM nodes n LEFT JOIN examples e ON e.run_id = :run AND e.tree_id = n.tree_id AND e.node_key = n.key
    WHERE n.tree_id = :tree ORDER BY n.depth, n.parent_key, n.ordinal
    """
)


def dots(connection: Connection, row: TreeRow) -> list[Dot]:
    """All nodes of a tree, parents before children."""
    return [Dot(**found._mapping) for found in connection.execute(_DOTS, {"run": row.run_id, "tree": row.id})]


def tree_mark(connection: Connection, tree_id: int) -> str:
    """Differs when the tree has: how many nodes it has, how many are settled, how often they were visited."""
    query = "SELECT count(*), count(settled_at), coalesce(sum(visits), 0) FROM nodes WHERE tree_id = :tree"
    return "/".join(map(str, connection.execute(text(query), {"tree": tree_id}).one()))


_PATH = text(
    """
    WITH RECURSIVE up AS (
        SELECT n.* FROM nodes n WHERE n.tree_id = :tree AND n.key = :key
        UNION ALL
        SELECT n.* FROM nodes n JOIN up ON n.tree_id = up.tree_id AND n.key = up.parent_key
    )
    SELECT * FROM up ORDER BY depth
    """
)


def path(connection: Connection, tree_id: int, key: str) -> list[NodeRow]:
    """From the seed down to this node; empty where there is none."""
    return [node_row(row) for row in connection.execute(_PATH, {"tree": tree_id, "key": key})]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLine:
    """A call that made, judged or answered something. `sharers`: how many siblings it served."""

    role: str
    endpoint: str
    model: str
    tokens_in: int
    tokens_out: int
    nusd: int | None
    latency_s: float
    outcome: str
    created_at: datetime
    sharers: int


_CALLS = """
    SELECT c.role, c.endpoint, c.model, c.tokens_in, c.tokens_out, c.nusd, c.latency_s, c.outcome, c.created_at,
           {sharers} AS sharers
    FROM calls c WHERE c.key = ANY (:keys) ORDER BY c.id
"""
_SIBLINGS = """
    greatest((SELECT count(*) FROM nodes s WHERE s.tree_id = :tree AND s.parent_key IS NOT DISTINCT FROM :parent
              AND c.key = ANY (s.calls)), 1)
"""


def calls_of_node(connection: Connection, node: NodeRow) -> list[CallLine]:
    """What was asked for a node, in order, and how many of its siblings the same call served."""
    values = {"keys": list(node.calls), "tree": node.tree_id, "parent": node.parent_key}
    return [CallLine(**row._mapping) for row in connection.execute(text(_CALLS.format(sharers=_SIBLINGS)), values)]


def calls_by_key(connection: Connection, keys: Sequence[str]) -> list[CallLine]:
    rows = connection.execute(text(_CALLS.format(sharers="1")), {"keys": list(keys)})
    return [CallLine(**row._mapping) for row in rows]


# --- examples

Sort = Literal["first", "last", "best", "worst", "longest"]
_ORDERS: Mapping[str, str] = {
    "first": "e.id",
    "last": "e.id DESC",
    "best": "n.reward DESC NULLS LAST, e.id",
    "worst": "n.reward NULLS LAST, e.id",
    "longest": "length(e.instruction) + length(coalesce(e.output, '')) DESC, e.id",
}
SORTS = tuple(_ORDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which examples; an empty word asks for no such thing. `verdict`: keep, drop or none (nobody said anything)."""

    words: str = ""
    status: str = ""
    reason: str = ""
    operator: str = ""
    verdict: str = ""
    sort: Sort = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleLine:
    """A row with where it comes from. `tree` and `node_key` are of a tree, `ordinal` and `instance` of a pool."""

    id: int
    status: str
    reason: str | None
    instruction: str
    input: str
    output: str | None
    ordinal: int | None
    instance: int | None
    tree: int | None
    tree_id: int | None
    node_key: str | None
    operator: str | None
    depth: int | None
    quality: float | None
    diversity: float | None
    complexity: float | None
    reward: float | None
    response_calls: tuple[str, ...]
    verdict: str | None
    verdict_reason: str | None
    exported: bool


_EXAMPLE = f"""
    SELECT e.id, e.status, e.reason, e.instruction, e.input, e.output, e.ordinal, e.instance, t.ordinal AS tree,
           e.tree_id, e.node_key, n.operator, n.depth, n.quality, n.diversity, n.complexity, n.reward, e.response_calls,
           v.verdict, v.reason AS verdict_reason, {EXPORTED} AS exported
"""
_EXAMPLES_FROM = """
    FROM examples e LEFT JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key
    LEFT JOIN trees t ON t.id = e.tree_id
    LEFT JOIN LATERAL (
        SELECT verdict, reason FROM verdicts WHERE example_id = e.id ORDER BY id DESC LIMIT 1
    ) AS v ON true
"""
_EXAMPLES_WHERE = """
    e.run_id = :run AND (:status = '' OR e.status = :status) AND (:reason = '' OR e.reason = :reason)
    AND (:operator = '' OR n.operator = :operator)
    AND (:verdict = '' OR coalesce(v.verdict, 'none') = :verdict)
    AND (:words = '' OR e.instruction ILIKE :pattern OR e.output ILIKE :pattern)
"""


def examples_page(connection: Connection, run_id: int, sought: Sought, page: Page) -> list[ExampleLine]:
    query = f"""
        {_EXAMPLE} {_EXAMPLES_FROM} WHERE {_EXAMPLES_WHERE} ORDER BY {_ORDERS[sought.sort]} LIMIT :size OFFSET :skip
    """
    values = {**_asked(run_id, sought), "size": page.size, "skip": page.skip}
    return [_line(row) for row in connection.execute(text(query), values)]


def examples_counted(connection: Connection, run_id: int, sought: Sought) -> int:
    """How many there are, at most one more than `MOST_COUNTED`."""
    query = f"SELECT count(*) FROM (SELECT 1 {_EXAMPLES_FROM} WHERE {_EXAMPLES_WHERE} LIMIT :most) AS found"
    values = {**_asked(run_id, sought), "most": MOST_COUNTED + 1}
    return int(connection.execute(text(query), values).scalar_one())


def example(connection: Connection, run_id: int, example_id: int) -> ExampleLine | None:
    query = text(f"{_EXAMPLE} {_EXAMPLES_FROM} WHERE e.run_id = :run AND e.id = :example")
    row = connection.execute(query, {"run": run_id, "example": example_id}).one_or_none()
    return None if row is None else _line(row)


def example_reasons(connection: Connection, run_id: int) -> list[str]:
    """Why examples were turned down or failed, the most frequent first."""
    query = """
        SELECT reason FROM totals WHERE run_id = :run AND what = 'examples' AND reason <> ''
        GROUP BY 1 HAVING sum(count) > 0 ORDER BY sum(count) DESC, reason
    """
    return list(connection.scalars(text(query), {"run": run_id}))


def _asked(run_id: int, sought: Sought) -> dict[str, object]:
    return {
        **_sought(run_id, sought.words),
        "status": sought.status,
        "reason": sought.reason,
        "operator": sought.operator,
        "verdict": sought.verdict,
    }


def _line(row: Row[Any]) -> ExampleLine:
    return ExampleLine(**{**row._mapping, "response_calls": tuple(row.response_calls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """An instruction of a pool and the texts that it was generated from."""

    round: int | None
    nearest: int | None
    similarity: float | None
    shown: tuple[tuple[int, str], ...]
    calls: tuple[str, ...]


def origin(connection: Connection, run_id: int, ordinal: int) -> Origin | None:
    query = "SELECT * FROM instructions WHERE run_id = :run AND ordinal = :ordinal"
    row = connection.execute(text(query), {"run": run_id, "ordinal": ordinal}).one_or_none()
    if row is None:
        return None
    query = "SELECT ordinal, text FROM instructions WHERE run_id = :run AND ordinal = ANY (:shown) ORDER BY ordinal"
    shown = connection.execute(text(query), {"run": run_id, "shown": list(row.shown)})
    return Origin(
        round=row.round,
        nearest=row.nearest,
        similarity=row.similarity,
        shown=tuple((one.ordinal, one.text) for one in shown),
        calls=tuple(row.calls),
    )
