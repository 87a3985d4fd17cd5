"""`status --watch`: what it refuses, and what it shows while the database is away."""

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from db.errors import ConfigError
from orchestrator.cli import app
from orchestrator.cli.look import look


@pytest.mark.parametrize("options", [(), ("night", "--json")])
def test_only_one_run_can_be_watched_and_not_as_json(options: tuple[str, ...]):
    error = CliRunner().invoke(app, ["status", *options, "--watch"]).exception
    assert isinstance(error, ConfigError) and "name the run, and leave --json out" in str(error)


def test_a_database_that_is_away_is_waited_for():
    found = look(create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none"), "night")
    assert str(found).startswith("the database is away (") and "waiting for it" in str(found)
