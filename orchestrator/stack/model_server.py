"""The process of one model server: loads a GGUF file into llama.cpp and serves it, OpenAI-compatible, on the loopback.

Run as ``python -m orchestrator.stack.model_server``. Ends at SIGTERM; there is nothing to save.
"""

import argparse
import signal

import xllamacpp

_PROMPT_CACHE_MIB = 512  # llama.cpp's own default of 8 GiB is more than many a laptop has
_HTTP_THREADS = 512  # each open connection holds one: with fewer, /health goes unanswered as soon as workers are busy
_WARNINGS = 2  # three, the default, writes several lines for every request


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="llama.cpp's server for one model, on the loopback")
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--slots", required=True, type=int)
    parser.add_argument("--context-tokens", required=True, type=int, help="what one slot may hold")
    parser.add_argument("--threads", required=True, type=int)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = arguments.model
    parameters.model_alias = {arguments.alias}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = arguments.port
    parameters.reuse_port = True  # or the port of a killed server is lost to its successor for a minute
    parameters.n_parallel = arguments.slots
    parameters.n_ctx = arguments.slots * arguments.context_tokens
    parameters.cpuparams.n_threads = arguments.threads
    parameters.cpuparams_batch.n_threads = arguments.threads
    # A model with sliding-window attention can reuse a prompt's beginning only if it keeps the whole window: without
    # this a judge's long constant prefix is read again at nearly every call (measured: 1.5 calls a second, not 8).
    parameters.swa_full = True
    parameters.n_ctx_checkpoints = 0
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.n_threads_http = _HTTP_THREADS
    parameters.cors_origins = "http://127.0.0.1"  # no page in a browser may use the model
    parameters.ui = False
    parameters.verbosity = _WARNINGS
    server = xllamacpp.Server(parameters)
    print(f"serving {arguments.alias} on {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
