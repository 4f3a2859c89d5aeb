#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Builds the setup and the boot stubs, and writes them with their manifest to a folder:
#
#     sh src/bootstub/build.sh [FOLDER]      (default: src/stub/builtin, which is committed)
#
# Needs the toolchain that rust-toolchain.toml names, with the targets there (rustup target add), and nothing else: its own
# linker makes the files. What depends on where they are built does not reach them. Exit status 2: a target is missing.
# KIMAGE_STUBS_BUT=PATTERN leaves out files of that name, and the manifest.
set -eu
cd "$(dirname "$0")"
out=${1:-../stub/builtin}
mkdir -p "$out"
out=$(cd "$out" && pwd)
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/bootstub
# A caller's own flags would change the bytes.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER CARGO_INCREMENTAL
export CARGO_TARGET_DIR
# No places of the source in the files: those of the standard library and of other crates are this machine's, and nobody is
# told of them.
export RUSTC_BOOTSTRAP=1
for target in i586-unknown-linux-gnu aarch64-unknown-none riscv64gc-unknown-none-elf; do
	[ -d "$(rustc --print target-libdir --target $target)" ] || {
		echo "$target is missing: rustup target add $target" >&2
		exit 2
	}
done
# There is no package of these: their library is built here.
alone=loongarch64-unknown-none-softfloat
old_arm=thumbv5te-none-eabi
[ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core" ] || {
	echo "the library's source is missing: rustup component add rust-src" >&2
	exit 2
}
files=

build() { # file target bin features flags...
	file=$1 target=$2 bin=$3 features=$4
	shift 4
	case $file in ${KIMAGE_STUBS_BUT:-}) return ;; esac
	core=
	if [ "$target" = $alone ]; then
		core="-Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem"
	fi
	if [ "$target" = $old_arm ]; then
		core="-Zbuild-std=core $decoder"
	fi
	# shellcheck disable=SC2086 # a list of words
	cargo $core --config "target.$target.rustflags=['-Zlocation-detail=none']" rustc --quiet --locked --release \
		--target "$target" --bin "$bin" --features "$features" -- --remap-path-prefix="$PWD=bootstub" "$@"
	cp "$CARGO_TARGET_DIR/$target/release/$bin" "$out/$file.elf"
	files="$files $file"
}

pc=x86_64-unknown-linux-gnu pc32=i586-unknown-linux-gnu
build setup $pc setup "" -Crelocation-model=static -Clink-arg=-Tsetup.ld -Clink-arg=-static -Clink-arg=--no-pie
build disk $pc disk "" -Crelocation-model=static -Clink-arg=-Tdisk.ld -Clink-arg=-static -Clink-arg=--no-pie
pie="-Crelocation-model=pie -Clink-arg=-Tstub.ld -Clink-arg=-pie"
for codec in lz4 gzip zstd xz; do
	build $codec $pc stub $codec $pie
	build $codec-i486 $pc32 stub $codec $pie -Clink-arg=--entry=startup_32
done
for codec in lz4 zstd; do
	build unified-$codec $pc stub $codec,unified $pie
done
build mixed-i486 $pc32 mixed mixed $pie -Clink-arg=--entry=startup_32
build loaders $pc32 loaders "" -Crelocation-model=pie -Clink-arg=-Tloaders.ld -Clink-arg=-pie

# The EFI programs of zboot images.
link=
for option in -Tzboot.ld -pie -zmax-page-size=4096 --build-id=none --gc-sections --hash-style=sysv --no-eh-frame-hdr \
	--no-dynamic-linker --orphan-handling=error -znognustack -znorelro -ztext; do
	link="$link -Clink-arg=$option"
done
for codec in lz4 gzip zstd xz lzma lzo; do
	build zboot-arm64-$codec aarch64-unknown-none zboot $codec $link
	build zboot-riscv64-$codec riscv64gc-unknown-none-elf zboot $codec $link
	build zboot-loongarch64-$codec $alone zboot $codec $link
done

# ARM, from ARMv5TE on: Thumb code, which is small; the decoders of lz4 and xz are to be quick. gzip's loop is ARM code anyway.
codecs=profile.release.package.kimage-bootcodec
set -f
for codec in lz4 gzip xz; do
	decoder="-Zprofile-rustflags --config $codecs.opt-level=\"s\" --config $codecs.rustflags=[\"-Ctarget-feature=-thumb-mode\"]"
	[ $codec != gzip ] || decoder="--config $codecs.opt-level=\"z\""
	# A table would have addresses.
	build arm-$codec $old_arm arm $codec -Crelocation-model=pic -Cjump-tables=no -Clink-arg=-Tarm.ld -Clink-arg=-pie
done

[ -z "${KIMAGE_STUBS_BUT:-}" ] || exit 0
{
	printf '{\n  "rustc": "%s",\n  "files": {\n' "$(rustc --version)"
	comma=
	for file in $files; do
		sum=$(sha256sum "$out/$file.elf" | cut -d' ' -f1)
		printf '%s    "%s.elf": { "size": %s, "sha256": "%s" }' "$comma" $file "$(wc -c <"$out/$file.elf" | tr -d ' ')" "$sum"
		comma=',
'
	done
	printf '\n  }\n}\n'
} >"$out/manifest.json"
