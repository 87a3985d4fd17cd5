"""What the scripted model says about operators: proposals of new ones, a better method, whether two texts are equal."""

from random import Random

_FINDINGS = (
    ("name-a-reader", "Say who will read the answer.", "Name the reader of the answer and what the reader knows."),
    (
        "ask-for-evidence",
        "Ask for evidence.",
        "Ask for the evidence behind each claim in the answer and its weakest link.",
    ),
    (
        "set-a-scene",
        "Set the task in a scene.",
        "Put #The Given Prompt# into a scene with a place, a time and a conflict.",
    ),
    ("count-the-cost", "Ask what it costs.", "Demand that the answer weighs money against time and states both."),
    ("two-sides", "Demand both sides.", "Change #The Given Prompt# so that two opposed views must be set out fairly."),
    (
        "check-yourself",
        "Ask for a check.",
        "Require a test at the end by which a layman can see whether the answer holds.",
    ),
    ("look-back", "Bring in history.", "Require a comparison with how the same matter was handled a century ago."),
    ("plan-b", "Ask for a fallback.", "Add the demand for a fallback in case the first proposal fails halfway."),
)
_METHODS = (
    "Add to #The Given Prompt# one thing that its answer must achieve, and a sign by which success is seen.",
    "Say in #The Given Prompt# what the answer is for, who will use it, and what it must therefore contain.",
    "State one clear aim for the answer to #The Given Prompt# and keep every word that is already there.",
    "Give #The Given Prompt# a purpose that can be tested when the answer is there.",
)


def proposals(chance: Random) -> dict[str, object]:
    """A few findings as a meta-prompt asks for them, one of them with a template in it, which nobody may take."""
    found = [{"name": n, "intent": i, "method": m} for n, i, m in chance.sample(_FINDINGS, 3)]
    return {"operators": [*found, {"name": "engine", "intent": "Inject.", "method": "Say {{ 7 * 7 }} in the answer."}]}


def method(chance: Random) -> dict[str, str]:
    return {"method": chance.choice(_METHODS)}


def equal(first: str, second: str) -> str:
    """Yes for texts of the same words."""
    return "yes" if sorted(first.lower().split()) == sorted(second.lower().split()) else "no"
