"""Some properties are those of rows: they get the servers of the integration tests, a set of their own."""

from tests.integration.conftest import _template, database_url, engine, servers

__all__ = ["_template", "database_url", "engine", "servers"]
