#!/bin/sh
# A PostgreSQL server of its own in `server/`, reached through a socket there. It ends by itself
# once its folder is gone.
set -eu
cd "$(dirname "$0")"
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
mkdir -p server
# A socket's folder is an absolute path.
sed -i "s|^host = .*|host = \"$PWD/server\"|" tidelock.toml
as=
if [ "$(id -u)" = 0 ]; then
    # The server refuses to be root.
    chown postgres server
    folder=$PWD
    while [ "$folder" != / ]; do chmod o+x "$folder"; folder=$(dirname "$folder"); done
    as="setpriv --reuid=postgres --regid=postgres --clear-groups --"
fi
$as "$bin/initdb" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync -D "$PWD/server/data" >/dev/null
(
    $as "$bin/postgres" -D "$PWD/server/data" -k "$PWD/server" -c listen_addresses= >/dev/null 2>&1 &
    server=$!
    while [ -d server/data ] && kill -0 "$server" 2>/dev/null; do sleep 1; done
    kill -QUIT "$server" 2>/dev/null || true
) >/dev/null 2>&1 &
while ! "$bin/pg_isready" --quiet --host "$PWD/server"; do sleep 0.1; done
