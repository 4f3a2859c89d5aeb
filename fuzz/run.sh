#!/bin/sh
# Coverage-guided fuzzing of the library with the stable toolchain; fuzz/ is a workspace that nothing else builds.
#
#   fuzz/run.sh [SECONDS [TARGET ...]]    every target that long (10), two at a time
#
# One line a target: executions, edges covered, inputs in the corpus. A crash, a run of more than 10 s and a use of more than
# 1 GiB (readers: 400 MB, also of what is only allocated) end it with status 1, and with the words how to run that input
# again; mend the kind, and put a small test with a name that says what it was into tests/. Each run begins with the seeds
# that src/seeds.rs makes, and with what earlier runs left in fuzz/corpus (KIMAGE_FUZZ_CORPUS). KIMAGE_FUZZ_JOBS=1: one at a
# time. KIMAGE_FUZZ_FLAGS: more for libFuzzer, like -runs=1000000. The targets are in src/targets.rs and src/decoders.rs;
# dict/TARGET.dict has words that an input may need.
set -eu
cd "$(dirname "$0")"
all='inspect lint elf images dts fit uimage codecs pack texts standalone unxz lzma2 ungzip unlz4 unzstd unlzma unlzo places told tables sections'
seconds=${1:-10}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $all
corpus=${KIMAGE_FUZZ_CORPUS:-$PWD/corpus}
jobs=${KIMAGE_FUZZ_JOBS:-2}
artifacts=$PWD/artifacts
target=$(dirname "$PWD")/target/fuzz
mkdir -p "$corpus" "$artifacts"
export RUSTC_BOOTSTRAP=1
sancov='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
sancov="$sancov -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
host=$(rustc -vV | sed -n 's/^host: //p')
# Build scripts have nobody to report their coverage to: flags for the target only. Nothing that others build is touched.
CARGO_TARGET_DIR=$target RUSTFLAGS="$sancov --cfg fuzzing" cargo build --locked --release --target "$host" --quiet
library=$target/$host/release/kimage-fuzz

one() {
    log=$corpus/$1.log
    mkdir -p "$corpus/$1"
    TARGET=$1 KIMAGE_FUZZ_SEEDS="$corpus/$1" "$library" 2>"$log" || { cat "$log"; return 1; }
    case $1 in
        lzma2 | un* | places | told | tables | sections) binary=$library-decoders ;;
        *) binary=$library ;;
    esac
    # A page of what a reader reads is enough to reach all of it, and more of it is slow.
    case $1 in
        inspect | lint | elf | images) len=65536 ;;
        fit | uimage | codecs | standalone) len=16384 ;;
        *) len=4096 ;;
    esac
    dict=dict/$1.dict
    case $1 in
        lint | images | uimage | codecs) dict=dict/inspect.dict ;;
    esac
    [ ! -f "$dict" ] || dict=-dict=$dict
    [ "${dict#-}" != "$dict" ] || dict=
    # What is allocated and never touched does not show in the resident set; a reader of such small files needs little.
    case $1 in
        codecs | pack | lzma2 | un* | places | told | tables | sections) room=unlimited ;;
        *) room=400000 ;;
    esac
    # shellcheck disable=SC2086
    if ! (
        ulimit -v $room
        TARGET=$1 "$binary" -max_total_time="$seconds" -max_len=$len -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
            $dict ${KIMAGE_FUZZ_FLAGS:-} -artifact_prefix="$artifacts/$1-" "$corpus/$1" >"$log" 2>&1
    ); then
        tail -40 "$log"
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
        echo "$1: FAILED; again: TARGET=$1 $binary ${input:-INPUT}"
        return 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    sed -n "s/.* cov: \([0-9]*\).* corp: \([0-9]*\).*/$1: $runs executions, \1 edges, \2 inputs/p" "$log" | tail -1
}

status=0
while [ $# -gt 0 ]; do
    pids=
    for _ in $(seq "$jobs"); do
        [ $# -gt 0 ] || break
        one "$1" & pids="$pids $!"
        shift
    done
    for pid in $pids; do
        wait "$pid" || status=1
    done
done
exit $status
