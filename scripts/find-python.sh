#!/bin/sh
# Prints the path of a Python that can carry Instructree: 3.11 or newer, with venv and ensurepip.
# A name on PATH proves nothing (version managers leave shims that refuse to run), so each candidate is started.
# PYTHON=/path/to/python overrides the search.

probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(3)
try:
    import ensurepip, ssl, venv
except ImportError:
    sys.exit(4)
print(sys.executable)
'

without_venv=""
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python3.14 python}; do
    found=$("$candidate" -c "$probe" 2>/dev/null)
    case $? in
        0) printf '%s\n' "$found"; exit 0 ;;
        4) without_venv="$candidate" ;;
    esac
done

if [ -n "$without_venv" ]; then
    echo "error: $without_venv is new enough, but has no venv, ensurepip or ssl module: install them" \
        "(Debian and Ubuntu: the package python3-venv) and run make again." >&2
else
    echo "error: Python 3.11 or newer is needed, and ${PYTHON:-none} was found: install it, or name it with" \
        "make PYTHON=/path/to/python3.11 ..." >&2
fi
exit 1
