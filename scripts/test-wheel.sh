#!/bin/sh
# Installs the wheel in dist/ into an empty environment from the locks, hashes checked, and tests that, not the checkout:
# first on the core set alone (the command line must start without any extra), then the unit tests with the dev set,
# from another folder and with `python -P`, so that nothing of the checkout can be imported by accident.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
trap 'exit 130' INT TERM
python=$elsewhere/venv/bin/python

install() {
    "$python" -m pip install --quiet --quiet --no-input --disable-pip-version-check --no-deps "$@"
}

echo "[wheel] empty environment with the core set and the wheel"
"$(sh scripts/find-python.sh)" -m venv "$elsewhere/venv"
install --require-hashes -r requirements/core.txt
install dist/*.whl
cd "$elsewhere"
"$elsewhere/venv/bin/instructree" --help >/dev/null
"$python" -P "$root/scripts/import_all.py"

echo "[wheel] unit tests against the wheel, from $elsewhere"
cd "$root"
install --require-hashes -r requirements/dev.txt
cd "$elsewhere"
INSTRUCTREE_TEST_WHEEL=1 "$python" -P -m pytest -c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider "$root/tests/unit"
