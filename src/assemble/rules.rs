//! What is noticed while an image is made.

use crate::finding::rules;

rules! {
    /// The rules of builders.
    pub(crate) RULES:
    pub(super) READY = "payload.ready", Note, "bytes behind the ELF file",
        "this is what a kernel's build compresses already: it is taken as it is",
        "";
    pub(super) DECOMPRESSOR = "payload.decompressor", Warning, "the kernel",
        "a compressed kernel is compressed once more, and hardly gets smaller",
        "give the kernel itself: vmlinux at the top of the build folder";
    pub(super) COMPRESSED = "payload.compressed", Warning, "the kernel",
        "a compressed kernel is compressed once more, and hardly gets smaller",
        "decompress it first: kimage decompress";
    pub(super) PAYLOAD_NO_RELOCS = "payload.no_relocs", Note, "relocations",
        "the payload is without the table of a kernel that can be moved",
        "where the kernel's build leaves a vmlinux.unstripped, give that one";
    pub(super) NO_RELOCS = "bzimage.no_relocs", Note, "relocations",
        "the kernel's addresses are not chosen at random (KASLR)",
        "give the vmlinux that still has its relocations (vmlinux.unstripped), or the table";
    pub(super) NOT_MOVABLE = "bzimage.not_movable", Warning, "relocations",
        "the kernel stays where it was linked: its addresses are not chosen at random (KASLR)",
        "";
    pub(super) FLAT = "bzimage.flat", Warning, "memory behind the kernel's data",
        "the kernel has no ELF headers, which would say how much memory it takes",
        "";
    pub(super) APM = "bzimage.apm", Warning, "APM BIOS of the image's own setup",
        "the kernel says that there is none",
        "give its setup.bin, too, to keep it";
    pub(super) BUILT_IN = "bzimage.built_in", Warning, "what the image's own boot stub has built in",
        "the new image starts without it",
        "give it again; of a bzImage, kimage edit changes what is asked for and keeps the rest";
    pub(super) APPENDED_DTB = "zimage.appended_dtb", Warning, "device tree magic number in the decompressor",
        "the kernel may not look for a device tree behind itself",
        "an appended tree needs CONFIG_ARM_APPENDED_DTB=y; without it the kernel ignores the tree";
    pub(super) ZBOOT_PROGRAM = "zboot.program", Note, "EFI program of a zboot image",
        "kimage's own unpacks and starts the kernel in its place",
        "";
    pub(super) ZBOOT_SIGNATURE = "zboot.signature", Note, "the kernel's own signature",
        "it is left out: firmware looks at that of the whole image",
        "sign the new image for UEFI Secure Boot";
    pub(super) ARM_FLAT = "zimage.flat", Warning, "memory behind the kernel's data",
        "a device tree or RAM disk that a boot loader puts right behind the kernel may be overwritten when it starts",
        "give the kernel's vmlinux, which says how much memory it takes";
    pub(super) KERNEL_APPENDED_DTB = "kernel.appended_dtb", Warning, "symbol __appended_dtb",
        "whether the kernel looks for a device tree behind its end is not known",
        "it does if its .config says CONFIG_MIPS_RAW_APPENDED_DTB=y";
    pub(super) FIT_EMPTY = "fit.empty", Error, "a file of a FIT",
        "there is nothing to boot in it",
        "give a file with something in it";
    pub(super) FIT_TRUNCATED = "fit.truncated", Error, "length by the kernel's own header",
        "the kernel does not boot: its end is missing",
        "copy it again from the build tree";
    pub(super) UIMAGE_TRUNCATED = "uimage.truncated", Error, "length by the kernel's own header",
        "the kernel does not boot: its end is missing",
        "copy it again from the build tree";
    pub(super) KERNEL_VIRTUAL = "kernel.virtual", Warning, "addresses of an ARM kernel's ELF file",
        "U-Boot loads the kernel to the wrong place, unless the RAM begins there",
        "give the address with `request.load`: usually 0x8000 behind the start of the RAM";
    pub(super) OTHER_PCRPKEY = "uki.pcrpkey", Warning, ".pcrpkey",
        "who seals a secret to that key cannot open it with these signatures",
        "sign with the key that belongs to it, or make the image with the public key that belongs to yours";
    pub(super) NOT_AS_BEFORE = "pe.not_as_before", Note, "the program without its signatures",
        "it may differ in these bytes from the one that was signed; firmware starts it all the same",
        "take the image as it was built, if each byte counts";
}
