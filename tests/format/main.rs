//! Each file format, read and written beside its reference tools.

mod arm_parts; // bootpImage and xipImage out of their parts
mod authenticode; // EFI programs signed by kimage are good for its peers, theirs for kimage; bytes are the same each time
mod cpio; // archives are those of the kernel's own gen_init_cpio, and of any reader
mod disk; // disks, CDs and floppies are read by the tools for each, and are the same each time
mod efi; // the PE header of images around the built-in stub obeys strict firmware's rules and other tools
mod efi_trust; // who may start an EFI program under Secure Boot, by certificates, lists, variables and generations, as firmware has it
mod fdt; // device trees are dtc's byte for byte; absurd ones are refused
mod fdt_versions; // blobs of every version, order and padding are read as dtc reads them
mod fit; // FITs are those of mkimage, and mkimage's are read whole
mod fit_boards; // generator nodes make what a source with every node written by hand makes
mod fit_check_sign; // fit_check_sign has the text and the status of the real ones, but where it would take what kimage does not
mod fit_cipher; // encrypted images are mkimage's and openssl's, and no key means no image
mod fit_control; // keys go behind U-Boot and into overlays
mod fit_deferred; // what is signed elsewhere is put in, and nothing else
mod fit_external; // FITs have the bytes of every release of mkimage
mod fit_firmware; // BL31 and a TEE beside mkimage, and signed as a whole
mod fit_sign; // signed FITs and control device trees are those of mkimage, by keys of every form
mod fit_token; // keys on a token and closed keys sign as others do, once for each signature
mod fit_verity; // hash trees of dm-verity are veritysetup's, and damage is named block by block
mod its; // an image tree source gives mkimage's file byte for byte
mod its_dtc; // device tree sources compile, or are refused, as by dtc
mod measure; // a TPM's registers are foretold as systemd-measure does it, and as they were read
mod mkimage; // uImages are mkimage's byte for byte, and mkimage -l reads them
mod peers; // U-Boot's own tools by their names: the same text, status and files as the real ones
mod roundtrip; // what a plan promises, a parser finds: random bzImages, zImages and uImages
mod uboot_tools; // fit_info and fdt_add_pubkey are U-Boot's; keys of ECDSA are mkimage's, and keys that are not known are said to be so
mod uki; // unified kernel images are ukify's byte for byte, and what a stub would not start is refused or found
mod vendor; // vendors' containers around kernels, written by each format's description
mod x86_ages; // x86 images of every age are held to what their own age promises
mod x86_parts; // x86 images of every generation are those of its own builder

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
