//! What is noticed while a file is taken apart.

use crate::finding::rules;

rules! {
    /// The rules of [`super::open`].
    pub(crate) RULES:
    /// A layer that could not be read.
    pub(crate) DAMAGED = "layer.damaged", Error, "headers of a layer",
        "what reads this format fails, or reads something else than was meant",
        "copy the file again, whole";
    pub(crate) LIMIT = "layer.limit", Warning, "what is inside of a layer",
        "not all was looked at: what was not may be damaged",
        "cut it out and look at it by itself, or allow more (`request.limit`)";
    pub(crate) STREAM_DAMAGED = "stream.damaged", Error, "compressed stream",
        "what unpacks it stops there: a kernel in it does not boot",
        "copy the file again, whole";
    pub(crate) CPIO_DAMAGED = "cpio.damaged", Error, "entries of an archive",
        "the kernel unpacks what stands before it and says \"Initramfs unpacking failed\"",
        "make the archive again";
    pub(crate) INITRAMFS_JUNK = "initramfs.junk", Warning, "bytes behind an archive of the RAM disk",
        "the kernel unpacks what stands before it and says \"Initramfs unpacking failed\"; built into the kernel, it makes it \
         panic",
        "make the archive again";
    pub(crate) PE_DAMAGED = "pe.damaged", Error, "PE header",
        "UEFI firmware does not start it",
        "copy the image again, whole";
    pub(crate) UKI_OVERLAP = "uki.overlap", Error, "place of a section",
        "two sections share bytes: a change of one is one of the other",
        "make the UKI again";
    /// With a size table the zImage contradicts itself; without one it may be packed in a way that kimage does not read.
    pub(crate) ZIMAGE_PAYLOAD = "zimage.payload", Error, "compressed kernel",
        "no stream in the zImage decodes to a kernel, of the size in its table where it has one: it does not boot, or is \
         packed in a way that kimage does not know",
        "copy the zImage again";
    /// Up to protocol 2.07 the header does not say where it is.
    pub(crate) BZIMAGE_KERNEL = "bzimage.kernel", Warning, "compressed kernel",
        "no stream in the image decodes to a kernel: it does not boot, or is packed in a way that kimage does not know",
        "copy the image again, whole";
    pub(crate) ELF_PAYLOAD = "elf.payload", Note, "compressed data of a program",
        "nobody looked whether they are whole: the program may not start",
        "check it by the tools that made it";
    pub(crate) TRAILER_LENGTH = "trailer.length", Warning, "length of a file system",
        "the file was cut off: the kernel does not find all of its root file system",
        "copy the file again, whole";
    pub(crate) ZIMAGE_TRAILER = "zimage.trailer", Warning, "device tree behind the zImage",
        "the kernel does not find a device tree that it can use",
        "append the device tree again";
}
