//! What kimage says of files: info, extract, verify, diff, map, beside what else tells it.

mod appended_dtb; // device trees behind kernels of every kind, with padding
mod debian; // Debian's kernels of four releases and six CPUs come apart as the codecs' commands take them apart
mod diff; // the reason for a difference is found, not only its consequences
mod doctor; // what a configuration, a target or a log tells `doctor`
mod examples; // a VMM and a build step, the two users of the library in examples/
mod fit_attacks; // each known attack on a signed FIT is refused by its name, beside U-Boot's own fit_check_sign
mod fit_signed; // forged and changed FITs are refused by a control device tree's keys, whole ones are not
mod golden; // what `info` prints of one small file of each format, word for word
mod hostile; // damaged files of every format: no panic, bounded memory, nothing outside of the file
mod info; // `info` and `extract` agree with the build's files, file, readelf, goblin, mkimage
mod initrd; // initial RAM disks are read segment by segment, as the kernel unpacks them
mod kernels; // kernels of ARM, MIPS, PowerPC, RISC-V and SuperH in every wrapping of their builds
mod map; // no byte is left out, the memory is that of the header
mod modules; // kernel modules: what modinfo says of them, and whether they fit a kernel
mod others; // what is no kernel has its name, and is called neither good nor damaged nor a kernel
mod parts; // the parts of UKIs and boot images
mod programs; // memtest86+, iPXE and memdisk are told for what they are, without a false word
mod provoked; // each rule of `verify` is broken by one change of a whole file, and no other is
mod unchecked; // no verdict passes over a signature or a sum that was not checked
mod verify; // what kernels' builds and Debian made has no error; a changed byte gives one
mod wild; // published images, held to the truth in testdata/wild.toml
mod within; // images in the middle of unknown data are found by their headers alone
mod work; // small files made to cost much: every reading ends soon and says what was not done

#[path = "../support/costly.rs"]
mod costly;
#[path = "../support/elf.rs"]
mod elf_builder;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/schema.rs"]
mod schema;
#[path = "../support/mod.rs"]
mod support;
