#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Builds the setup and the boot stubs, and writes them with their manifest to a folder:
#
#     sh src/bootstub/build.sh [FOLDER]      (default: src/stub/builtin, which is committed)
#
# Needs the toolchain that rust-toolchain.toml names, with its targets, and nothing else: its own linker makes the
# files. What depends on where they are built does not reach them.
set -eu
cd "$(dirname "$0")"
out=${1:-../stub/builtin}
mkdir -p "$out"
out=$(cd "$out" && pwd)
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/bootstub
# A caller's own flags would change the bytes.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER
export CARGO_TARGET_DIR

target=x86_64-unknown-linux-gnu
build() { # file bin features flags...
	file=$1 bin=$2 features=$3
	shift 3
	cargo rustc --quiet --locked --release --target "$target" --bin "$bin" --features "$features" -- \
		--remap-path-prefix="$PWD=bootstub" "$@"
	cp "$CARGO_TARGET_DIR/$target/release/$bin" "$out/$file.elf"
}

build setup setup "" -Crelocation-model=static -Clink-arg=-Tsetup.ld -Clink-arg=-static -Clink-arg=--no-pie
pie="-Crelocation-model=pie -Clink-arg=-Tstub.ld -Clink-arg=-pie"
for codec in lz4 gzip zstd; do
	build $codec stub $codec $pie
done
# Its decompressor is in the stub itself, where "z" makes it a third slower.
build xz stub xz $pie -Copt-level=s
target=i586-unknown-linux-gnu
build loaders loaders "" -Crelocation-model=pie -Clink-arg=-Tloaders.ld -Clink-arg=-pie

{
	printf '{\n  "rustc": "%s",\n  "files": {\n' "$(rustc --version)"
	comma=
	for file in setup lz4 gzip zstd xz loaders; do
		sum=$(sha256sum "$out/$file.elf" | cut -d' ' -f1)
		printf '%s    "%s.elf": { "size": %s, "sha256": "%s" }' "$comma" $file "$(wc -c <"$out/$file.elf" | tr -d ' ')" "$sum"
		comma=',
'
	done
	printf '\n  }\n}\n'
} >"$out/manifest.json"
