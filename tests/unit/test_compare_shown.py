"""The table, the document, the picture and the JSON of a comparison: whole, honest, and proof against odd names."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.compare.figures import Comparison, compare
from orchestrator.compare.outcome import Marks, Outcome, Setting, TreeOutcome
from orchestrator.compare.picture import picture
from orchestrator.compare.record import as_json
from orchestrator.compare.table import escape, markdown, terminal
from orchestrator.compare.wording import notes

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'm"><script>alert(1)</script>|[x](javascript:1)\u202e\x1b[31m `*_&amp;'
SETTING = Setting(
    evolver="small-1",
    judge="small-1",
    judged_by="quality and complexity by rubric, diversity by tags",
    examiner="small-1",
    examined_by="quality and complexity by rubric, diversity by tags",
    same_model=True,
    max_calls=600,
    share=100,
    top=5,
)


def comparison(seeds: int = 6, **leads: float) -> Comparison:
    return compare([_outcome(name.replace("_", "-"), lead, seeds) for name, lead in leads.items()])


def _outcome(recipe: str, lead: float, seeds: int) -> Outcome:
    trees = tuple(
        TreeOutcome(
            root=Marks(search=6.0 + i / 4, held_out=5.0 + i / 4),
            harvest=tuple(Marks(search=7 + lead + (i + k) / 4, held_out=6 + lead + i / 4) for k in range(5)),
            calls=100,
            scored=20,
            rejected=2,
        )
        for i in range(seeds)
    )
    rewards = [marks for one in trees for marks in (one.root, *one.harvest)]
    return Outcome(
        recipe=recipe,
        run=f"x-{recipe}",
        trees=trees,
        rewards={
            "search": tuple(marks.search or 0.0 for marks in rewards),
            "held_out": tuple(marks.held_out or 0.0 for marks in rewards),
        },
        paid=600,
        replayed=10,
        seconds=30.0,
    )


FOUND = comparison(random=0.0, beam=1.0, idea_mcts=0.5)


def shown(found: Comparison, width: int, setting: Setting = SETTING) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(terminal(found, setting, width))
    return captured.get()


def test_the_table_has_the_best_first_with_intervals_and_leads() -> None:
    text = shown(FOUND, 132)
    rows = [line.split()[0] for line in text.splitlines()[2:] if line[0] != " "]
    assert rows == ["beam", "idea-mcts", "random"]
    for words in ("3 recipes, 6 seeds, 100 calls a seed", "+1.00 (", "baseline", "12 rejected", "20.0 paid/s", "100.0"):
        assert words in text, text


def test_a_narrow_terminal_keeps_what_the_judges_said_on_whole_lines() -> None:
    text = shown(FOUND, 80)
    assert "paid/s" not in text and max(map(len, text.splitlines())) <= 80
    assert all(line.count("[") == line.count("]") for line in text.splitlines())


def test_the_document_says_what_was_compared_and_what_is_not_claimed() -> None:
    text = markdown(FOUND, SETTING)
    assert "![" in text and "(compare.svg)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5 and {line.count("|") for line in table} == {9}
    for words in ("small-1", "600 calls", "which no search saw", "bootstrap", "Leads are over random", "Not claimed"):
        assert words in text, words


def test_options_that_are_not_the_recipes_are_said() -> None:
    found = replace(SETTING, differs={"random": (), "beam": (f"search.width is 4 there, 8 here {HOSTILE}",)})
    assert "recipe as it comes (there): beam: search.width is 4 there, 8 here" in markdown(FOUND, found)
    assert "<script" not in markdown(FOUND, found) and "random:" not in markdown(FOUND, found)
    assert not [one for one in notes(FOUND, SETTING) if one.startswith("Options")]


def test_names_from_outside_cannot_become_markup_anywhere() -> None:
    setting = replace(SETTING, evolver=HOSTILE, judge=HOSTILE, examiner=HOSTILE)
    text = markdown(FOUND, setting)
    for place in (text, picture(FOUND, setting)):
        assert "<script" not in place and "\u202e" not in place and "\x1b" not in place
    assert "[x](" not in text.replace("\\[x\\](", "")
    assert "\u202e" not in " ".join(notes(FOUND, setting)) and "\x1b" not in " ".join(notes(FOUND, setting))
    ElementTree.fromstring(picture(FOUND, setting))
    assert json.loads(as_json("x", FOUND, setting))["models"]["evolver"] == HOSTILE
    assert escape("a|b<c>") == "a\\|b&lt;c&gt;"


def test_the_picture_is_one_well_formed_drawing_that_loads_nothing() -> None:
    root = ElementTree.fromstring(picture(FOUND, SETTING))
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "desc", "style", "rect", "line", "circle", "text", "tspan")
    }
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}
    style = root.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in style and "url(" not in style and "@import" not in style
    described = root.findtext(f"{SVG}desc") or ""
    assert root.get("aria-labelledby") == "title desc" and "beam: search judge" in described


def test_the_picture_has_two_dots_with_intervals_for_each_recipe_best_first() -> None:
    root = ElementTree.fromstring(picture(FOUND, SETTING))
    dots = list(root.iter(f"{SVG}circle"))
    assert [dot.get("class") for dot in dots] == ["search"] * 3 + ["held_out"] * 3
    across = [float(dot.get("cx", "")) for dot in dots[:3]]
    assert across == sorted(across, reverse=True)
    bars = [element for element in root.iter(f"{SVG}line") if "bar" in element.get("class", "")]
    assert len(bars) == 6
    for dot, bar in zip(dots, bars, strict=True):
        assert float(bar.get("x1", "")) <= float(dot.get("cx", "")) <= float(bar.get("x2", ""))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert all(0 < float(dot.get("cx", "")) < width and 0 < float(dot.get("cy", "")) < height for dot in dots)


def test_seeds_far_below_all_recipes_do_not_squeeze_them_together() -> None:
    near, far = comparison(random=0.0, beam=1.0), comparison(random=30.0, beam=31.0)
    assert ">seeds<" in picture(near, SETTING)
    assert "far to the left" in picture(far, SETTING) and ">seeds<" not in picture(far, SETTING)


@pytest.mark.parametrize("seeds", [1, 3])
def test_with_few_seeds_no_interval_is_drawn_and_it_is_said_why(seeds: int) -> None:
    found = comparison(seeds, random=0.0, beam=1.0)
    assert 'class="bar' not in picture(found, SETTING)
    assert "fewer than 5 seeds" in " ".join(notes(found, SETTING))
    assert json.loads(as_json("x", found, SETTING))["recipes"][1]["search"]["mean"]["low"] is None


def test_recipes_without_any_figure_are_drawn_and_listed_all_the_same() -> None:
    empty = TreeOutcome(root=Marks(), harvest=(), calls=0, scored=0, rejected=3)
    blank = Outcome(
        recipe="beam", run="x", trees=(empty,), rewards={"search": (), "held_out": ()}, paid=0, replayed=0, seconds=0.0
    )
    found = compare([blank, replace(blank, recipe="random")])
    assert "no figure" in picture(found, SETTING) and "–" in shown(found, 132)
    assert json.loads(as_json("x", found, SETTING))["used_range"] == {"search": None, "held_out": None}
    assert "gave no node" in " ".join(notes(found, SETTING)) and markdown(found, SETTING)


def test_what_was_not_equal_is_said() -> None:
    trees = [
        replace(one, calls=60, harvest=one.harvest[:2] if i else (), lost=1)
        for i, one in enumerate(_outcome("beam", 1.0, 6).trees)
    ]
    short = replace(_outcome("beam", 1.0, 6), trees=tuple(trees), reason="the cap left 2 | trees")
    found = compare([short, _outcome("random", 0.0, 6)])
    said = " ".join(notes(found, SETTING, escape))
    assert "Not quite equal spend: of 100 calls a tree, these used on average: beam 60.0." in said
    assert "Of 6 seeds, so many gave fewer than 5 nodes and count with those: beam 5." in said
    assert "so that the seed itself counts: beam 1." in said
    assert "beam was stopped: the cap left 2 \\| trees." in said
    assert "12 rejected, 6 lost" in markdown(found, SETTING)


def test_the_json_holds_every_seed_of_every_recipe() -> None:
    found = json.loads(as_json("x", FOUND, SETTING))
    assert [one["recipe"] for one in found["recipes"]] == ["random", "beam", "idea-mcts"]  # as they were named
    assert found["ranking"] == ["beam", "idea-mcts", "random"]
    assert [len(one["per_seed"]) for one in found["recipes"]] == [6, 6, 6]
    beam = found["recipes"][1]
    assert beam["held_out"]["lead"]["points"]["value"] == pytest.approx(1.0)
    assert 0 < beam["held_out"]["lead"]["share"] < 1 and found["recipes"][0]["held_out"]["lead"] is None
    assert beam["calls_per_seed"] == 100 and beam["per_seed"][0]["calls"] == 100
