//! What can be wrong with a legacy uImage: as it is read, and as it is made.

use crate::finding::rules;

rules! {
    /// The rules of legacy uImages.
    pub(crate) RULES:
    pub(crate) HCRC = "uimage.hcrc", Error, "ih_hcrc, CRC-32 of the header",
        "U-Boot refuses the image: \"Bad Header Checksum\"",
        "copy the image again; if the header was edited, make the image again";
    pub(crate) DCRC = "uimage.dcrc", Error, "ih_dcrc, CRC-32 of the data",
        "U-Boot refuses the image: \"Bad Data CRC\", unless it is told not to look (verify=no)",
        "copy the image again, whole";
    pub(crate) SIZE = "uimage.size", Warning, "bytes behind the data by ih_size",
        "U-Boot neither checks nor loads them",
        "cut them off, if nobody put them there on purpose";
    pub(crate) CSF = "uimage.csf", Note, "signature data behind the image",
        "nobody looked whether the boot ROM would take it",
        "check it with NXP's code signing tool";
    pub(crate) COMP = "uimage.comp", Error, "ih_comp",
        "U-Boot fails to decompress the data, or starts compressed data as a program",
        "make the image again with the compression that the data has";
    pub(crate) CODEC_UNNAMED = "uimage.codec_unnamed", Warning, "ih_comp",
        "U-Boot starts the compressed bytes: it has no number for this codec",
        "compress with gzip, bzip2, lzma, lzo, lz4 or zstd instead";
    pub(crate) LZ4_LEGACY = "uimage.lz4_legacy", Warning, "ih_comp",
        "U-Boot does not read LZ4's legacy frame",
        "compress with `lz4 -9` (without -l)";
    pub(crate) COMPRESS = "uimage.compress", Error, "compression to be done",
        "the data cannot be compressed as well as taken as it is",
        "leave out `request.compress`, or give the kernel uncompressed";
    pub(crate) ENTRY = "uimage.entry", Warning, "ih_ep",
        "U-Boot jumps to an address where the kernel does not begin",
        "make the image again with the address where the kernel begins";
    pub(crate) LOAD = "uimage.load", Warning, "ih_load",
        "U-Boot copies the kernel to address 0",
        "give the address with `request.load`";
    pub(crate) ADDRESS = "uimage.address", Error, "ih_load and ih_ep",
        "the header has 32 bits for an address",
        "make a FIT instead: its addresses have 64 bits";
    pub(crate) NOLOAD = "uimage.noload", Warning, "type kernel_noload",
        "U-Boot looks for an arm64 kernel that is not loaded in the compressed data, and refuses it",
        "leave out `request.compress`, or `request.kind` and give the address with `request.load`";
    pub(crate) TABLE = "uimage.table", Error, "table of files",
        "U-Boot takes other bytes for the files than were put in",
        "make the image again";
    pub(crate) TYPE = "uimage.type", Error, "ih_type",
        "mkimage gives images of this type a header of their own, which this is not",
        "change `request.kind`, or make it with mkimage";
    pub(crate) EMPTY = "uimage.empty", Error, "the data",
        "there is nothing to load",
        "give a file with something in it";
    pub(crate) FILES = "uimage.files", Error, "number of files",
        "only type multi holds more than one file",
        "say `request.kind` multi, or give one file";
    pub(crate) NAME = "uimage.name", Error, "ih_name",
        "the header has no room for the whole name",
        "shorten `request.name`, or cut the name with `request.truncate_name`";
    pub(crate) ARCH = "uimage.arch", Error, "ih_arch",
        "U-Boot refuses the image, or starts a kernel of another CPU",
        "change the architecture to the kernel's";
    pub(crate) MIPS64 = "uimage.mips64", Warning, "ih_load",
        "a 64-bit U-Boot takes the load address without its sign and faults: only a 32-bit one boots this",
        "for a 64-bit U-Boot make a FIT (kimage fit): its addresses have 64 bits";
    pub(crate) ELF = "uimage.elf", Warning, "the data",
        "U-Boot copies the ELF file as it stands instead of loading its segments",
        "leave out `request.comp`: it is flattened, and compressed as `request.compress` says";
    pub(crate) OPTEE = "uimage.optee", Warning, "OP-TEE header",
        "the addresses may be those of another file",
        "give the addresses with `request.load` and `request.entry`, or wrap tee.bin";
    pub(crate) XIP = "uimage.xip", Error, "first 64 bytes of a program that runs in place",
        "the header would overwrite the program's own bytes",
        "leave out `request.xip`, or link the program with 64 bytes of 0xff in front";
    pub(crate) DTB_ALIGNMENT = "uimage.dtb_alignment", Warning, "place of a device tree",
        "U-Boot hands on a device tree that is not on 8 bytes, which libfdt and the kernel refuse",
        "let U-Boot copy it (`setenv fdt_high`), or pad the file before it by 4 bytes";
}
