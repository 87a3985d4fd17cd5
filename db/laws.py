"""The laws of the design's section 10, recounted from the rows. Each query lists what breaks its law."""

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, Table, Text, cast, false, func, literal_column, or_, select, text

from db.schema import metadata

LAWS: dict[str, str] = {
    "every tree has exactly one root, and every node its parent, one level deeper": """
        SELECT 'tree ' || t.ordinal FROM trees t
        WHERE t.run_id = :run AND t.status <> 'waiting'
          AND (SELECT count(*) FROM nodes n WHERE n.tree_id = t.id AND n.parent_key IS NULL) <> 1
        UNION ALL
        SELECT 'node ' || n.key FROM nodes n JOIN trees t ON t.id = n.tree_id
          LEFT JOIN nodes p ON p.tree_id = n.tree_id AND p.key = n.parent_key
        WHERE t.run_id = :run AND n.parent_key IS NOT NULL AND n.depth IS DISTINCT FROM p.depth + 1
    """,
    "no node exists twice": """
        SELECT 'node ' || n.key FROM nodes n JOIN trees t ON t.id = n.tree_id WHERE t.run_id = :run
        GROUP BY n.tree_id, n.key HAVING count(*) > 1
        UNION ALL
        SELECT 'child ' || n.ordinal || ' of ' || n.parent_key FROM nodes n JOIN trees t ON t.id = n.tree_id
        WHERE t.run_id = :run GROUP BY n.tree_id, n.parent_key, n.ordinal HAVING count(*) > 1
    """,
    "no node is lost: an ended run has none that waits": """
        SELECT 'node ' || n.key || ' is ' || n.status FROM nodes n
          JOIN trees t ON t.id = n.tree_id JOIN runs r ON r.id = t.run_id
        WHERE r.id = :run AND r.phase = 'ended' AND t.status = 'grown' AND n.status IN ('proposed', 'generated')
        UNION ALL
        SELECT 'task ' || k.key || ' is ' || k.state FROM tasks k JOIN runs r ON r.id = k.run_id
        WHERE r.id = :run AND r.phase = 'ended' AND k.applied_at IS NULL
    """,
    "every waiting node of a growing tree has its task": """
        SELECT 'node ' || n.key || ' is ' || n.status FROM nodes n
          JOIN trees t ON t.id = n.tree_id JOIN runs r ON r.id = t.run_id
        WHERE r.id = :run AND r.status <> 'cancelled' AND t.status = 'growing' AND n.status = 'proposed'
          AND NOT EXISTS (SELECT 1 FROM tasks k WHERE k.tree_id = n.tree_id AND k.kind = 'expand'
                          AND k.payload -> 'children' @> jsonb_build_array(jsonb_build_object('key', n.key)))
    """,
    "visits and values are exactly the rollouts summed up": """
        WITH RECURSIVE up AS (
            SELECT o.tree_id, o.ordinal, o.reward, o.leaf_key AS key FROM rollouts o JOIN trees t ON t.id = o.tree_id
            WHERE t.run_id = :run AND o.reward IS NOT NULL
            UNION ALL
            SELECT up.tree_id, up.ordinal, up.reward, n.parent_key FROM up
            JOIN nodes n ON n.tree_id = up.tree_id AND n.key = up.key WHERE n.parent_key IS NOT NULL
        ), recount AS (
            SELECT tree_id, key, count(*) AS visits, sum(reward ORDER BY ordinal) AS value_sum
            FROM up GROUP BY tree_id, key
        )
        SELECT 'node ' || n.key || ': ' || n.visits || ' visits, ' || n.value_sum
        FROM nodes n JOIN trees t ON t.id = n.tree_id
          LEFT JOIN recount c ON c.tree_id = n.tree_id AND c.key = n.key
        WHERE t.run_id = :run
          AND (n.visits <> coalesce(c.visits, 0) OR n.value_sum IS DISTINCT FROM coalesce(c.value_sum, 0))
    """,
    "a rollout's reward is its leaf's": """
        SELECT 'rollout ' || o.ordinal || ' of tree ' || t.ordinal FROM rollouts o JOIN trees t ON t.id = o.tree_id
          JOIN nodes n ON n.tree_id = o.tree_id AND n.key = o.leaf_key
        WHERE t.run_id = :run AND o.reward IS DISTINCT FROM n.reward
    """,
    "what is spent is what the ledger holds and what was lost, but for what an outstanding task still reserves": """
        SELECT 'spent ' || r.spent_calls || ' calls, the ledger has ' || c.calls || ', lost are ' || a.calls
        FROM runs r, LATERAL (
            SELECT count(*) AS calls, coalesce(sum(c.tokens_in + c.tokens_out), 0) AS tokens,
                   coalesce(sum(c.nusd), 0) AS nusd
            FROM calls c LEFT JOIN tasks k ON k.id = c.task_id AND k.applied_at IS NULL
            WHERE c.run_id = r.id AND k.id IS NULL
        ) AS c, LATERAL (
            SELECT count(*) AS calls, coalesce(sum(a.tokens), 0) AS tokens, coalesce(sum(a.nusd), 0) AS nusd
            FROM attempts a WHERE a.run_id = r.id AND a.settled
        ) AS a
        WHERE r.id = :run AND (r.spent_calls <> c.calls + a.calls OR r.spent_tokens <> c.tokens + a.tokens
                               OR r.spent_nusd <> c.nusd + a.nusd)
    """,
    "an outstanding task has reserved what it has paid for and what it may have to pay for": """
        SELECT 'task ' || k.key || ' reserved ' || k.reserved_calls || ' calls and may have used ' || u.calls
        FROM tasks k, LATERAL (
            SELECT count(*) AS calls, coalesce(sum(tokens), 0) AS tokens, coalesce(sum(nusd), 0) AS nusd FROM (
                SELECT c.tokens_in + c.tokens_out AS tokens, c.nusd FROM calls c WHERE c.task_id = k.id
                UNION ALL SELECT a.tokens, a.nusd FROM attempts a WHERE a.task_id = k.id
            ) AS used
        ) AS u
        WHERE k.run_id = :run AND k.applied_at IS NULL
          AND (u.calls > k.reserved_calls OR u.tokens > k.reserved_tokens OR u.nusd > k.reserved_nusd)
    """,
    "an attempt without an answer is settled with its task, and open no longer than that": """
        SELECT 'attempt ' || a.id || ' is ' || a.fate FROM attempts a
        LEFT JOIN tasks k ON k.id = a.task_id AND k.applied_at IS NULL
        WHERE a.run_id = :run AND ((k.id IS NULL AND (a.fate = 'open' OR NOT a.settled))
                                   OR (k.id IS NOT NULL AND a.settled))
    """,
    "what is reserved is what the outstanding tasks reserved": """
        SELECT 'reserved ' || r.reserved_calls || ' calls, the tasks say ' || k.calls FROM runs r, LATERAL (
            SELECT coalesce(sum(reserved_calls), 0) AS calls, coalesce(sum(reserved_tokens), 0) AS tokens,
                   coalesce(sum(reserved_nusd), 0) AS nusd
            FROM tasks WHERE run_id = r.id AND applied_at IS NULL
        ) AS k
        WHERE r.id = :run
          AND (r.reserved_calls <> k.calls OR r.reserved_tokens <> k.tokens OR r.reserved_nusd <> k.nusd)
    """,
    "the sums of trees, nodes, texts and examples are those of the rows": """
        WITH recount AS (
            SELECT 'trees' AS what, status, coalesce(reason, '') AS reason, count(*) AS count, 0::numeric AS quality,
                   0::numeric AS diversity, 0::numeric AS complexity, 0::numeric AS reward
            FROM trees WHERE run_id = :run GROUP BY 1, 2, 3
            UNION ALL
            SELECT CASE WHEN n.parent_key IS NULL THEN 'seeds' ELSE 'evolved' END, n.status, coalesce(n.reason, ''),
                   count(*), coalesce(sum(n.quality::numeric), 0), coalesce(sum(n.diversity::numeric), 0),
                   coalesce(sum(n.complexity::numeric), 0), coalesce(sum(n.reward::numeric), 0)
            FROM nodes n JOIN trees t ON t.id = n.tree_id
            WHERE t.run_id = :run AND n.status NOT IN ('proposed', 'generated') GROUP BY 1, 2, 3
            UNION ALL
            SELECT 'texts', status, coalesce(reason, ''), count(*), 0, 0, 0, 0 FROM instructions
            WHERE run_id = :run AND origin = 'generated' GROUP BY 1, 2, 3
            UNION ALL
            SELECT 'examples', e.status, coalesce(e.reason, ''), count(*), coalesce(sum(n.quality::numeric), 0),
                   coalesce(sum(n.diversity::numeric), 0), coalesce(sum(n.complexity::numeric), 0),
                   coalesce(sum(n.reward::numeric), 0)
            FROM examples e LEFT JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key
            WHERE e.run_id = :run GROUP BY 1, 2, 3
        )
        SELECT what || ' ' || status || ' ' || reason || ': ' || coalesce(s.count, 0) || ', the rows say '
               || coalesce(c.count, 0)
        FROM (SELECT * FROM totals WHERE run_id = :run) AS s FULL JOIN recount c USING (what, status, reason)
        WHERE (coalesce(s.count, 0), coalesce(s.quality, 0), coalesce(s.diversity, 0), coalesce(s.complexity, 0),
               coalesce(s.reward, 0)) <> (coalesce(c.count, 0), coalesce(c.quality, 0), coalesce(c.diversity, 0),
               coalesce(c.complexity, 0), coalesce(c.reward, 0))
    """,
    "the sums of calls are those of the ledger, but for the answers of outstanding tasks": """
        WITH recount AS (
            SELECT c.role, c.endpoint, c.model, c.outcome, count(*) AS calls, sum(c.tokens_in) AS tokens_in,
                   sum(c.tokens_out) AS tokens_out, coalesce(sum(c.nusd), 0) AS nusd,
                   count(*) FILTER (WHERE c.nusd IS NULL) AS unpriced, sum(c.latency_s::numeric) AS seconds
            FROM calls c LEFT JOIN tasks k ON k.id = c.task_id AND k.applied_at IS NULL
            WHERE c.run_id = :run AND k.id IS NULL GROUP BY 1, 2, 3, 4
        )
        SELECT 'calls of ' || role || ' at ' || endpoint || ' (' || model || ') ' || outcome || ': '
               || coalesce(s.calls, 0) || ', the ledger has ' || coalesce(c.calls, 0)
        FROM (SELECT * FROM call_totals WHERE run_id = :run) AS s
          FULL JOIN recount c USING (role, endpoint, model, outcome)
        WHERE (coalesce(s.calls, 0), coalesce(s.tokens_in, 0), coalesce(s.tokens_out, 0), coalesce(s.nusd, 0),
               coalesce(s.unpriced, 0), coalesce(s.seconds, 0)) <> (coalesce(c.calls, 0), coalesce(c.tokens_in, 0),
               coalesce(c.tokens_out, 0), coalesce(c.nusd, 0), coalesce(c.unpriced, 0), coalesce(c.seconds, 0))
    """,
    "the sums of tasks that ended are those of their minutes": """
        WITH recount AS (
            SELECT kind, sum(done) AS done, sum(failed) AS failed, sum(retries) AS retries, sum(wait_s) AS wait_s,
                   sum(run_s) AS run_s, sum(lag_s) AS lag_s
            FROM minutes WHERE run_id = :run GROUP BY kind
        ), lengths AS (
            SELECT kind, array_agg(waits ORDER BY place) AS waits, array_agg(runs ORDER BY place) AS runs FROM (
                SELECT m.kind, place, sum(wait)::bigint AS waits, sum(run)::bigint AS runs
                FROM minutes m, unnest(m.waits, m.runs) WITH ORDINALITY AS both_of(wait, run, place)
                WHERE m.run_id = :run GROUP BY m.kind, place
            ) AS summed GROUP BY kind
        )
        SELECT kind || ': ' || coalesce(s.done, 0) || ' done, the minutes say ' || coalesce(c.done, 0)
        FROM (SELECT * FROM task_totals WHERE run_id = :run) AS s FULL JOIN (recount JOIN lengths USING (kind)) AS c
          USING (kind)
        WHERE (s.done, s.failed, s.retries, s.waits, s.runs)
              IS DISTINCT FROM (c.done, c.failed, c.retries, c.waits, c.runs)
           OR abs(s.wait_s - c.wait_s) > 1e-6 * (1 + c.wait_s) OR abs(s.run_s - c.run_s) > 1e-6 * (1 + c.run_s)
           OR abs(s.lag_s - c.lag_s) > 1e-6 * (1 + c.lag_s)
    """,
    "reserved plus spent never exceeds a cap": """
        SELECT 'reserved ' || reserved_calls || ' + spent ' || spent_calls || ' calls, cap ' || cap_calls FROM runs
        WHERE id = :run AND (reserved_calls + spent_calls > cap_calls
            OR reserved_tokens + spent_tokens > cap_tokens OR reserved_nusd + spent_nusd > cap_nusd)
        UNION ALL
        SELECT 'the ledger and what was lost come to ' || l.calls || ' calls, cap ' || r.cap_calls
        FROM runs r, LATERAL (
            SELECT count(*) AS calls, sum(tokens) AS tokens, sum(nusd) AS nusd FROM (
                SELECT tokens_in + tokens_out AS tokens, nusd FROM calls WHERE run_id = r.id
                UNION ALL SELECT tokens, nusd FROM attempts WHERE run_id = r.id
            ) AS paid
        ) AS l
        WHERE r.id = :run AND (l.calls > r.cap_calls OR l.tokens > r.cap_tokens OR l.nusd > r.cap_nusd)
    """,
    "accepted + rejected + failed = proposed, and each rejection or failure has its reason": """
        SELECT 'example ' || e.id || ' is ' || e.status FROM examples e JOIN runs r ON r.id = e.run_id
        WHERE r.id = :run AND ((r.phase = 'ended' AND e.status = 'pending')
            OR (e.status IN ('rejected', 'failed') AND coalesce(e.reason, '') = ''))
        UNION ALL
        SELECT 'node ' || n.key || ' is ' || n.status FROM nodes n JOIN trees t ON t.id = n.tree_id
        WHERE t.run_id = :run AND n.status IN ('rejected', 'failed', 'unscored') AND coalesce(n.reason, '') = ''
    """,
    "a score comes from a judge's call or is absent": """
        SELECT 'node ' || n.key FROM nodes n JOIN trees t ON t.id = n.tree_id
        WHERE t.run_id = :run AND n.reward IS NOT NULL
          AND (n.quality IS NULL OR n.diversity IS NULL OR n.complexity IS NULL
               OR abs(n.reward - (n.quality + n.diversity + n.complexity)) > 1e-9
               OR NOT EXISTS (SELECT 1 FROM calls c WHERE c.key = ANY (n.calls) AND c.role = 'judge'))
    """,
    "a second judgement is of a scored node, by a judge's call, or says why there is none": """
        SELECT 'judgement ' || j.sample || ' of node ' || j.node_key || ' by ' || j.judge
        FROM judgements j JOIN trees t ON t.id = j.tree_id
          JOIN nodes n ON n.tree_id = j.tree_id AND n.key = j.node_key
        WHERE t.run_id = :run
          AND (n.reward IS NULL OR (j.reward IS NOT NULL
               AND (j.quality IS NULL OR j.diversity IS NULL OR j.complexity IS NULL
                    OR abs(j.reward - (j.quality + j.diversity + j.complexity)) > 1e-9
                    OR NOT EXISTS (SELECT 1 FROM calls c WHERE c.key = ANY (j.calls)
                                   AND c.role IN ('judge', 'examiner')))))
    """,
    "every accepted example has its node, its scores, and the calls that made it": """
        SELECT 'example ' || e.id FROM examples e LEFT JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key
        WHERE e.run_id = :run AND e.status = 'accepted' AND e.ordinal IS NULL
          AND (n.key IS NULL OR n.reward IS NULL OR n.text IS DISTINCT FROM e.instruction
               OR NOT EXISTS (SELECT 1 FROM calls c WHERE c.key = ANY (n.calls) AND c.role = 'evolver'))
    """,
    "every accepted instance has its instruction, an output, and the calls that made them": """
        SELECT 'example ' || e.id FROM examples e
          LEFT JOIN instructions i ON i.run_id = e.run_id AND i.ordinal = e.ordinal
        WHERE e.run_id = :run AND e.status = 'accepted' AND e.ordinal IS NOT NULL
          AND (i.ordinal IS NULL OR i.origin <> 'generated' OR i.status <> 'kept'
               OR i.text IS DISTINCT FROM e.instruction
               OR coalesce(e.output, '') = ''
               OR NOT EXISTS (SELECT 1 FROM calls c WHERE c.key = ANY (i.calls) AND c.role = 'generator')
               OR (cardinality(i.instance_calls) = 0 AND cardinality(e.response_calls) > 0))
    """,
    "no generated text is lost or doubled: ordinals have no gap, and every kept one of an ended run was asked for": """
        SELECT 'instruction ' || i.ordinal || ' follows ' || coalesce(i.before::text, 'nothing') FROM (
            SELECT ordinal, lag(ordinal) OVER (ORDER BY ordinal) AS before FROM instructions WHERE run_id = :run
        ) AS i WHERE i.ordinal <> coalesce(i.before + 1, 0)
        UNION ALL
        SELECT 'instruction ' || i.ordinal || ' has no instance and no reason why' FROM instructions i
          JOIN runs r ON r.id = i.run_id
        WHERE r.id = :run AND r.phase = 'ended' AND i.origin = 'generated' AND i.status = 'kept'
          AND NOT EXISTS (SELECT 1 FROM examples e WHERE e.run_id = i.run_id AND e.ordinal = i.ordinal)
    """,
    "a round has generated what its rows say: kept and rejected": """
        SELECT 'round ' || o.ordinal || ' says ' || o.kept || ' of ' || o.generated || ', its rows ' || i.kept || ' of '
               || i.generated
        FROM rounds o, LATERAL (
            SELECT count(*) AS generated, count(*) FILTER (WHERE status = 'kept') AS kept
            FROM instructions WHERE run_id = o.run_id AND round = o.ordinal
        ) AS i
        WHERE o.run_id = :run AND (o.generated <> i.generated OR o.kept <> i.kept)
        UNION ALL
        SELECT 'round ' || o.ordinal || ' is ' || o.status FROM rounds o JOIN runs r ON r.id = o.run_id
        WHERE r.id = :run AND r.status = 'done' AND o.status <> 'done'
    """,
    "nothing is trained on twice, and only what has a good instance": """
        SELECT 'instruction ' || m.ordinal || ' is in ' || count(*) || ' batches' FROM (
            SELECT unnest(members) AS ordinal FROM batches WHERE run_id = :run
        ) AS m GROUP BY m.ordinal HAVING count(*) > 1
        UNION ALL
        SELECT 'instruction ' || m.ordinal || ' of batch ' || m.step || ' has no good instance' FROM (
            SELECT step, unnest(members) AS ordinal FROM batches WHERE run_id = :run
        ) AS m WHERE NOT EXISTS (SELECT 1 FROM examples e WHERE e.run_id = :run AND e.ordinal = m.ordinal
                                 AND e.status = 'accepted')
        UNION ALL
        SELECT 'batch ' || b.ordinal || ' of round ' || b.round || ' was trained on and has neither loss nor reason'
        FROM batches b WHERE b.run_id = :run AND b.trained_at IS NOT NULL
          AND (b.loss IS NULL OR b.gradient_norm IS NULL) AND b.reason IS NULL
    """,
    "who enters the seed pool was not in it, and who leaves was": """
        WITH start AS (
            SELECT ordinal, CASE WHEN origin = 'seed' THEN 1 ELSE 0 END AS inside FROM instructions WHERE run_id = :run
        ), counted AS (
            SELECT e.id, e.ordinal, e.event, s.inside + sum(CASE WHEN e.event = 'entered' THEN 1 ELSE -1 END)
                   OVER (PARTITION BY e.ordinal ORDER BY e.id) AS inside
            FROM seed_events e JOIN start s ON s.ordinal = e.ordinal WHERE e.run_id = :run
        )
        SELECT 'instruction ' || ordinal || ' has ' || event FROM counted
        WHERE inside <> CASE WHEN event = 'entered' THEN 1 ELSE 0 END
    """,
}

