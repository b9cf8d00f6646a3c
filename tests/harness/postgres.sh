#!/bin/sh
# A throw-away PostgreSQL on loopback, for tests.
#
# Prints its URL and serves until standard input ends; then the server is removed. So it ends with the process that started
# it, however that process ended. By hand: `tests/harness/postgres.sh`, and Ctrl-D. A line `crash` on standard input ends the
# server as a power failure would and starts it again; the answer is `up`.
#
# Exits with 3 and one line if PostgreSQL is not installed.
set -eu

# The server's programs: those on the PATH, or the newest of Debian's, which are not on it.
programs() {
    if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
        dirname "$(readlink -f "$(command -v initdb)")"
        return
    fi
    found=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -t / -k 5 -n | tail -n 1)
    [ -n "$found" ] && dirname "$found"
}

bin=$(programs) || {
    echo "PostgreSQL's initdb and pg_ctl are neither on the PATH nor in /usr/lib/postgresql/*/bin: install the package postgresql" >&2
    exit 3
}
[ "${1:-}" = --look ] && exit 0

# The server refuses to run as root.
as() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid "$(id -u nobody)" --regid "$(id -g nobody)" --clear-groups "$@"
    else
        "$@"
    fi
}

# Ctrl-C reaches every process of the terminal. It ends the process that started this script, and thereby the script.
trap '' INT HUP TERM

temp=${TMPDIR:-/tmp}
# Removes servers whose shell was killed.
for old in "$temp"/posthaste-postgres.*; do
    [ -O "$old/shell" ] && ! kill -0 "$(cat "$old/shell")" 2>/dev/null || continue
    as "$bin/pg_ctl" stop -s -m immediate -D "$old/data" 2>/dev/null || true
    rm -rf "$old"
done

dir=$(mktemp -d "$temp/posthaste-postgres.XXXXXX")
echo $$ >"$dir/shell"
chmod 755 "$dir"
mkdir "$dir/data"
[ "$(id -u)" = 0 ] && chown "$(id -u nobody):$(id -g nobody)" "$dir/data"
cd "$dir"

remove() {
    as "$bin/pg_ctl" stop -s -m immediate -D "$dir/data" 2>/dev/null || true
    cd /
    rm -rf "$dir"
}
trap remove EXIT

# Every user of the machine can reach a port on loopback, so the server has a password.
password=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')
(umask 077 && echo "$password" >"$dir/password")
[ "$(id -u)" = 0 ] && chown "$(id -u nobody)" "$dir/password"
# An ICU collation, if the server supports it: most databases have the collation of a language.
locale="--locale C"
"$bin/initdb" --help | grep -q -- --icu-locale && locale="$locale --locale-provider icu --icu-locale en"
# shellcheck disable=SC2086
as "$bin/initdb" -D "$dir/data" -U posthaste --pwfile "$dir/password" -A scram-sha-256 -E UTF8 $locale \
    >"$dir/initdb.log" 2>&1 || {
    cat "$dir/initdb.log" >&2
    exit 1
}
# fsync stays on, as in production.
cat >>"$dir/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
max_wal_size = '256MB'
SETTINGS

# A port below the ephemeral range.
try=0
while port=$((20000 + ($$ * 13 + try * 997) % 12000)); do
    as "$bin/pg_ctl" start -s -w -t 60 -D "$dir/data" -l "$dir/data/log" -o "-p $port" >/dev/null 2>&1 </dev/null && break
    try=$((try + 1))
    if [ "$try" -ge 20 ] || ! grep -q 'could not bind' "$dir/data/log"; then
        cat "$dir/data/log" >&2
        exit 1
    fi
done

echo "postgres://posthaste:$password@127.0.0.1:$port/postgres"
while read -r line; do
    [ "$line" = crash ] || continue
    as "$bin/pg_ctl" stop -s -w -m immediate -D "$dir/data" </dev/null
    as "$bin/pg_ctl" start -s -w -t 60 -D "$dir/data" -l "$dir/data/log" -o "-p $port" >/dev/null 2>&1 </dev/null
    echo up
done
