"""The interval of what training changed. Runs without PyTorch."""

from pathlib import Path

import pytest

from workers.training.evaluate import ItemLoss, summarise


def pair(tokens: int, before: float, after: float) -> tuple[ItemLoss, ItemLoss]:
    return ItemLoss(tokens=tokens, loss=before), ItemLoss(tokens=tokens, loss=after)


def test_losses_are_means_over_tokens_not_items() -> None:
    found = summarise([pair(30, 2.0, 1.0), pair(10, 4.0, 4.0)], skipped=1, checkpoint=Path("/s/step-000003"))
    assert (found.before, found.after, found.difference) == (2.5, 1.75, -0.75)
    assert (found.items, found.skipped, found.tokens, found.better) == (2, 1, 40, 1)
    assert (found.low, found.high) == (-1.0, 0.0)  # either item may be drawn twice


def test_the_interval_narrows_with_items_and_holds_the_truth() -> None:
    few = [pair(10, 2.0, 2.0 - 0.1 * (n % 5)) for n in range(10)]
    some = summarise(few, skipped=0, checkpoint=Path("s"))
    many = summarise(few * 20, skipped=0, checkpoint=Path("s"))
    assert some.low < many.low < -0.2 < many.high < some.high
    assert some.difference == many.difference == pytest.approx(-0.2)
