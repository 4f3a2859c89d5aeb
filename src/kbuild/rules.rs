//! What is noticed about a build folder and its compressed kernel.

use crate::finding::rules;

rules! {
    /// The rules of what the kernel's own build makes.
    pub(crate) RULES:
    pub(super) VOFFSET = "tree.voffset", Error, "addresses in voffset.h",
        "the decompressor of the folder would unpack this vmlinux to the wrong place",
        "give the folder that this vmlinux was built in, or run make there";
    pub(super) CPU = "tree.cpu", Error, "CPU that the folder links for",
        "vmlinux and decompressor are for different CPUs",
        "give the folder that this vmlinux was built in";
    pub(super) LINKER = "tree.linker", Error, "emulation of the linker",
        "this linker cannot link the decompressor",
        "name a linker for this CPU";
    pub(super) XIP = "tree.xip", Error, "CONFIG_XIP_KERNEL",
        "a kernel that runs from flash is not compressed",
        "`kimage image vmlinux -R .comment` makes xipImage";
    pub(super) RELOCS = "tree.relocs", Error, "compressed/vmlinux.relocs",
        "the folder's relocations are those of another vmlinux: the kernel would not survive being moved (KASLR)",
        "give the vmlinux that still has its relocations (vmlinux.unstripped), or put that beside it";
    pub(super) PAYLOAD = "tree.payload", Error, "compressed kernel",
        "the folder's decompressor cannot unpack it, or another kernel comes out",
        "give the compressed kernel of this vmlinux";
    pub(super) LINK = "tree.link", Warning, "output of the linker",
        "the link succeeded with warnings",
        "compare it with what the kernel's own build prints";
    pub(super) STREAM = "tree.stream", Note, "compressed kernel of the folder",
        "the image is not byte for byte that of the build: another kernel, or another compressor",
        "give the folder's own compressed kernel for the same bytes";
    pub(super) OUTPUT_LEN = "piggy.output_len", Warning, "last four bytes of the compressed kernel",
        "the decompressor takes them for the size of the kernel, and sets aside the wrong amount of memory",
        "append the size as kbuild does (kimage compress `request.with_size`)";
}
