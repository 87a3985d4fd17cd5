"""The report's rows: texts are read of the few trees that are shown, and the page is the same as if all had been."""

from html import unescape

import pytest
from sqlalchemy import Connection, Engine, text

from db import nodes, notices, runs, workers
from db.records import NodeRow
from db.workers import Identity
from orchestrator import steering
from orchestrator.report.wording import clock
from orchestrator.story import report_of, story_of
from tests.integration.night import Hands, finish, start, varied

SEEDS = 60
MOST_SHOWN = 22  # five and five, two without a gain, ten pairs
# Half an hour of work with ten minutes in its middle, now among them, in which nothing ended.
SILENCE = text(
    """
    INSERT INTO minutes (run_id, minute, kind, done, failed, retries, wait_s, run_s, lag_s, waits, runs)
    SELECT :run, date_trunc('minute', now()) + number * interval '1 minute', 'expand',
           100, 0, 0, 100, 200, 10, '{}', '{}'
    FROM generate_series(-12, 17) AS number WHERE number NOT BETWEEN -2 AND 7
    """
)


def test_the_page_lacks_nothing_of_what_is_not_read(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    run = finish(start(engine, "search.iterations=3", "search.stop_reward=40", seeds=SEEDS), Hands(engine, varied))
    with engine.connect() as connection:
        story, page = story_of(connection, run), report_of(connection, run)
        with_texts = [tree for tree in story.trees if any(node.text for node in tree.nodes)]
        assert 0 < len(with_texts) <= MOST_SHOWN < len(story.trees) == SEEDS

        read = nodes.of_trees

        def whole(connection: Connection, tree_ids: list[int], *, outline: bool = False) -> list[NodeRow]:
            return read(connection, tree_ids)

        monkeypatch.setattr(nodes, "of_trees", whole)
        assert page == report_of(connection, run)


@pytest.mark.parametrize("recipe", ["idea-mcts", "self-instruct"])
def test_a_silence_is_told_with_the_pause_and_the_outage_that_were_then(engine: Engine, recipe: str):
    run = start(engine, recipe=recipe, seeds=8).run
    for said in (steering.pause, steering.resume):
        with engine.begin() as connection:
            said(connection, run.name)
    with engine.begin() as connection:
        notices.announce(connection, run.id, "endpoint_down", "endpoint 'judge' has served no call; it hangs")
        connection.execute(SILENCE, {"run": run.id})
    with engine.connect() as connection:
        run = runs.by_id(connection, run.id)
        page = unescape(report_of(connection, run))
    (pause,) = run.pauses
    assert pause.end
    assert f"the run was paused from {clock(pause.begin)} to {clock(pause.end)}; an endpoint was away at " in page
    assert page.count("endpoint 'judge' has served no call; it hangs") == 1


def test_a_silence_is_told_with_who_ended_then(engine: Engine):
    run = start(engine).run
    with engine.begin() as connection:
        for name in ("left", "killed", "here"):
            workers.register(connection, process(name))
        workers.register(connection, process("late", workers.ORCHESTRATOR))
        connection.execute(text("UPDATE workers SET started_at = started_at - interval '1 hour'"))
        workers.refuse_start(connection, process("none"), "old")
        connection.execute(text("UPDATE workers SET beat_at = beat_at - interval '1 minute' WHERE id = 'killed'"))
        connection.execute(text("UPDATE runs SET created_at = created_at - interval '1 hour'"))
        for name in ("left", "late"):
            workers.leave(connection, name)
        connection.execute(SILENCE, {"run": run.id})
    with engine.connect() as connection:
        page = unescape(report_of(connection, runs.by_id(connection, run.id)))
    assert "nothing ended for 10 minutes; 1 worker on host 'of-killed' fell silent at " in page
    assert "; 1 orchestrator on host 'of-late' ended at " in page and "; 1 worker on host 'of-left' ended at " in page
    assert "of-here" not in page and "of-none" not in page


def process(name: str, queue: str = "expand") -> Identity:
    return Identity(id=name, host=f"of-{name}", pid=1, version="1", queues=(queue,), slots=1)
