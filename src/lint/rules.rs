//! What can keep an image from booting on a board.

use crate::finding::rules;

rules! {
    /// The rules of [`super::lint`].
    pub(crate) RULES:
    pub(crate) OVERLAP = "lint.overlap", Error, "memory that is used twice",
        "one overwrites the other before it is used",
        "move one of the two";
    pub(crate) RAM = "lint.ram", Error, "memory that is used outside of the RAM",
        "the boot loader writes where no memory is",
        "move it into the RAM";
    pub(crate) SIZE = "lint.size", Error, "size of the image",
        "the image does not fit the flash, or what the boot loader takes",
        "compress it harder (xz, lzma), or leave drivers out";
    pub(crate) ENV = "lint.env", Warning, "variable of the environment",
        "where the boot loader loads to is not known",
        "give what U-Boot itself computes: printenv after the script ran";
    pub(crate) FORMAT = "lint.format", Error, "kind of the image",
        "the boot loader does not start it",
        "give an image of a kind that the boot loader starts";
    pub(crate) TYPE = "lint.type", Error, "type of the image",
        "bootm does not start it as a kernel",
        "make it with `request.kind` kernel";
    pub(crate) OS = "lint.os", Error, "operating system of the image",
        "U-Boot does not start it as Linux is started",
        "make it with `request.os` linux";
    pub(crate) ENTRY = "lint.entry", Error, "entry point",
        "U-Boot jumps to an address where the kernel does not begin",
        "make the image again with the address where the kernel begins";
    pub(crate) FIT = "lint.fit", Error, "configurations of the FIT",
        "there is nothing to boot",
        "add a configuration";
    pub(crate) CONFIGURATION = "lint.configuration", Note, "other configurations of the FIT",
        "their images may need memory that is not free",
        "check the board with each of them as the default one";
    pub(crate) CODEC = "lint.codec", Error, "compression of the kernel",
        "the boot loader cannot unpack the kernel",
        "compress it with a codec that the boot loader knows";
    pub(crate) ARCH = "lint.arch", Error, "CPU of the kernel",
        "the boot loader refuses the kernel, or the CPU does not run it",
        "take a kernel that was built for the board's CPU";
    pub(crate) NOLOAD = "lint.noload", Error, "kernel that is not loaded",
        "U-Boot looks for the header of the Image in compressed data: \"Bad Linux ARM64 Image magic!\"",
        "give it a load address (`request.load`) and the type kernel";
    pub(crate) NOLOAD_PLACE = "lint.noload_place", Note, "kernel that is not loaded",
        "U-Boot itself looks for a place to unpack the kernel to, in four times its size",
        "leave that much memory free";
    pub(crate) LZMA_DICTIONARY = "lint.lzma_dictionary", Error, "dictionary of LZMA",
        "the boot loader has too little memory to unpack the kernel",
        "compress it with a smaller dictionary";
    pub(crate) BOOTM_LEN = "lint.bootm_len", Error, "size of the unpacked kernel",
        "U-Boot stops: \"Image too large: increase CONFIG_SYS_BOOTM_LEN\"",
        "raise it in U-Boot's configuration, or make the kernel smaller";
    pub(crate) UNPACK_LIMIT = "lint.unpack_limit", Warning, "size of the unpacked kernel",
        "how much memory the kernel takes is not known",
        "compress it so that the stream says how much it holds (gzip, xz, lzma or zstd)";
    pub(crate) BSS = "lint.bss", Note, "memory behind the kernel's data",
        "how much memory the running kernel takes is not known",
        "leave some megabytes free behind it";
    pub(crate) ZIMAGE = "lint.zimage", Note, "size table of the zImage",
        "how much memory the unpacked kernel takes is not known",
        "leave four times its size free";
    pub(crate) ZIMAGE_BANK = "lint.zimage_bank", Warning, "place of the zImage",
        "the kernel rounds its place down to 128 MiB, and loses the RAM below",
        "start it in the first 128 MiB of the RAM";
    /// A kernel is not started where it can be mapped.
    pub(crate) ALIGN = "lint.align", Error, "place of the kernel",
        "the kernel does not start: its first page tables need a multiple of 2 MiB",
        "have it started at a multiple of 2 MiB";
}
