#!/bin/sh
# rabbitmq.sh: RabbitMQ from the distribution, for the tests that start one of their own; those are skipped where it is
# missing. Only where we are root and there is apt (as in CI): it brings Erlang, and a service of the system that is of no
# use here and is told not to start.
set -eu
if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "[rabbitmq] it is not here, and cannot be installed without root and apt: its tests will be skipped"
    exit 0
fi
install() {
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends rabbitmq-server
}
{ install || { apt-get -qq update && install; }; } >/dev/null 2>&1 || echo "[rabbitmq] apt cannot install it: its tests will be skipped"
