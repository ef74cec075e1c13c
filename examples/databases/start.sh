#!/bin/sh
# A PostgreSQL server of its own in `server/` and a MariaDB server in `mariadb/`, each reached through
# a socket there. They end by themselves once their folders are gone.
set -eu
cd "$(dirname "$0")"
folder=$PWD

# What makes a command another user's: as root these servers refuse to run.
as() {
    if [ "$(id -u)" = 0 ]; then echo "setpriv --reuid=$1 --regid=$1 --clear-groups --"; fi
}

# Makes the folder of a server, for a user.
own() {
    mkdir -p "$1"
    if [ "$(id -u)" = 0 ]; then
        chown "$2" "$1"
        above=$folder
        while [ "$above" != / ]; do chmod o+x "$above"; above=$(dirname "$above"); done
    fi
}

# Runs a server while a folder is there, and ends it by a signal.
keep() {
    there=$1 signal=$2
    shift 2
    (
        "$@" &
        server=$!
        while [ -d "$there" ] && kill -0 "$server" 2>/dev/null; do sleep 1; done
        kill "-$signal" "$server" 2>/dev/null || true
    ) >/dev/null 2>&1 &
}

bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
own server postgres
$(as postgres) "$bin/initdb" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync -D "$folder/server/data" >/dev/null
keep server/data QUIT \
    $(as postgres) "$bin/postgres" -D "$folder/server/data" -k "$folder/server" -c listen_addresses=
while ! "$bin/pg_isready" --quiet --host "$folder/server"; do sleep 0.1; done

own mariadb mysql
$(as mysql) mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
    --datadir="$folder/mariadb/data" >/dev/null
keep mariadb/data KILL \
    $(as mysql) /usr/sbin/mariadbd --no-defaults --skip-networking --datadir="$folder/mariadb/data" \
    --socket="$folder/mariadb/socket" --pid-file="$folder/mariadb/pid"
while ! mariadb --no-defaults --socket="$folder/mariadb/socket" -u root -e "" 2>/dev/null; do sleep 0.1; done
