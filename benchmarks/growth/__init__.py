"""What a run costs while it grows to a million nodes: `python -m benchmarks.growth --nodes N`."""
