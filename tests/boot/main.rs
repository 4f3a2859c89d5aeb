//! What kimage makes starts, and what it warns of does not: on QEMU's machines with their firmware, U-Boot and GRUB.

mod boards; // uImages and FITs of Debian's kernels boot on U-Boots of arm64, RISC-V and MIPS boards
mod counted; // an image around the built-in stub executes no more instructions than the goals say
mod disk; // disks, CDs and floppies are started by SeaBIOS and UEFI firmware, or say why they are not
mod doctor; // the console shows what `doctor` foretold of planted faults, and it finds none in what boots
mod edit; // edited kernels reach the program of the RAM disk that they were given
mod firmware; // hostile and strict UEFI firmware: files that grow, null tables, memory attributes, strict NX, memory to be overwritten
mod fit; // each configuration of a FIT boots, a changed byte is refused
mod fit_bootm; // `verify`, `fit` and `lint` find what U-Boot's bootm refuses of a FIT
mod fit_cipher; // a U-Boot that decrypts starts what kimage encrypted, by the right key alone
mod fit_signed; // U-Boot of two CPUs takes every algorithm, several keys, a token's, and refuses what was changed
mod initrd; // a running kernel unpacks what `verify` calls good of a chain of RAM disks, and no more
mod kallsyms; // `extract --symbols` gives the symbols of the running kernel
mod lint; // what `lint` finds does not boot on a real U-Boot, what it proposes does
mod lint_uboot; // legacy headers and U-Boot's place in memory are judged as a real U-Boot does
mod loaders; // bzImage, zImage and uImage reach user space by SeaBIOS, QEMU's loaders and U-Boot
mod matrix; // kernels × loaders × codecs of docs/loaders.md reach user space
mod measure; // a software TPM holds what `measure` foretold
mod modules; // the kernel says of modules what `verify --kernel` says of them
mod rebuilt; // kernels wrapped again with another payload boot on SeaBIOS and OVMF
mod rom; // loaders of our own: coreboot's table, Linux' 32-bit and 64-bit boot protocols
mod standalone; // images around the built-in stub start: every codec, by QEMU, GRUB and kexec
mod standalone32; // 32-bit kernels start on CPUs of 32 bits and from 32-bit UEFI firmware
mod standalone_efi; // the same from UEFI firmware: disk, shell, GRUB, Secure Boot
mod told; // kimage's boot stub and systemd's tell the kernel, user space and the TPM the same
mod uki; // unified kernel images around systemd's stub start from UEFI firmware
mod unified; // unified kernel images around the built-in stub: sections, addons, Secure Boot, a TPM's registers
mod zboot; // zboot images of arm64 and RISC-V start: EDK II, GRUB, systemd-boot, U-Boot, Secure Boot
mod zimage_stub; // zImages around the built-in stub start: HYP mode, U-Boot, tags, ARMv5 and ARMv6, big-endian, Debian's kernel

#[path = "../support/counted.rs"]
mod counting;
#[path = "../support/elf.rs"]
mod elf_builder;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/boot.rs"]
mod machine;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/token.rs"]
mod token;
