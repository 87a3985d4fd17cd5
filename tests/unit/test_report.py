"""The report: figures against a story small enough to do by hand, hostile texts, missing scores, layout, size."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from db.records import ExampleRow, NodeRow, RolloutRow, Spend, TreeRow
from orchestrator.report import NodeCost, RoleSpend, RunStory, TreeStory, render, summarise
from orchestrator.report.diff import word_difference
from orchestrator.report.drawing import MOST_NODES, MOST_RADIUS, draw
from orchestrator.report.forest import gather
from orchestrator.report.layout import tidy
from orchestrator.report.numbers import count_in, describe, edges
from orchestrator.report.shades import Shades
from orchestrator.report.text import MOST_CHARACTERS, passage, visible
from orchestrator.report.wording import dollars, duration, moment, signed
from tests.unit.report_story import run, story

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`--><!-- {{ 7*7 }} {% raw %}"
    "\u2028\u2029\u202egnp.exe\u202c\u200f\x00\x07\x1b[31m\x7f\x85\ufeff\U000e0041\ud800"
)


def node(tree_id: int, key: str, parent: str | None = None, **given: object) -> NodeRow:
    """A node with sensible values for whatever is not given."""
    reward = given.get("reward")
    values: dict = {
        "ordinal": 0,
        "depth": 0 if parent is None else 1,
        "operator": None if parent is None else "add-goal",
        "origin": "seed" if parent is None else "expansion",
        "iteration": 0,
        "status": "scored" if reward is not None else "unscored",
        "text": f"Text of {key}",
    }
    return NodeRow(tree_id=tree_id, key=key, parent_key=parent, **(values | given))


def tree(ordinal: int, *nodes: NodeRow, rollouts: Iterable[tuple[str, bool]] = (), status: str = "grown") -> TreeStory:
    tree_id = nodes[0].tree_id if nodes else 99
    row = TreeRow(
        id=tree_id, run_id=1, ordinal=ordinal, seed={"instruction": "Name a colour."}, status=status, reason=None
    )
    backed_up = tuple(
        RolloutRow(tree_id=tree_id, ordinal=i, leaf_key=leaf, reward=1.0, terminal=terminal)
        for i, (leaf, terminal) in enumerate(rollouts)
    )
    return TreeStory(row=row, nodes=nodes, rollouts=backed_up)


def example(tree_id: int, key: str, status: str, reason: str | None = None, **given: str) -> ExampleRow:
    return ExampleRow(
        id=hash((tree_id, key)) % 10_000,
        run_id=1,
        tree_id=tree_id,
        node_key=key,
        status=status,
        reason=reason,
        instruction=given.get("instruction", f"Text of {key}"),
        input="",
        output=given.get("output"),
    )


def told(*trees: TreeStory, examples: tuple[ExampleRow, ...] = (), spend: tuple[RoleSpend, ...] = ()) -> RunStory:
    return RunStory(run=run(len(trees), spend), trees=trees, examples=examples, spend=spend, node_costs={})


@pytest.fixture(scope="module")
def small() -> RunStory:
    """Two trees. Seeds: 6 and unscored. Evolved: 9 and 11 from 6, a loss to 5, one rejected, one failed."""
    first = tree(
        0,
        node(1, "r", reward=6.0, quality=2.0, diversity=2.0, complexity=2.0, visits=3, value_sum=26.0),
        node(1, "a", "r", reward=9.0, quality=3.0, diversity=None, complexity=4.0, visits=2, value_sum=20.0),
        node(1, "b", "r", ordinal=1, status="rejected", reason="off_topic"),
        node(1, "c", "r", ordinal=2, operator="emotion", reward=5.0, quality=2.0, diversity=1.0, complexity=2.0),
        node(1, "d", "a", depth=2, operator="emotion", origin="simulation", reward=11.0, quality=4.0),
        node(1, "e", "a", depth=2, ordinal=1, status="failed", text=None, reason="call_failed"),
        rollouts=[("d", True), ("a", False), ("d", True)],
    )
    second = tree(
        1, node(2, "r", reason="judge_unreadable"), node(2, "a", "r", reward=8.0), rollouts=[("a", True)], status="cut"
    )
    examples = (
        example(1, "a", "accepted", output="Red."),
        example(1, "d", "rejected", "duplicate"),
        example(2, "a", "accepted", output="Blue."),
        example(1, "c", "failed", "call_failed"),
    )
    spend = (
        RoleSpend(role="evolver", calls=10, tokens_in=1000, tokens_out=500, nusd=2_000_000_000, mean_latency_s=0.5),
        RoleSpend(role="judge", calls=4, tokens_in=4000, tokens_out=40, nusd=None, mean_latency_s=2.0),
    )
    return told(first, second, examples=examples, spend=spend)


def test_headline_counts_and_means_are_those_done_by_hand(small: RunStory) -> None:
    headline = summarise(small).headline
    assert (headline.seeds, headline.trees_grown, headline.trees_cut) == (2, 1, 1)
    assert (headline.nodes, headline.nodes_scored) == (8, 5)
    assert (headline.examples_accepted, headline.examples_proposed) == (2, 4)
    assert (headline.tokens, headline.tokens_in, headline.tokens_out) == (5540, 5000, 540)
    assert headline.mean_seed == 6.0  # the unscored seed is left out, not counted as zero
    assert headline.mean_harvest == 8.5  # (9 + 8) / 2: the rejected 11 and the failed 5 are no harvest
    assert headline.difference == 2.5
    assert headline.interval is None  # two trees say nothing about spread


def test_a_pause_is_no_time_that_was_worked_on(small: RunStory) -> None:
    paused = replace(small.run, driven_s=7.0, finished_at=small.run.created_at + timedelta(days=3))
    text = _text(render(replace(small, run=paused)))
    assert "worked on for 7.0 s" in text
    assert "2.0 calls/s" in text  # 14 of them


def test_price_is_unknown_as_soon_as_one_role_that_called_has_none(small: RunStory) -> None:
    assert summarise(small).headline.nusd is None
    assert summarise(small).headline.nusd_known == 2_000_000_000
    assert ">unknown<" in render(small)
    idle = replace(small.spend[1], calls=0)
    assert summarise(replace(small, spend=(small.spend[0], idle))).headline.nusd == 2_000_000_000


def test_calls_without_an_answer_are_told_beside_those_that_the_roles_add_up_to(small: RunStory) -> None:
    priced = replace(small, spend=(small.spend[0], replace(small.spend[1], nusd=500_000_000)))
    lost = Spend(calls=3, tokens=900, nusd=30_000_000)
    text = _text(render(replace(priced, run=replace(priced.run, spent=run(2, priced.spend).spent + lost))))
    assert "3 more calls were sent without an answer of their own" in text
    assert "900 tokens, $0.03" in text and "900 without an answer" in text
    assert "without an answer" not in _text(render(small))


def test_a_missing_score_is_left_out_of_its_dimension_only(small: RunStory) -> None:
    reward, quality, diversity, _ = summarise(small).distributions
    assert (reward.harvest.n, reward.harvest.missing) == (2, 0)
    assert (quality.harvest.n, quality.harvest.missing, quality.harvest.mean) == (1, 1, 3.0)
    assert (diversity.harvest.n, diversity.harvest.mean, diversity.difference) == (0, None, None)
    assert (reward.seeds.n, reward.seeds.missing) == (1, 1)
    assert sum(found.seeds for found in reward.bins) == 1
    assert sum(found.harvest for found in reward.bins) == 2


def test_operators_are_compared_with_the_parents_they_were_given(small: RunStory) -> None:
    goal, emotion = summarise(small).operators
    assert (goal.operator, goal.tried, goal.rejected, goal.failed, goal.scored) == ("add-goal", 4, 1, 1, 2)
    assert (goal.gains["reward"].n, goal.gains["reward"].mean) == (1, 3.0)  # the child of the unscored seed has no gain
    assert goal.gains["diversity"].mean is None
    assert (goal.chosen, goal.chosen_share) == (2, 1.0)
    assert (emotion.tried, emotion.scored, emotion.gains["reward"].mean) == (2, 2, 0.5)  # (5 - 6 + 11 - 9) / 2
    assert emotion.gains["reward"].sd == pytest.approx(2.1213, abs=1e-4)
    assert emotion.gains["quality"].mean == 0.5


def test_fates_add_up_and_each_reason_is_named(small: RunStory) -> None:
    report = summarise(small)
    assert sum(report.nodes.by_status.values()) == report.nodes.total == 8
    assert [(r.status, r.reason, r.count) for r in report.nodes.reasons] == [
        ("failed", "call_failed", 1),
        ("rejected", "off_topic", 1),
        ("unscored", "judge_unreadable", 1),
    ]
    assert report.examples.by_status == {"accepted": 2, "rejected": 1, "failed": 1, "pending": 0}
    assert {(r.status, r.reason) for r in report.examples.reasons} == {
        ("rejected", "duplicate"),
        ("failed", "call_failed"),
    }


def test_terminal_nodes_are_distinct_and_shared_out_by_depth(small: RunStory) -> None:
    root, one, two = summarise(small).depths
    assert (root.rollouts, root.share_of_rollouts, root.share_of_scored) == (0, None, 0.0)
    assert (one.scored, one.rollouts, one.terminal_rollouts, one.terminal_nodes) == (3, 2, 1, 1)
    assert one.share_of_scored == pytest.approx(1 / 3)
    assert (two.scored, two.rollouts, two.terminal_rollouts, two.terminal_nodes) == (1, 2, 2, 1)


def test_a_pair_takes_the_best_accepted_example_and_its_path(small: RunStory) -> None:
    report = summarise(small)
    (pair,) = report.pairs
    assert (pair.node.key, pair.path, pair.gain) == ("a", ("add-goal",), 3.0)
    assert (report.choice.ranked, report.choice.unranked) == (1, 1)
    assert [found.tree.row.ordinal for found in report.choice.without_gain] == [1]


def test_without_an_accepted_example_the_harvest_is_every_proposed_one(small: RunStory) -> None:
    pending = tuple(replace(found, status="pending", reason=None) for found in small.examples)
    headline = summarise(replace(small, examples=pending)).headline
    assert (headline.harvest_basis, headline.mean_harvest) == ("proposed", (9 + 11 + 8 + 5) / 4)


def test_best_and_worst_trees_are_the_ends_of_one_ranking_and_pairs_span_it() -> None:
    report = summarise(story(trees=40))
    best = [found.gain or 0 for found in report.choice.best]
    worst = [found.gain or 0 for found in report.choice.worst]
    assert len(best) == len(worst) == 5
    assert best == sorted(best, reverse=True)
    assert worst == sorted(worst)
    assert best[-1] >= worst[-1]
    assert [report.pairs[0].rank, report.pairs[-1].rank, len(report.pairs)] == [1, 40, 10]
    assert len({pair.ordinal for pair in report.pairs}) == 10


@pytest.mark.parametrize("trees", [1, 2, 3, 9])
def test_few_trees_are_shown_once_each(trees: int) -> None:
    choice = summarise(story(trees=trees)).choice
    shown = [found.tree.row.id for found in (*choice.best, *choice.worst, *choice.without_gain)]
    assert len(shown) == len(set(shown)) == trees


def test_the_interval_of_the_difference_holds_the_difference_and_is_repeatable() -> None:
    one, again = (summarise(story(trees=40)).headline for _ in range(2))
    assert one.interval == again.interval
    assert one.interval is not None and one.difference is not None
    assert one.interval.low < one.difference < one.interval.high


def test_a_run_that_did_nothing_has_a_page() -> None:
    for page in (render(told()), render(told(tree(0))), render(told(tree(0, node(1, "r", status="generated"))))):
        assert "No tree has both" in page
        assert "nan" not in page.lower().replace("provenance", "")


def test_scores_that_are_no_numbers_count_as_missing() -> None:
    nan, infinite = float("nan"), float("inf")
    shown = told(tree(0, node(1, "r", reward=nan), node(1, "a", "r", reward=infinite), node(1, "b", "r", reward=3.0)))
    assert summarise(shown).headline.mean_seed is None
    assert "inf" not in re.sub(r"\binformation\b", "", _text(render(shown)))


class _Page(HTMLParser):
    """What a browser would be told to load or run, and the text it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "srcset", "action", "data", "poster", "xlink:href"):
                self.links.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _text(page: str) -> str:
    return "".join(_Page(re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)).texts)


