//! What kimage makes of kernels: the same bytes as their own builds, or a refusal.

mod boot_elf; // loaders of ELF files find kernel and entries where they look, by linux-loader, GRUB and arithmetic
mod build_tree; // what a build folder says of itself is read, and what is wrong with it is named
mod corpus; // bzImage and zImage are byte for byte those of the kernels' builds
mod edit; // what is built into a kernel is replaced where it stands, all around it follows, the rest is refused
mod hostile; // damaged input gives an error that names field and offset, in bounded memory and time
mod link; // kbuild's link command is read without a shell and run around a piggy.o of ours
mod piggy; // piggy.S and piggy.o are those of mkpiggy and the assembler
mod pipelines; // the examples for build engines run; depfiles are whole; the same inputs give the same bytes anywhere
mod places; // the boot stub puts a kernel where memory is and nothing that must be kept, whatever a boot loader says
mod provoked; // what is asked for breaks each rule of builders by one change
mod rebuild; // from vmlinux to the image, every file on the way is that of the kernel's build
mod rewrap; // an image around the built-in stub, wrapped again, is the same; damage to it is found
mod standalone; // what is planned for any ELF file passes the built-in stub's checks and loads as asked
mod uimage_kernel; // `uimage vmlinux` gives what objcopy, a compressor and mkimage give one after the other
mod zboot; // zboot images have Linux's header and sections that firmware takes; others take the kernel out
mod zimage_stub; // zImages around the built-in stub: header, places in memory, tags in a device tree

#[path = "../support/elf.rs"]
mod elf_builder;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/mod.rs"]
mod support;
