"""`python -m orchestrator.cli`: how the local stack starts its parts."""

from orchestrator.cli import main

main()