def test_the_page_refers_to_nothing_outside_itself() -> None:
    page = render(story())
    parsed = _Page(page)
    assert all(link.startswith(("#", "data:,")) for link in parsed.links)
    assert "http:" not in page and "https:" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\((.*?)\)", page)) == {'"#p-rejected"', '"#p-failed"', '"#p-unscored"'}
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)


def test_the_policy_allows_by_hash_alone_and_nothing_inline_needs_more() -> None:
    page = render(story(trees=3))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert _Page(page).handlers == []


def _hostile_story() -> RunStory:
    texts = told(
        tree(
            0,
            node(1, "r", reward=2.0, text=HOSTILE),
            node(1, "a", "r", reward=4.0, text=HOSTILE + " more", operator=HOSTILE, tags=(HOSTILE,), visits=1),
            node(1, "b", "r", ordinal=1, status="rejected", reason=HOSTILE, text=HOSTILE),
        ),
        examples=(example(1, "a", "accepted", instruction=HOSTILE, output=HOSTILE),),
        spend=(
            RoleSpend(role=HOSTILE, calls=1, tokens_in=1, tokens_out=1, nusd=1, mean_latency_s=None, models=(HOSTILE,)),
        ),
    )
    seeded = replace(texts.trees[0], row=replace(texts.trees[0].row, seed={"instruction": HOSTILE, "input": HOSTILE}))
    named = replace(texts.run, name=HOSTILE, recipe=HOSTILE, reason=HOSTILE)
    return replace(texts, run=named, trees=(seeded,), node_costs={(1, "a"): _cost()})


