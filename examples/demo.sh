#!/bin/sh
# demo.sh PROGRAMS LIBRARIES
#
# The main job on real input, in a /dev/shm of 16 MiB that is this script's own: one process stores this project's built
# library files and a table of 64 MiB, another reads them back and compares, and the usual way is shown beside it.
# Ends non-zero if anything is not as it says. VFS_DEMO_PLAIN=1: no namespace, as where none is allowed.
set -eu
programs=$1
libraries=$2

if [ -z "${VFS_DEMO_INSIDE-}" ]; then
    VFS_DEMO_INSIDE=limit
    export VFS_DEMO_INSIDE
    for how in -m -Urm; do
        # shellcheck disable=SC2016 # expanded by the inner shell
        if [ -z "${VFS_DEMO_PLAIN-}" ] &&
            unshare $how sh -c 'mount -t tmpfs -o size=16m,mode=1777 demo /dev/shm' 2>/dev/null; then
            VFS_DEMO_INSIDE=shm exec unshare $how \
                sh -c 'mount -t tmpfs -o size=16m,mode=1777 demo /dev/shm && exec sh "$@"' sh "$0" "$@"
        fi
    done
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/libvfs-demo.XXXXXX")
storer=
cleanup() {
    [ -z "$storer" ] || kill -KILL "$storer" 2>/dev/null || :
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "demo: FAILED: $*" >&2
    exit 1
}

mkdir "$work/disk" "$work/spare"
if [ "$VFS_DEMO_INSIDE" = shm ]; then
    first=/dev/shm
    VFS_TIERS="shm,$work/disk,$work/spare"
    echo "A /dev/shm of 16 MiB, mounted for this demo alone; disk tiers in $work."
else
    first=$work/shm
    mkdir "$first"
    VFS_TIERS="$first?max=16M,$work/disk,$work/spare"
    echo "FALLBACK: no private mounts here, so the first tier is a directory limited with ?max=16M."
fi
export VFS_TIERS
echo "VFS_TIERS=$VFS_TIERS"

# What of ours lies on the tiers; the empty lock files do not count.
left() {
    find "$first" "$work/disk" "$work/spare" -type f ! \( -name '*lock' -size 0 \)
}

# Starts a storer that holds its blobs until descriptor 3 is closed, and shows what it says.
start_storer() {
    rm -f "$work/hold" "$work/said"
    mkfifo "$work/hold" "$work/said"
    "$programs/store" "$@" <"$work/hold" >"$work/said" &
    storer=$!
    exec 3>"$work/hold" 4<"$work/said"
    line=
    while [ "$line" != holding ] && read -r line <&4; do
        [ "$line" = holding ] || printf '  %s\n' "$line"
    done
    [ "$line" = holding ] || fail "the storing process ended early"
}

set -- "libvfs.so=$libraries/libvfs.so" "libvfs.a=$libraries/libvfs.a" "table=rows:1048576" \
    "libvfs.rlib=$libraries/libvfs.rlib" "vfs.h=include/vfs.h"

echo
echo "1. A process stores them:"
start_storer "$@"

echo
echo "2. Another process reads them by key and compares:"
"$programs/fetch" "$@" 3>&- 4<&- || fail "what was read is not what was stored"

echo
echo "3. The usual way, with 64 MiB in the same /dev/shm:"
if [ "$VFS_DEMO_INSIDE" = shm ]; then
    "$programs/usual" 67108864 3>&- 4<&- || fail "it was to die by SIGBUS"
    "$programs/fetch" "$@" 3>&- 4<&- >/dev/null || fail "the blobs suffered from it"
else
    echo "  not shown: it takes a small /dev/shm of one's own"
fi

echo
echo "4. The storing process ends:"
exec 3>&-
wait "$storer" || fail "the storing process ended with $?"
storer=
exec 4<&-
[ -z "$(left)" ] || fail "left in the tiers: $(left)"
echo "  nothing is left in the tiers"

echo
echo "5. The same, but the storing process is killed; then another program opens the store:"
start_storer "libvfs.so=$libraries/libvfs.so" "table=rows:262144"
kill -KILL "$storer"
wait "$storer" 2>/dev/null || :
storer=
exec 3>&- 4<&-
[ -n "$(left)" ] || fail "a killed process cannot have cleaned up"
printf '  hello.c says: '
"$programs/hello"
[ -z "$(left)" ] || fail "left in the tiers: $(left)"
echo "  nothing is left in the tiers"

echo
echo "demo: ok"