NO_SECRETS = "no secret of this environment is in any row"
# Shorter ones are no secrets, and would be found in any text.
_SHORTEST_SECRET = 8
_SHOWN = 5


def recount(connection: Connection, run_id: int) -> Mapping[str, list[str]]:
    """For each law, what breaks it (at most a few examples, then their number); an empty list is a law that holds.

    However long it takes, in this transaction: a large run has many rows to recount.
    """
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    return {law: _broken(connection, query, run_id) for law, query in LAWS.items()}


def leaks(connection: Connection, secrets: Collection[str]) -> list[str]:
    """The tables that hold one of these secrets in some row, of whichever run."""
    found = []
    for table in metadata.sorted_tables:
        query = select(func.count()).select_from(table).where(or_(false(), *(_holds(table, s) for s in secrets)))
        if count := connection.execute(query).scalar_one():
            found.append(f"{count} rows of table {table.name}")
    return found


def masked(found: Mapping[str, list[str]], secrets: Collection[str]) -> dict[str, list[str]]:
    """What breaks the laws, fit to be shown: what a row says may hold a secret."""
    return {law: [_mask(fault, secrets) for fault in faults] for law, faults in found.items()}


def _mask(fault: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        fault = fault.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else fault
    return fault


def _holds(table: Table, secret: str) -> ColumnElement[bool]:
    if len(secret) < _SHORTEST_SECRET:
        return false()
    return func.strpos(cast(literal_column(table.name), Text), secret) > 0


def _broken(connection: Connection, query: str, run_id: int) -> list[str]:
    found = [str(row[0]) for row in connection.execute(text(query), {"run": run_id})]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return found[:_SHOWN] + more