def _cost() -> NodeCost:
    return NodeCost(calls=2, tokens_in=100, tokens_out=10, nusd=None)


def test_hostile_texts_are_shown_and_do_nothing() -> None:
    page = render(_hostile_story())
    parsed = _Page(page)
    assert parsed.tags.count("script") == 1
    assert "img" not in parsed.tags
    assert parsed.handlers == []
    assert "<img src=x onerror=alert(2)>" in _text(page)
    assert "{{ 7*7 }}" in _text(page)
    page.encode("utf-8")
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069\u200f\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    for placeholder in ("⟨U+202E⟩", "⟨U+2028⟩", "⟨U+0000⟩", "⟨U+001B⟩", "⟨U+D800⟩", "⟨U+E0041⟩"):
        assert placeholder in page


def test_visible_leaves_real_writing_alone() -> None:
    for text in ("naïve café", "日本語", "می\u200cخواهم", "👩\u200d🔬", "שלום", "a\tb\nc"):
        assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"


def test_long_texts_are_clipped_and_endless_ones_cut() -> None:
    assert passage("short").head is None
    long = passage("word " * 400)
    assert long.head is not None and len(long.head) <= 600
    assert (long.characters, long.omitted) == (2000, 0)
    assert passage("x" * 100_000).omitted == 100_000 - MOST_CHARACTERS
    page = render(told(tree(0, node(1, "r", reward=1.0, text="y" * 100_000), node(1, "a", "r", reward=2.0))))
    assert len(page) < 150_000
    assert "Show all 100,000 characters" in page


