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

# Makes the folder of a server, for a user, and says where it is. That user need not get to where root
# works: then the files are elsewhere, and the folder leads there.
own() {
    if [ "$(id -u)" = 0 ]; then
        at=$(mktemp -d "/tmp/tidelock-$1.XXXXXX")
        chown "$2" "$at"
        ln -s "$at" "$1"
        echo "$at"
    else
        mkdir -p "$1"
        echo "$folder/$1"
    fi
}

# Runs a server while its folder is there, and ends it by a signal.
keep() {
    name=$1 at=$2 signal=$3
    shift 3
    (
        cd "$at"
        "$@" &
        server=$!
        while [ -d "$folder/$name/data" ] && kill -0 "$server" 2>/dev/null; do sleep 1; done
        kill "-$signal" "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        [ "$at" = "$folder/$name" ] || rm -rf "$at"
    ) >/dev/null 2>&1 &
}

bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
at=$(own server postgres)
(cd "$at" && $(as postgres) "$bin/initdb" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync -D "$at/data" >/dev/null)
keep server "$at" QUIT $(as postgres) "$bin/postgres" -D "$at/data" -k "$at" -c listen_addresses=
while ! "$bin/pg_isready" --quiet --host "$at"; do sleep 0.1; done

at=$(own mariadb mysql)
(cd "$at" && $(as mysql) mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
    --datadir="$at/data" >/dev/null)
keep mariadb "$at" KILL $(as mysql) /usr/sbin/mariadbd --no-defaults --skip-networking --datadir="$at/data" \
    --socket="$at/socket" --pid-file="$at/pid"
while ! mariadb --no-defaults --socket="$at/socket" -u root -e "" 2>/dev/null; do sleep 0.1; done
