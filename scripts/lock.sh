#!/bin/sh
# Compiles the lock of every set from pyproject.toml. The largest set comes first and constrains the others, so that
# two sets in one .venv never disagree about a version. Hashes are the package index's own; no address is written.
# `make lock` keeps what is locked where it can; `make lock UPGRADE=1` takes the newest.
set -eu
cd "$(dirname "$0")/.."
uv=$PWD/.build/lock/bin/uv
export UV_CUSTOM_COMPILE_COMMAND="make lock"

if [ ! -x "$uv" ]; then
    echo "[lock] fetching uv into .build/lock"
    python=$(sh scripts/find-python.sh)
    "$python" -m venv .build/lock
    .build/lock/bin/pip install --quiet --quiet --disable-pip-version-check -r requirements/uv.in
fi

# lock SET ARGUMENT...: requirements/SET.txt, good for every Python from 3.11 on.
lock() {
    name=$1
    shift
    echo "[lock] requirements/$name.txt"
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes ${UPGRADE:+--upgrade} "$@" -o "requirements/$name.txt" >/dev/null
}

lock dev pyproject.toml --extra local --extra export --extra console --extra flower --extra otel --extra dev --group build
same="-c requirements/dev.txt"
lock local pyproject.toml $same --extra local --extra export --group build
lock core pyproject.toml $same
lock console pyproject.toml $same --extra console
lock flower pyproject.toml $same --extra flower
lock otel pyproject.toml $same --extra otel
lock build $same --group build
lock deploy --group deploy
lock train pyproject.toml $same --extra train

# For machines that bring a PyTorch of their own (a CPU build, a vendor's): the same set less torch and its CUDA.
less=$(sed -n -E 's/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==.*/--no-emit-package \1/p' requirements/train.txt)
lock train-own-torch pyproject.toml -c requirements/train.txt --extra train $less
