"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar="INSTRUCTREE_CONFIG", help="Configuration file (TOML)")
]
