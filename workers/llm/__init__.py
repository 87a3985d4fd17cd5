"""The one way out to models: address, request, client, limiter, ledger, and what became of a call.

`gateway` is the door for task bodies; `probe` looks at an endpoint before anything is spent; `scripted` is a server
that answers without a model, for tests, benchmarks and `instructree doctor`.
"""
