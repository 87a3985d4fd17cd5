"""Every law has a fault that breaks it, and `verify` finds it."""

import pytest
from sqlalchemy import Engine, text

from db import laws
from tests.integration.night import Hands, finish, start, widened

OF_TREES = {
    "every tree has exactly one root": "UPDATE nodes SET depth = depth + 1 WHERE depth = 2",
    "no node is lost": "UPDATE nodes SET status = 'generated', reward = NULL WHERE depth = 1",
    "visits and values are exactly": "UPDATE nodes SET visits = visits + 1 WHERE depth = 1",
    "a rollout's reward": "UPDATE rollouts SET reward = reward + 0.5 WHERE ordinal = 0",
    "every waiting node": "UPDATE trees SET status = 'growing'; UPDATE nodes SET status = 'proposed', reward = NULL",
    "no node exists twice": (
        "ALTER TABLE nodes DROP CONSTRAINT nodes_tree_id_parent_key_ordinal_key; UPDATE nodes SET ordinal = 0"
    ),
    "an outstanding task": (
        "INSERT INTO tasks (run_id, tree_id, key, kind, payload, state)"
        " SELECT run_id, id, 'planted', 'expand', '{}', 'leased' FROM trees LIMIT 1;"
        "UPDATE calls SET task_id = (SELECT id FROM tasks WHERE key = 'planted')"
    ),
    "an attempt without": (
        "INSERT INTO attempts (id, key, run_id, task_id, role, endpoint, tokens)"
        " SELECT 'a', 'k', id, 0, 'judge', 'default', 1 FROM runs"
    ),
    "what is spent": "UPDATE runs SET spent_calls = spent_calls - 1",
    "what is reserved": "UPDATE runs SET reserved_calls = 1",
    "the sums of trees": "UPDATE totals SET reward = reward + 0.001 WHERE what = 'evolved' AND status = 'scored'",
    "the sums of calls": "DELETE FROM call_totals WHERE role = 'judge'",
    "the sums of tasks": "UPDATE task_totals SET waits[2] = waits[2] + 1 WHERE kind = 'respond'",
    "reserved plus spent": "UPDATE runs SET cap_calls = 10, spent_calls = 0",
    "accepted + rejected + failed": "UPDATE examples SET status = 'pending' WHERE id = (SELECT min(id) FROM examples)",
    "a score comes from a judge": "UPDATE nodes SET quality = quality + 1 WHERE depth = 1",
    "a second judgement": (
        "INSERT INTO judgements (tree_id, node_key, judge, sample, quality, diversity, complexity, reward, calls)"
        " SELECT tree_id, key, 'search', 1, 2, 2, 2, 6, '{}' FROM nodes WHERE status = 'scored' LIMIT 1"
    ),
    "every accepted example": "UPDATE examples SET instruction = 'Something else.'",
}

OF_POOLS = {
    "every accepted instance": "UPDATE examples SET output = '' WHERE status = 'accepted'",
    "no generated text is lost": "DELETE FROM examples",
    "a round has generated": "UPDATE rounds SET kept = kept + 1 WHERE ordinal = 1",
    "nothing is trained on twice": "UPDATE batches SET members = members || members",
    "who enters the seed pool": (
        "UPDATE seed_events SET event = CASE event WHEN 'left' THEN 'entered' ELSE 'left' END"
    ),
}


def test_every_law_has_a_fault_that_it_finds():
    faults = [*OF_TREES, *OF_POOLS]
    assert [sum(law.startswith(name) for name in faults) for law in laws.LAWS] == [1] * len(laws.LAWS)


@pytest.mark.parametrize("law", OF_TREES)
def test_verify_finds_a_planted_fault_of_each_law_of_trees(engine: Engine, law: str):
    run = finish(start(engine), Hands(engine))
    with engine.begin() as connection:
        connection.execute(text(OF_TREES[law]))
        found = laws.recount(connection, run.id)
    assert next(faults for name, faults in found.items() if name.startswith(law))


@pytest.mark.parametrize("law", OF_POOLS)
def test_verify_finds_a_planted_fault_of_each_law_of_pools(engine: Engine, law: str):
    options = ("rounds.most=4", "rounds.prompts=3", "batches.size=4", "feedback.every=2")
    run = finish(start(engine, *options, recipe="sedi-instruct", seeds=12), Hands(engine, widened))
    with engine.begin() as connection:
        connection.execute(text(OF_POOLS[law]))
        found = laws.recount(connection, run.id)
    assert next(faults for name, faults in found.items() if name.startswith(law))
