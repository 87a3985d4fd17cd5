"""`report.html`: one file with everything in it. It loads nothing, and its policy forbids it to.

Texts are escaped as `frame` says, and there is no JSON for one to break out of: a node's panel is HTML, the script
only shows and hides.
"""

from orchestrator.report import charts, rows
from orchestrator.report.advice import advice
from orchestrator.report.forest import Forest, gather, reward
from orchestrator.report.frame import environment, policy, source
from orchestrator.report.model import Report, RunStory
from orchestrator.report.night import night
from orchestrator.report.panels import TreeView, view
from orchestrator.report.shades import Shades
from orchestrator.report.summary import summarise
from orchestrator.report.turns import turns


def render(story: RunStory) -> str:
    """The whole page, as text to be written in UTF-8."""
    report, forest = summarise(story), gather(story)
    shades = Shades.over(reward(node) for node in forest.nodes.values())
    jinja = environment()
    style, script = (source(jinja, name) for name in ("style.css", "script.js"))
    told = night(story.minutes, story.happened)
    return jinja.get_template("page.html.j2").render(
        report=report,
        style=style,
        script=script,
        policy=policy(style, script),
        histograms=[charts.histogram(found) for found in report.distributions],
        whiskers=charts.whiskers(report.operators),
        legend=shades.legend(),
        groups=_groups(report, forest, story, shades),
        night=told,
        best=rows.best(forest),
        strangest=rows.strangest(forest),
        advice=advice(report, told),
        turns=turns(story.run.changes, story.minutes),
        verdicts=story.verdicts,
    )


def _groups(report: Report, forest: Forest, story: RunStory, shades: Shades) -> list[tuple[str, str, list[TreeView]]]:
    choice = report.choice
    chosen = (
        ("best", "Largest gains", choice.best),
        ("worst", "Smallest gains", choice.worst),
        ("without", "Without a gain to rank", choice.without_gain),
    )
    return [
        (name, title, [view(forest, found, story.node_costs, shades) for found in trees])
        for name, title, trees in chosen
        if trees
    ]