def test_the_difference_marks_words_and_both_texts_survive_it() -> None:
    found = word_difference("Name a colour, please.", "Name a warm colour and say why, please.")
    assert [piece.text.strip() for piece in found.after if piece.changed] == ["warm", "and say why"]
    assert not any(piece.changed for piece in found.before)
    assert "".join(piece.text for piece in found.after) == "Name a warm colour and say why, please."
    assert [piece.text for piece in word_difference("赤い花", "青い花").after if piece.changed] == ["青"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("", "new"), ("old", ""), ("a " * 4000, "b " * 4000), ("a " * 4000, "a a b " * 1333)],
)
def test_the_difference_of_awkward_texts_is_quick_and_loses_nothing(before: str, after: str) -> None:
    found = word_difference(before, after)
    assert "".join(piece.text for piece in found.before) == before
    assert "".join(piece.text for piece in found.after) == after


def test_a_tidy_tree_has_no_overlaps_and_centred_parents() -> None:
    children = {"r": ["a", "b", "c"], "a": ["d", "e"], "c": ["f", "g", "h"], "d": ["i"], "g": ["j", "k", "l"]}
    places = tidy(children, "r")
    assert len(places) == 13
    assert min(place.row for place in places.values()) == 0
    for parent, below in children.items():
        rows = [places[child].row for child in below]
        assert places[parent].row == pytest.approx((rows[0] + rows[-1]) / 2)
    _assert_apart({key: (place.level, place.row) for key, place in places.items()}, 1.0)


