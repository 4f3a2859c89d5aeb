#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Rebuilds the binaries in this folder. The output depends on nothing but the
# sources and the tools. What is committed was made on Debian 12 with
#   gcc 12.2.0-14+deb12u1 (only its preprocessor), gzip 1.12,
#   binutils 2.40-2 and binutils-arm-linux-gnueabihf 2.40-2
# ARM can be left out with NO_ARM=1.
set -eu
export LC_ALL=C
unset GZIP
umask 022
cd "$(dirname "$0")"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Preprocesses to a fixed name, so that no path can stay in the object.
preprocess() { # source flags...
	src=$1
	shift
	gcc -E -P -x assembler-with-cpp -I "$tmp" "$@" "$src" >"$tmp/in.s"
}

size() { wc -c <"$1" | tr -d ' '; }

squeeze() { gzip -n -9 <"payload-$1.txt" >"$tmp/payload-$1.gz"; }

# --- vmlinux ---------------------------------------------------------------
squeeze x86
preprocess head.S \
	-DZ_INPUT_LEN="$(size "$tmp/payload-x86.gz")" \
	-DZ_OUTPUT_LEN="$(size payload-x86.txt)"
(cd "$tmp" && as --64 -o head.o in.s)
ld -m elf_x86_64 -pie --no-dynamic-linker --build-id=none -z noexecstack \
	-T vmlinux.ld -o "$tmp/vmlinux" "$tmp/head.o"

# --- setup.elf, setup.bin, setup-5.bin, setup-7.bin ------------------------
symbols='startup_32|input_data|kernel_info|_ehead|_edata|_end|z_.*'
nm "$tmp/vmlinux" | sed -nE "s/^([0-9a-f]+) [a-zA-Z] ($symbols)\$/#define ZO_\2 0x\1/p" \
	>"$tmp/zoffset.h"
for generation in 5 6 7; do
	preprocess setup.S -DGENERATION=$generation
	(cd "$tmp" && as --32 -o setup.o in.s)
	ld -m elf_i386 --build-id=none -z noexecstack --no-warn-rwx-segments \
		-T setup.ld -o "$tmp/setup-$generation.elf" "$tmp/setup.o"
	objcopy -O binary "$tmp/setup-$generation.elf" "$tmp/setup-$generation.bin"
done

# --- kernel, tpm-kernel ----------------------------------------------------
for name in kernel tpm-kernel; do
	tpm=
	[ $name = kernel ] || tpm=-DTPM
	preprocess kernel.S $tpm
	(cd "$tmp" && as --64 -o kernel.o in.s)
	ld -m elf_x86_64 -static --build-id=none -z noexecstack -z max-page-size=4096 \
		-T kernel.ld -o "$tmp/$name" "$tmp/kernel.o"
done

# --- arm-vmlinux -----------------------------------------------------------
if [ -z "${NO_ARM-}" ]; then
	arm=arm-linux-gnueabihf-
	squeeze arm
	preprocess arm.S
	(cd "$tmp" && ${arm}as -o arm.o in.s)
	${arm}ld -EL --build-id=none -z noexecstack --no-warn-rwx-segments \
		--no-undefined --defsym _kernel_bss_size=4096 \
		-T arm.ld -o "$tmp/arm-vmlinux" "$tmp/arm.o"
	install -m 644 "$tmp/arm-vmlinux" arm-vmlinux
fi

install -m 644 "$tmp/kernel" kernel
install -m 644 "$tmp/tpm-kernel" tpm-kernel
install -m 644 "$tmp/vmlinux" vmlinux
install -m 644 "$tmp/setup-6.elf" setup.elf
install -m 644 "$tmp/setup-6.bin" setup.bin
install -m 644 "$tmp/setup-5.bin" setup-5.bin
install -m 644 "$tmp/setup-7.bin" setup-7.bin
