#!/bin/sh
# Fuzzes every target SECONDS long (10), two at a time; coverage is measured with the stable toolchain.
# usage: fuzz/run.sh [SECONDS [TARGET ...]]. The corpus stays in fuzz/corpus (KIMAGE_FUZZ_CORPUS), a crash in crash-*.
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- inspect elf dts fit uimage codecs
corpus=${KIMAGE_FUZZ_CORPUS:-corpus}
export RUSTC_BOOTSTRAP=1
sancov='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
sancov="$sancov -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
host=$(rustc -vV | sed -n 's/^host: //p')
# Build scripts have nobody to report their coverage to: flags for the target only.
RUSTFLAGS="$sancov --cfg fuzzing" cargo build --locked --release --target "$host"
binary=target/$host/release/kimage-fuzz
one() {
    mkdir -p "$corpus/$1"
    # The seeds: what the tests generated and keep, and nothing else.
    find ../testdata -type f -size -64k -exec cp -n {} "$corpus/$1/" \;
    if ! TARGET=$1 "$binary" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="crash-$1-" "$corpus/$1" >"$corpus/$1.log" 2>&1; then
        tail -30 "$corpus/$1.log"
        return 1
    fi
    echo "$1: $(tail -1 "$corpus/$1.log")"
}
status=0
while [ $# -gt 0 ]; do
    one "$1" & first=$!
    shift
    if [ $# -gt 0 ]; then
        one "$1" || status=1
        shift
    fi
    wait "$first" || status=1
done
exit $status
