//! ELF files as GNU binutils, LLVM's and the kernel's own tools read and write them.

mod objcopy; // flat images, symbols and headers are those of objcopy, llvm-objcopy, nm and goblin
mod reloc_table; // a kernel's relocation table is read, and told from another kernel's
mod relocs; // `relocs` writes the tables of the kernels' own builds
mod strip; // `strip` gives the bytes of GNU objcopy and of the kernel's payloads, or refuses

#[path = "../support/elf.rs"]
mod elf_builder;
#[path = "../support/mod.rs"]
mod support;
