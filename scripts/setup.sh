#!/bin/sh
# setup.sh SET: makes .venv hold requirements/SET.txt and this checkout.
here=$(dirname "$0")
python=$(sh "$here/find-python.sh") || exit 1
exec "$python" "$here/venv.py" "$1"
