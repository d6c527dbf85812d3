#!/bin/sh
# Fuzzes each target (or those named) for FUZZ_SECONDS, from the committed corpus on: sh fuzz/run.sh [TARGET...]
# What is new goes to fuzz/work/TARGET; what fails, to fuzz/artifacts. FUZZ_MINIMIZE=1 instead makes of both the fewest
# inputs that reach each edge.
# "threads" is no target of libFuzzer: it is the test of eight threads in tests/model.rs, for as long.
# With the stable toolchain: libFuzzer comes from the crate, and the flags are those that cargo-fuzz passes.
set -eu
cd "$(dirname "$0")"
seconds=${FUZZ_SECONDS:-600}
[ $# -gt 0 ] || set -- key tiers calls threads
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
  CARGO_TARGET_DIR=target ${CARGO:-cargo} build --release --quiet --target "$host"

# The tiers are scratch directories in a small filesystem of memory of our own, where that is allowed; else on disk.
TMPDIR=$PWD/target/tmp
export TMPDIR
mkdir -p "$TMPDIR"
in_memory() { unshare -Urm sh -c 'mount -t tmpfs -o size=256m tmpfs "$TMPDIR" && exec "$@"' sh "$@"; }
in_memory true 2>/dev/null || in_memory() { "$@"; }

for target; do
  if [ "$target" = threads ]; then
    [ -z "${FUZZ_MINIMIZE:-}" ] || continue
    (
      cd ..
      VFS_MODEL_SECONDS=$seconds
      export VFS_MODEL_SECONDS
      in_memory ${CARGO:-cargo} test --test model -- --nocapture eight_threads
    )
    continue
  fi
  mkdir -p "corpus/$target" "work/$target" artifacts
  program=$PWD/target/$host/release/$target
  if [ -n "${FUZZ_MINIMIZE:-}" ]; then
    mkdir -p "work/$target.small"
    in_memory "$program" -set_cover_merge=1 -use_counters=0 -timeout=60 "work/$target.small" "corpus/$target" "work/$target"
    rm -rf "corpus/$target"
    mv "work/$target.small" "corpus/$target"
    continue
  fi
  in_memory "$program" -max_total_time="$seconds" -max_len=600 -len_control=0 -timeout=60 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target-" "work/$target" "corpus/$target"
done
rm -rf "$TMPDIR"
