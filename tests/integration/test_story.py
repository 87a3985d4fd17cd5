"""The report's rows: texts are read of the few trees that are shown, and the page is the same as if all had been."""

import pytest
from sqlalchemy import Connection, Engine

from db import nodes
from db.records import NodeRow
from orchestrator.story import report_of, story_of
from tests.integration.night import Hands, finish, start, varied

SEEDS = 60
MOST_SHOWN = 22  # five and five, two without a gain, ten pairs


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
