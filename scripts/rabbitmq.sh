#!/bin/sh
# rabbitmq.sh: RabbitMQ from the distribution, for the tests that start one of their own; it brings Erlang, and a
# service of the system that is of no use here and is told not to start. Needs root and apt.
set -eu
if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: the tests of RabbitMQ need one: install the package rabbitmq-server and run this again" >&2
    exit 1
fi
install() {
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends rabbitmq-server
}
{ install 2>/dev/null || { apt-get -qq update && install; }; } >/dev/null
