"""What everybody is given to work on: seeds that differ, and the question that evolves one. Standard library only."""

import json
from pathlib import Path

_TASKS = (
    "Explain to a beginner how {} work in practice",
    "Write a short letter about {} to a friend abroad",
    "Give three reasons why {} matter to a small town",
    "Summarise what a farmer should know about {}",
    "Describe the three commonest mistakes that people make with {}",
)
_SUBJECTS = (
    *("bees", "bridges", "coffee", "compost", "dialects", "earthquakes", "fevers", "glaciers", "harbours", "insulin"),
    *("juries", "kites", "lighthouses", "maps", "novels", "orchards", "pumps", "quarries", "rivers", "sundials"),
)
_METHOD = (
    "Act as a prompt rewriter. Rewrite the given prompt into a more complex version that AI systems find a bit harder "
    "to handle: add one more constraint or requirement. Keep it reasonable, understandable and answerable by humans, "
    "and add at most twenty words. Answer with the rewritten prompt and nothing else.\n\n#The Given Prompt#\n<<<\n{}\n"
    ">>>"
)


def seed(place: str) -> str:
    """A seed that is the same for the same place and no other."""
    number = sum(place.encode())
    task = _TASKS[number % len(_TASKS)].format(_SUBJECTS[number % len(_SUBJECTS)])
    return f"{task}, with case {place} in mind."


def question(place: str) -> str:
    """About as long as our own prompt for an evolution."""
    return _METHOD.format(seed(place))


def write_seeds(path: Path, count: int, about: str) -> Path:
    """A file of seeds. `about` makes them different from those of every other file."""
    lines = (json.dumps({"instruction": seed(f"{about}-{number}")}) + "\n" for number in range(count))
    path.write_text("".join(lines), encoding="utf-8")
    return path
