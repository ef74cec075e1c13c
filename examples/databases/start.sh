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

# Makes the folder of a server, for a user, and says in `at` where it is. As root it is below /tmp, and
# a link leads there: that user need not get to where root works.
own() {
    if [ "$(id -u)" = 0 ]; then
        at=$(mktemp -d "/tmp/tidelock-$1.XXXXXX")
        chown "$2" "$at"
        ln -s "$at" "$1"
    else
        at=$folder/$1
        mkdir -p "$at"
    fi
}

# Runs a server while a folder is there, ends it by a signal, and removes what is below /tmp.
keep() {
    there=$1 signal=$2
    shift 2
    (
        cd "$at"
        "$@" &
        server=$!
        while [ -d "$folder/$there" ] && kill -0 "$server" 2>/dev/null; do sleep 1; done
        kill "-$signal" "$server" 2>/dev/null || true
        wait "$server" || true
        case $at in "$folder"/*) ;; *) rm -rf "$at" ;; esac
    ) >/dev/null 2>&1 &
}

bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
own server postgres
(cd "$at" && $(as postgres) "$bin/initdb" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync -D "$at/data" >/dev/null)
keep server/data QUIT $(as postgres) "$bin/postgres" -D "$at/data" -k "$at" -c listen_addresses=
while ! "$bin/pg_isready" --quiet --host "$at"; do sleep 0.1; done

own mariadb mysql
(cd "$at" && $(as mysql) mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
    --datadir="$at/data" >/dev/null)
keep mariadb/data KILL \
    $(as mysql) /usr/sbin/mariadbd --no-defaults --skip-networking --datadir="$at/data" \
    --socket="$at/socket" --pid-file="$at/pid"
while ! mariadb --no-defaults --socket="$at/socket" -u root -e "" 2>/dev/null; do sleep 0.1; done
