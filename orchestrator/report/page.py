"""`report.html`: one file with everything in it. It loads nothing, and its policy forbids it to.

Texts are escaped as `frame` says, and there is no JSON for one to break out of: a node's panel is HTML, the script
only shows and hides.
"""

from orchestrator.report import charts, rows, wording
from orchestrator.report.advice import advice
from orchestrator.report.drawing import shade_of
from orchestrator.report.forest import Forest, gather, reward
from orchestrator.report.frame import environment, policy, source
from orchestrator.report.model import Report, RunStory
from orchestrator.report.night import night
from orchestrator.report.numbers import edges, finite
from orchestrator.report.panels import TreeView, view
from orchestrator.report.summary import summarise
from orchestrator.report.turns import turns

_SHADES = 8


def render(story: RunStory) -> str:
    """The whole page, as text to be written in UTF-8."""
    report, forest = summarise(story), gather(story)
    bounds = _shade_bounds(forest)
    jinja = environment()
    style, script = (source(jinja, name) for name in ("style.css", "script.js"))
    told = night(story.minutes, story.run.changes)
    return jinja.get_template("page.html.j2").render(
        report=report,
        style=style,
        script=script,
        policy=policy(style, script),
        histograms=[charts.histogram(found) for found in report.distributions],
        whiskers=charts.whiskers(report.operators),
        legend=_legend(bounds),
        groups=_groups(report, forest, story, bounds),
        night=told,
        best=rows.best(forest),
        strangest=rows.strangest(forest),
        advice=advice(report, told),
        turns=turns(story.run.changes, story.minutes),
        verdicts=story.verdicts,
    )


def _groups(
    report: Report, forest: Forest, story: RunStory, bounds: tuple[float, ...]
) -> list[tuple[str, str, list[TreeView]]]:
    choice = report.choice
    chosen = (
        ("best", "Largest gains", choice.best),
        ("worst", "Smallest gains", choice.worst),
        ("without", "Without a gain to rank", choice.without_gain),
    )
    return [
        (name, title, [view(forest, found, story.node_costs, bounds) for found in trees])
        for name, title, trees in chosen
        if trees
    ]


def _shade_bounds(forest: Forest) -> tuple[float, ...]:
    """The edges between shades: round numbers over the rewards of all nodes of the run, lowest and highest left off."""
    values = finite(reward(node) for node in forest.nodes.values())
    if not values:
        return ()
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 50], ordered[-1 - len(ordered) // 50]
    return edges([low, (low + high) / 2, high], most=_SHADES)[1:]


def _legend(bounds: tuple[float, ...]) -> list[tuple[str, str]]:
    """Each shade with the edge at its upper end. The outer two take the outliers too, so the last has no edge."""
    labels = [*(wording.axis(bound) for bound in bounds[:-1]), ""]
    return [(shade_of(i, len(bounds)), label) for i, label in enumerate(labels[: len(bounds)])]
