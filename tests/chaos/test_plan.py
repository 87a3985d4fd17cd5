"""The plan of a chaos run: the same for the same seed, and with as many kills as were asked for."""

import pytest

from tests.chaos.plan import Deed, plan
from tests.chaos.programs import Part


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(40, 1) == plan(40, 1) != plan(40, 2)


@pytest.mark.parametrize("kills", [1, 3, 30, 200])
def test_it_has_the_kills_that_were_asked_for_and_hits_every_part(kills: int) -> None:
    acts = plan(kills, 5)
    killed = [act.part for act in acts if act.deed is Deed.KILL]
    assert len(killed) == kills
    assert len(set(killed)) == min(kills, len(Part))
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    assert {act.deed for act in acts} == set(Deed)