def _assert_apart(places: dict[str, tuple[float, float]], least: float) -> None:
    columns: dict[float, list[float]] = {}
    for level, row in places.values():
        columns.setdefault(level, []).append(row)
    for rows in columns.values():
        ordered = sorted(rows)
        assert all(low + least <= high + 1e-9 for low, high in pairwise(ordered))


def test_a_long_chain_is_laid_out_straight() -> None:
    chain = {str(i): [str(i + 1)] for i in range(1500)}
    assert {place.row for place in tidy(chain, "0").values()} == {0.0}


def test_drawn_nodes_do_not_touch_even_at_their_largest() -> None:
    shown = story(trees=12)
    forest = gather(shown)
    for planted in shown.trees:
        drawing = draw(forest, planted, Shades(bounds=(2.0, 4.0)))
        assert drawing is not None
        _assert_apart({mark.anchor: (mark.x, mark.y) for mark in drawing.marks}, 2 * (MOST_RADIUS + 4))
        assert all(0 < mark.x < drawing.width and 0 < mark.y < drawing.height for mark in drawing.marks)


def test_a_huge_tree_is_thinned_and_keeps_what_led_to_examples() -> None:
    wide = [node(1, f"n{i}", "r", ordinal=i, reward=float(i % 7)) for i in range(900)]
    deep = node(1, "deep", "n899", depth=2, reward=1.0)
    shown = told(tree(0, node(1, "r", reward=1.0), *wide, deep), examples=(example(1, "deep", "accepted"),))
    drawing = draw(gather(shown), shown.trees[0], Shades(bounds=(3.0, 6.0)))
    assert drawing is not None
    keys = {mark.row.key for mark in drawing.marks}
    assert {"r", "n899", "deep"} <= keys
    assert len(keys) == MOST_NODES
    assert drawing.left_out == 902 - MOST_NODES


def test_five_hundred_seeds_give_a_page_of_sane_size() -> None:
    assert len(render(story(trees=500)).encode()) < 1_500_000


def _spellings() -> Iterator[tuple[str, str]]:
    yield dollars(None), "unknown"
    yield dollars(0), "0 (local)"
    yield dollars(3_420_000_000), "$3.42"
    yield dollars(4_200_000), "$0.0042"
    yield dollars(1_500), "$0.0000015"
    yield duration(28_092), "7 h 48 min"
    yield duration(252), "4 min 12 s"
    yield duration(0.34), "340 ms"
    yield signed(0.001), "±0.00"
    yield signed(-1.5), "\u22121.50"
    yield moment(datetime(2026, 10, 3, 20, 14, tzinfo=UTC)), "3 October 2026, 20:14 UTC"


@pytest.mark.parametrize(("shown", "expected"), list(_spellings()))
def test_figures_read_well(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], (0.5, 1.5, 2.5, 3.5)),
        ([2.5], (2.0, 3.0)),
        ([0.0, 0.25, 1.0], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([], ()),
    ],
)
def test_bins_lie_at_round_numbers(values: list[float], expected: tuple[float, ...]) -> None:
    bins = edges(values, most=6)
    assert bins == pytest.approx(expected)
    assert sum(count_in(values, bins)) == len(values)


def test_shades_go_from_first_to_last_and_outliers_do_not_stretch_them() -> None:
    shades = Shades.over([*(1 + i / 20 for i in range(100)), 900.0, None, float("nan")])
    assert [shades.of(value) for value in (-5.0, 1.0, 5.9, 900.0)] == [0, 0, 8, 8]
    assert [label for _, label in shades.legend()] == ["2", "3", "4", "5", ""]
    assert Shades.over([]).legend() == []


def test_statistics_of_one_and_of_no_value() -> None:
    assert describe([2.0, None]) == describe(iter([None, 2.0]))
    one, none = describe([2.0]), describe([None])
    assert (one.mean, one.median, one.sd, one.half_interval) == (2.0, 2.0, None, None)
    assert (none.n, none.missing, none.mean) == (0, 1, None)
