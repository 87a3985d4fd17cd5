"""Pools that grow by generation: what a prompt shows, how batches are made, what training says of the seeds."""
