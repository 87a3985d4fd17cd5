#!/bin/sh
# train.sh TORCH: adds what training needs to .venv. PyTorch is named without a hash, because every machine has a build of
# its own (CPU, CUDA, a vendor's): what is there already is left alone.
set -eu
cd "$(dirname "$0")/.."
pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"

.venv/bin/python -c "import torch" 2>/dev/null || { echo "[train] $1"; $pip "$1"; }
echo "[train] requirements/train-own-torch.txt"
$pip --require-hashes --no-deps -r requirements/train-own-torch.txt
echo "[train] requirements/student.txt"
$pip --require-hashes --no-deps -r requirements/student.txt
