#!/bin/sh
# run.sh short|long PROGRAMS
#
# Runs the benchmarks with a /dev/shm of their own, so that the machine's is neither filled nor in the way. The disk
# tiers are fresh directories in /var/tmp and /tmp, removed afterwards. BENCH_PART=blobs|threads|owners: that part of
# the long one alone.
set -eu
which=$1
programs=$2

if [ -z "${VFS_BENCH_INSIDE-}" ]; then
    export VFS_BENCH_INSIDE=1
    for how in -m -Urm; do
        if unshare $how sh -c 'mount -t tmpfs bench /dev/shm' 2>/dev/null; then
            exec unshare $how sh "$0" "$@"
        fi
    done
    echo "no private mounts here: a benchmark would have to use the machine's own /dev/shm" >&2
    exit 1
fi

# A tmpfs is no larger than half of the memory that is free; 1 MiB units.
free=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / 2))
at_most() { [ "$free" -lt "$1" ] && echo "$free" || echo "$1"; }
shm() {
    umount /dev/shm 2>/dev/null || :
    mount -t tmpfs -o "size=$1m,nr_inodes=$2,mode=1777" bench /dev/shm
}

disk1=$(mktemp -d /var/tmp/libvfs-bench.XXXXXX)
disk2=$(mktemp -d /tmp/libvfs-bench.XXXXXX)
trap 'rm -rf "$disk1" "$disk2"' EXIT
trap 'exit 1' HUP INT TERM

echo "Linux $(uname -r), $(nproc) processors, tmpfs of its own on /dev/shm, disk tiers on $(stat -f -c %T "$disk1")."
echo
if [ "$which" = short ]; then
    size=$(at_most 4096)
    shm "$size" 100k
    biggest=$((size >= 2048 ? 1024 : size / 2))
    "$programs/bench" /dev/shm shm "$disk1" "$disk2" "$biggest"
else
    tiers="shm,$disk1,$disk2"
    part=${BENCH_PART-}
    if [ -z "$part" ] || [ "$part" = blobs ]; then
        # A page for each blob, and two inodes, one a link; as many for the bare files beside them, which are empty.
        most=1000000
        if [ "$free" -lt 4500 ]; then
            most=10000
            echo "Too little memory for a million blobs: that takes 9 GB free."
        fi
        shm "$(at_most 6000)" 5m
        "$programs/long" blobs /dev/shm "$tiers" "$most"
    fi
    if [ -z "$part" ] || [ "$part" = threads ]; then
        shm "$(at_most 1024)" 1m
        "$programs/long" threads /dev/shm "$tiers"
    fi
    if [ -z "$part" ] || [ "$part" = owners ]; then
        shm "$(at_most 1024)" 1m
        "$programs/long" owners /dev/shm "$tiers"
    fi
fi
