"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar="INSTRUCTREE_CONFIG", help="Configuration file (TOML)")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else")]
