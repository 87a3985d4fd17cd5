"""Who is refused when a run is to be removed."""

from dataclasses import replace

import pytest

from db.errors import ConfigError
from orchestrator.removing import refuse_on
from tests.unit.report_story import run


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_run_that_is_not_over_is_refused_with_what_ends_it(status: str):
    with pytest.raises(ConfigError, match=f"'kitchen-and-code' is {status}.*`instructree cancel kitchen-and-code`"):
        refuse_on(replace(run(1), status=status))


@pytest.mark.parametrize("status", ["done", "stopped", "cancelled"])
def test_a_run_that_is_over_is_not(status: str):
    refuse_on(replace(run(1), status=status))
