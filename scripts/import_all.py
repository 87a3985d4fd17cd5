"""Imports every module of the installed packages: what only an extra brings must not be needed to import anything."""

import importlib
import pkgutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("orchestrator", "workers", "db")


def main() -> None:
    names = list(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names += [found.name for found in pkgutil.walk_packages(path, f"{package}.", onerror=fail)]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # Alembic's env.py runs migrations when imported, and only Alembic may do that; __main__ would start the program.
    left_out = ("db.migrations.env", *settings["tool"]["instructree"]["modules-of-extras"])
    below = tuple(f"{name}." for name in left_out)
    imported = [name for name in names if name not in left_out and not name.startswith(below)]
    imported = [name for name in imported if not name.endswith("__main__")]
    for name in imported:
        importlib.import_module(name)
    print(f"[wheel] {len(imported)} modules import on the core set alone")


def fail(name: str) -> None:
    sys.exit(f"error: {name} cannot be imported on the core set alone")


if __name__ == "__main__":
    main()
