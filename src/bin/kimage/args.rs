//! The command line.

mod bench;
mod codec;
mod cpio;
mod disk;
mod doctor;
mod edit;
mod fit;
mod inspect;
mod lint;
mod manual;
mod measure;
mod peers;
mod sign;
mod standalone;
mod system_map;
mod uki;
mod vendor;
mod x86;
mod zboot;

pub(crate) use bench::{Bench, BenchOne, Direction, Variant};
pub(crate) use codec::{CodecOptions, Compress, Decompress};
pub(crate) use cpio::{Cpio, Source};
pub(crate) use disk::{Disk, Kind as DiskSort};
pub(crate) use doctor::Doctor;
pub(crate) use edit::Edit;
pub(crate) use fit::Fit;
pub(crate) use inspect::{Diff, Explain, Extract, Info, Map, Verify, limited};
pub(crate) use lint::Lint;
pub(crate) use manual::{Completions, Man};
pub(crate) use measure::Measure;
pub(crate) use peers::{Links, Peer};
pub(crate) use sign::{EfiHash, Key, Pubkey, Required, Sign, Signer};
pub(crate) use standalone::{BootElf, Carried, Class, Own, OwnArm};
pub(crate) use system_map::{Bootp, SystemMap, Xipimage};
pub(crate) use uki::{Config as UkiConfig, Parts as UkiParts, Uki};
pub(crate) use vendor::Vendor;
pub(crate) use x86::X86Options;
pub(crate) use zboot::Zboot;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use kimage::assemble::{ARCH, COMPRESSION, DEFAULT_MAX_SIZE, Names, OS, SectionFlags, TYPE};
use kimage::codec::Codec;
use kimage::kbuild::Lists;
use kimage::report::json_schema;
use std::path::PathBuf;

/// Turns a linked kernel into the file a boot loader wants.
///
/// One program in place of objcopy, nm | sed, tools/build and mkimage: give it what a kernel's build left behind and
/// it writes the same bytes that the build, or mkimage, would write.
#[derive(Debug, Parser)]
#[command(
    name = "kimage",
    version,
    mut_subcommands(with_schema),
    after_help = "\
Examples:
  kimage bzimage vmlinux
  kimage bzimage arch/x86/boot/compressed/vmlinux arch/x86/boot/setup.bin
  kimage elf vmlinux --initrd initrd.img
  kimage zimage arch/arm/boot/compressed/vmlinux --append-dtb board.dtb
  kimage image vmlinux -o Image
  kimage zboot Image -o vmlinuz.efi
  kimage uki --linux vmlinuz --initrd initrd --cmdline 'quiet' -o linux.efi
  kimage uimage zImage -a 0x80008000
  kimage disk bzImage --kind gpt -o disk.img
  kimage compress xz vmlinux.bin --with-size -o vmlinux.bin.xz
  kimage info /boot/vmlinuz
  kimage extract /boot/vmlinuz vmlinux -o vmlinux
  kimage verify /boot/vmlinuz
  kimage doctor bzImage --initrd initrd --cmdline 'console=ttyS0'
  kimage diff old/bzImage new/bzImage
  kimage map /boot/vmlinuz
  kimage bench vmlinux

An output is written beside its target and then renamed: a failure leaves an old file as it was.
`-` is standard input or output. Exit status: 0 good, 1 failure, 2 usage.
`kimage COMMAND --help` explains a command."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Write what the output was made from to this file, for Make (include) and Ninja (deps = gcc)
    #[arg(long, value_name = "FILE", global = true, help_heading = "For build engines")]
    pub(crate) depfile: Option<PathBuf>,
}

/// Every command that has --json has --schema.
fn with_schema(command: clap::Command) -> clap::Command {
    if !command.get_arguments().any(|arg| arg.get_id() == "json") {
        return command;
    }
    let schema = clap::Arg::new("schema").long("schema").action(clap::ArgAction::SetTrue).exclusive(true);
    command.arg(schema.help("Print the JSON Schema of --json").help_heading(None))
}

impl Cli {
    /// The command line, or what is printed in place of a command's work.
    pub(crate) fn read() -> Result<Result<Cli, &'static str>, clap::Error> {
        let mut matches = Cli::command().try_get_matches()?;
        if let Some((name, given)) = matches.subcommand() {
            if given.try_get_one("schema").is_ok_and(|given| given == Some(&true)) {
                return Ok(Err(json_schema(name).unwrap_or_default()));
            }
        }
        Cli::from_arg_matches_mut(&mut matches).map(Ok).map_err(|error| error.format(&mut Cli::command()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Bzimage(Box<Bzimage>),
    Elf(Box<BootElf>),
    Zimage(Zimage),
    Image(Image),
    Zboot(Box<Zboot>),
    Uki(Box<Uki>),
    Uimage(Box<Uimage>),
    Fit(Box<Fit>),
    Sign(Box<Sign>),
    Pubkey(Pubkey),
    Measure(Box<Measure>),
    #[command(name = "as")]
    Peer(Peer),
    Links(Links),
    Lint(Lint),
    Doctor(Doctor),
    Strip(Strip),
    Relocs(Relocs),
    Voffset(Offsets),
    Zoffset(ZOffsets),
    Piggy(Piggy),
    SystemMap(SystemMap),
    Xipimage(Xipimage),
    Bootp(Bootp),
    Cpio(Cpio),
    Disk(Box<Disk>),
    Edit(Box<Edit>),
    Compress(Compress),
    Decompress(Decompress),
    Info(Info),
    Extract(Extract),
    Verify(Verify),
    Explain(Explain),
    Diff(Diff),
    Map(Map),
    Bench(Bench),
    #[command(hide = true)]
    BenchOne(BenchOne),
    Completions(Completions),
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Building {
    /// Print a report as JSON on standard output instead of text on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print what would be done and the layout of the image on standard output, and write nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Print warnings alone.
    #[arg(skip)]
    pub(crate) terse: bool,
}

/// The whole way from the kernel's own vmlinux, with the decompressor of a kernel's build folder.
#[derive(Debug, Args)]
#[command(next_help_heading = "From the kernel's own vmlinux")]
pub(crate) struct FolderOptions {
    /// Wrap VMLINUX, the kernel's own, with the decompressor that stands in this folder of a finished kernel build: strip,
    /// relocations, the folder's codec with the parameters of the payload there, its own link command. The folder is only
    /// read
    #[arg(long, value_name = "TREE")]
    pub(crate) build_dir: Option<PathBuf>,
    /// Take this compressed kernel, with its size behind it, instead of compressing
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Link with this program instead of the one in the folder's link command
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) ld: Option<PathBuf>,
    /// Leave every intermediate file in this folder, under the kernel's own names
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
}

/// x86: a kernel to a bzImage
///
/// Given a kernel's own vmlinux, or an existing bzImage, makes an image around kimage's own boot stub, which needs no
/// build tree: any Linux, any x86-64 kernel that follows the 64-bit boot protocol. The kernel is taken out of an
/// image and compressed anew.
///
/// Given the linked decompressor of a kernel's build and its setup, does what the last steps of `make bzImage` do, byte
/// for byte, for Linux 2.2 and later: flattens the decompressor as objcopy -O binary does, pads the setup, fills in its
/// header and PE fields, adds the CRC. How that kernel's own build did it is read from the files. Two things are taken from
/// the release in the setup, for nothing else tells: whether kernels from 6.7 on write the CRC (below 6.15 yes), and whether
/// an EFI image of 3.16 to 5.4 is padded to 32 bytes (from 4.20, 4.19.7, 4.14.86 and 4.9.143 on).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage bzimage vmlinux                                  any kernel, with kimage's own boot stub
  kimage bzimage /boot/vmlinuz-6.1.0-50-amd64 --compress lz4 -o vmlinuz-quick
  kimage bzimage vmlinux --cmdline 'console=ttyS0' --initrd initrd.cpio.gz
  kimage bzimage vmlinux --efi mixed                      of 64 bits, for 32-bit UEFI firmware, too
  kimage bzimage arch/x86/boot/compressed/vmlinux arch/x86/boot/setup.bin    as `make bzImage` does
  kimage bzimage compressed/bvmlinux bbootsect bsetup --root-dev 8:1         Linux 2.4
  kimage bzimage compressed/vmlinux setup.bin --json | jq '.fields[] | {name, offset, old, new}'
  kimage bzimage vmlinux --build-dir .                            strip, relocs, compress, link, image
  kimage bzimage vmlinux --build-dir ../linux --level 3 --keep out
  kimage bzimage vmlinux --build-dir . --plan")]
pub(crate) struct Bzimage {
    /// The kernel's own vmlinux, or a bzImage; or the decompressor: arch/x86/boot/compressed/vmlinux, linked or flat
    pub(crate) vmlinux: PathBuf,
    #[command(flatten)]
    pub(crate) x86: X86Options,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "bzImage")]
    pub(crate) output: PathBuf,
    /// Write the CRC-32 at the end, or leave it out; by default as the kernel's own build does
    #[arg(long, value_name = "WHEN")]
    pub(crate) crc: Option<YesNo>,
    #[command(flatten)]
    pub(crate) own: Own,
    #[command(flatten)]
    pub(crate) building: Building,
    #[command(flatten)]
    pub(crate) folder: FolderOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}

/// ARM: a kernel to a zImage; x86: a zImage up to 2.6.29
///
/// ARM: given a kernel's own vmlinux, or its flat Image, makes a zImage around kimage's own boot stub, which needs no build
/// tree and runs on ARMv5TE to ARMv7. An existing zImage is wrapped anew where --compress says so.
/// Command line and RAM disk stay the boot loader's, or those of /chosen in an appended device tree; `kimage edit --cmdline`
/// or `--initramfs` builds them into the kernel.
///
/// Given the linked decompressor of a kernel's build, does what objcopy -O binary -R .comment -S does, and checks that header,
/// size table and length agree. An existing zImage can be given in place of the ELF file, to append further device trees.
///
/// x86: with the setup of the kernel's build, makes the zImage that BIOS boot loaders put below 640 KiB, byte for byte as
/// `make zImage` did; its protected-mode code can have 508 KiB.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage zimage vmlinux                                           any kernel, with kimage's own boot stub
  kimage zimage /boot/vmlinuz-6.1.0-50-armmp --compress lz4 -o zImage-quick
  kimage zimage arch/arm/boot/compressed/vmlinux                  as `make zImage` does
  kimage zimage compressed/vmlinux --append-dtb board.dtb -o zImage-dtb
  kimage zimage zImage --append-dtb a.dtb --append-dtb b.dtb -o zImage-dtbs
  kimage zimage vmlinux --build-dir .                             flatten, compress, link, image
  kimage zimage vmlinux --build-dir ../linux --ld arm-linux-gnueabi-ld
  kimage zimage compressed/vmlinux bootsect setup                 x86, Linux 2.2 to 2.6.22
  kimage zimage compressed/vmlinux setup.bin                      x86, Linux 2.6.23 to 2.6.29")]
pub(crate) struct Zimage {
    /// The kernel's own vmlinux or Image, a zImage, or arch/arm/boot/compressed/vmlinux. x86: compressed/vmlinux, linked or flat
    pub(crate) vmlinux: PathBuf,
    #[command(flatten)]
    pub(crate) x86: X86Options,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "zImage")]
    pub(crate) output: PathBuf,
    /// Append this device tree blob at the end of the zImage (repeatable)
    #[arg(long, value_name = "DTB", conflicts_with = "setup")]
    pub(crate) append_dtb: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) own: OwnArm,
    #[command(flatten)]
    pub(crate) building: Building,
    #[command(flatten)]
    pub(crate) folder: FolderOptions,
}

/// Any CPU: an ELF file to a flat binary
///
/// The same bytes as objcopy -O binary: the allocated sections, each at its load address (LMA), holes filled with
/// zeros, nothing for a NOBITS section at the end. Debug sections are never read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage image vmlinux                                  arm64, riscv: arch/*/boot/Image
  kimage image vmlinux -R .note -R .comment -o vmlinux.bin
  kimage image firmware.elf --gap-fill 0xff --pad-to 0x8000000 -o flash.bin")]
pub(crate) struct Image {
    /// A linked ELF file of any CPU, class and byte order
    pub(crate) vmlinux: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "Image")]
    pub(crate) output: PathBuf,
    /// Leave out this section; *, ? and [abc] are wildcards, !NAME keeps one (repeatable)
    #[arg(short = 'R', long, value_name = "NAME")]
    pub(crate) remove_section: Vec<String>,
    /// Take this section only; wildcards as for -R (repeatable)
    #[arg(short = 'j', long, value_name = "NAME")]
    pub(crate) only_section: Vec<String>,
    /// Load a section, or do not: NAME=alloc,load,contents has .bss in the image as zeros, NAME=noload leaves one out
    /// (repeatable; readonly, code, data, rom and share mean nothing for a flat image)
    #[arg(long, value_name = "NAME=FLAGS", value_parser = section_flags)]
    pub(crate) set_section_flags: Vec<(String, SectionFlags)>,
    /// Fill holes between sections with this byte (0x00 to 0xff)
    #[arg(long, value_name = "BYTE", value_parser = byte)]
    pub(crate) gap_fill: Option<u8>,
    /// Pad the image up to this load address
    #[arg(long, value_name = "ADDRESS", value_parser = number)]
    pub(crate) pad_to: Option<u64>,
    /// Refuse a larger image (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = DEFAULT_MAX_SIZE)]
    pub(crate) max_size: u64,
    #[command(flatten)]
    pub(crate) building: Building,
}

/// Any CPU: an executable without symbols, relocations and debug sections; a module or static library without the latter
///
/// The same bytes as objcopy -R .comment -S: what the kernel's build makes of vmlinux before it is compressed
/// (arch/x86/boot/compressed/vmlinux.bin). .modinfo goes too, which newer kernels (7.2) leave in vmlinux.unstripped.
/// Debug sections are never read. Of object files (.o, .ko) and static libraries (.a) only debug sections can go, with the
/// same bytes as strip --strip-debug or --strip-unneeded; a module's signature goes, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage strip vmlinux -o vmlinux.bin
  kimage strip vmlinux.unstripped | zstd -19 > vmlinux.bin.zst
  kimage strip vmlinux -R '.note*' -R '!.comment' -o vmlinux.bin
  kimage strip vmlinux --strip-debug -o vmlinux.symbols
  kimage strip --strip-debug virtio_net.ko -o small.ko
  kimage strip vmlinux --smallest -o vmlinux.boot")]
pub(crate) struct Strip {
    /// The kernel's own vmlinux, or any other linked ELF file; an object file or static library
    pub(crate) vmlinux: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Leave out this section too; *, ? and [abc] are wildcards, !NAME keeps one (repeatable)
    #[arg(short = 'R', long, value_name = "NAME")]
    pub(crate) remove_section: Vec<String>,
    /// Leave out debug sections only: symbols and relocations stay
    #[arg(long, conflicts_with = "smallest")]
    pub(crate) strip_debug: bool,
    /// The same, and leave out symbols that neither a relocation nor another file needs
    #[arg(long, conflicts_with = "smallest")]
    pub(crate) strip_unneeded: bool,
    /// Leave out the section headers too: what is loaded stays as it is
    #[arg(long)]
    pub(crate) smallest: bool,
    /// Refuse a larger output (K, M and G count in 1024s) [default: 64M more than the input]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
}

/// x86: the table by which the decompressor moves a kernel (vmlinux.relocs)
///
/// The same bytes as arch/x86/tools/relocs of the kernel's own build, which stand behind the kernel in the payload.
/// Whether the table has two lists or three is read from the kernel's symbols.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage relocs vmlinux -o vmlinux.relocs
  kimage relocs vmlinux.unstripped -o vmlinux.relocs       where the build leaves one
  kimage relocs --realmode arch/x86/realmode/rm/realmode.elf -o realmode.relocs
  kimage relocs vmlinux --reloc-info | sort | uniq -c
  kimage relocs vmlinux --abs-syms")]
pub(crate) struct Relocs {
    /// The kernel's own vmlinux, linked with --emit-relocs; vmlinux.unstripped where there is one
    pub(crate) vmlinux: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// The lists of a 64-bit kernel: 3 as in Linux 5.10 to 6.12, 2 as in 7.2 [default: as its symbols say]
    #[arg(long, value_name = "COUNT", value_parser = lists, conflicts_with = "realmode")]
    pub(crate) lists: Option<Lists>,
    /// The input is the real-mode trampoline
    #[arg(long)]
    pub(crate) realmode: bool,
    /// Write assembler text
    #[arg(long)]
    pub(crate) text: bool,
    /// List the absolute symbols
    #[arg(long, conflicts_with_all = ["text", "lists", "abs_relocs", "reloc_info"])]
    pub(crate) abs_syms: bool,
    /// List the relocations against absolute symbols that may be wrong in a moved kernel
    #[arg(long, conflicts_with_all = ["text", "lists", "reloc_info"])]
    pub(crate) abs_relocs: bool,
    /// List every relocation: section, type, symbol, the symbol's section
    #[arg(long, conflicts_with_all = ["text", "lists"])]
    pub(crate) reloc_info: bool,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
}

fn lists(text: &str) -> Result<Lists, String> {
    match text {
        "2" => Ok(Lists::Two),
        "3" => Ok(Lists::Three),
        _ => Err("wanted 2 or 3".to_owned()),
    }
}

/// The kernel's addresses as voffset.h has them, from the kernel's own vmlinux
///
/// Prints the lines that the kernel's build makes with nm | sed; from Linux 6.1 on, where stable releases changed them, those of
/// all kernels up to 7.2.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage voffset vmlinux -o arch/x86/boot/voffset.h
  kimage voffset vmlinux --symbols _text,_end")]
pub(crate) struct Offsets {
    /// The kernel's own vmlinux
    pub(crate) vmlinux: PathBuf,
    #[command(flatten)]
    pub(crate) rest: OffsetOptions,
}

/// The decompressor's addresses as zoffset.h has them (offsets.h of 2.6.26 to 2.6.30), from arch/x86/boot/compressed/vmlinux
///
/// Prints the lines that the kernel's build makes with nm | sed; from Linux 6.1 on, where stable releases changed them, those of
/// all kernels up to 7.2.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage zoffset arch/x86/boot/compressed/vmlinux -o arch/x86/boot/zoffset.h
  kimage zoffset compressed/vmlinux --symbols input_data,_end")]
pub(crate) struct ZOffsets {
    /// arch/x86/boot/compressed/vmlinux
    pub(crate) compressed_vmlinux: PathBuf,
    #[command(flatten)]
    pub(crate) rest: OffsetOptions,
}

#[derive(Debug, Args)]
pub(crate) struct OffsetOptions {
    /// Just these symbols, each of which must be there
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) symbols: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) text: TextOutput,
}

/// Where a text goes.
#[derive(Debug, Args)]
pub(crate) struct TextOutput {
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
}

/// U-Boot: any data to a uImage (legacy image, 64-byte header)
///
/// The same bytes as mkimage for the same options. What is not given is read from the data: CPU, compression, load
/// address and entry point of an ELF file, the kernel's release for the name; an ARM zImage or arm64 Image without -a
/// becomes kernel_noload. Addresses of an ELF file are physical ones (p_paddr), as U-Boot wants them: from 0 on PowerPC,
/// in KSEG0 as linked on MIPS, where 64-bit ones are cut to 32 bits. What contradicts the data is refused unless --force
/// is given. The time in the header is --time, else SOURCE_DATE_EPOCH, else 0: never the clock, so the same input gives
/// the same file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage uimage zImage                                  all derived; runs where it was loaded
  kimage uimage zImage -a 0x80008000 -n my-board
  kimage uimage -A ppc -O linux -T kernel -C gzip -a 0 -e 0 -n Linux-6.1 vmlinux.bin.gz
  kimage uimage -A arm -T ramdisk -C none -n initrd initrd.cpio.gz -o uInitrd
  kimage uimage -A arm -T script -n boot boot.cmd -o boot.scr
  kimage uimage vmlinux                                 flattened, gzip, addresses of the ELF file
  kimage uimage vmlinux --compress lzma --plan          MIPS, PowerPC ...: shows the numbers first
  kimage uimage --empty -A mips -T filesystem -o fake   Netgear: a place for the root file system
  kimage uimage kernel.lzma -A mips -a 80002000 --tail fake --align 64k

-A list, -O list, -T list and -C list show the names.")]
pub(crate) struct Uimage {
    /// The data: zImage, Image, Image.gz, ramdisk, script ... (several with -T multi)
    #[arg(value_name = "DATA")]
    pub(crate) data: Vec<PathBuf>,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "uImage")]
    pub(crate) output: PathBuf,
    /// CPU: arm, arm64, mips, powerpc, riscv, x86 ...
    #[arg(short = 'A', long, value_name = "ARCH", value_parser = |text: &str| name("-A", ARCH, text))]
    pub(crate) arch: Option<NameArg>,
    /// Operating system [default: linux]
    #[arg(short = 'O', long, value_name = "OS", value_parser = |text: &str| name("-O", OS, text))]
    pub(crate) os: Option<NameArg>,
    /// Type: kernel, kernel_noload, ramdisk, script, multi ... [default: kernel]
    #[arg(short = 'T', long = "type", value_name = "TYPE", value_parser = |text: &str| name("-T", TYPE, text))]
    pub(crate) kind: Option<NameArg>,
    /// Compression of the data: none, gzip, bzip2, lzma, lzo, lz4, zstd
    #[arg(short = 'C', long, value_name = "COMP", value_parser = |text: &str| name("-C", COMPRESSION, text))]
    pub(crate) compression: Option<NameArg>,
    /// Load address, hexadecimal
    #[arg(short = 'a', long, value_name = "HEX", value_parser = hex, allow_hyphen_values = true)]
    pub(crate) load_address: Option<u64>,
    /// Entry point, hexadecimal [default: the load address]
    #[arg(short = 'e', long, value_name = "HEX", value_parser = hex, allow_hyphen_values = true)]
    pub(crate) entry_point: Option<u64>,
    /// Name, at most 32 bytes
    #[arg(short = 'n', long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<std::ffi::OsString>,
    /// Cut a longer name after 32 bytes
    #[arg(long)]
    pub(crate) truncate_name: bool,
    /// Execute in place: the data begins with 64 bytes of 0xff, which the header replaces
    #[arg(short = 'x', long)]
    pub(crate) xip: bool,
    /// Append this device tree blob to the zImage, or to the MIPS kernel before it is compressed (repeatable)
    #[arg(long, value_name = "DTB")]
    pub(crate) append_dtb: Vec<PathBuf>,
    /// Creation time in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Go ahead though options and data contradict each other
    #[arg(long)]
    pub(crate) force: bool,
    /// Compress the data; an ELF file is flattened first, and compressed with gzip when this is not given
    #[arg(long, value_name = "COMP", value_parser = codec::one_of(codec::UBOOT_CODECS))]
    pub(crate) compress: Option<Codec>,
    #[command(flatten)]
    pub(crate) vendor: Vendor,
    #[command(flatten)]
    pub(crate) building: Building,
}

/// The compressed kernel as piggy.S, or as the object that the assembler would make of it
///
/// Prints what the mkpiggy of that kernel's age prints, which its banner tells. With --object, writes piggy.o without an assembler, byte for byte as GNU
/// as does, ready for the link of arch/x86/boot/compressed/vmlinux or arch/arm/boot/compressed/vmlinux.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage piggy arch/x86/boot/compressed/vmlinux.bin.gz -o arch/x86/boot/compressed/piggy.S
  kimage piggy /tmp/vmlinux.bin.xz --path arch/x86/boot/compressed/vmlinux.bin.xz
  kimage piggy vmlinux.bin.zst --object --arch x86_64 -o piggy.o
  kimage piggy piggy_data --object --like arch/arm/boot/compressed/head.o -o piggy.o")]
pub(crate) struct Piggy {
    /// The compressed kernel, whose last four bytes are its uncompressed size: vmlinux.bin.gz, piggy_data
    pub(crate) file: PathBuf,
    /// Where to write [default: standard output; piggy.o with --object]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The kernel, linked: its release tells what mkpiggy writes, and its .bss and .brk z_run_size (Linux 3.18 to 4.6)
    #[arg(long, value_name = "VMLINUX")]
    pub(crate) vmlinux: Option<PathBuf>,
    /// Linux 3.18 to 4.6: z_run_size, what calc_run_size of the kernel's build prints
    #[arg(long, value_name = "BYTES")]
    pub(crate) run_size: Option<u64>,
    /// Name the compressed kernel so in .incbin [default: as given]
    #[arg(long, value_name = "PATH", conflicts_with = "object")]
    pub(crate) path: Option<PathBuf>,
    /// Write the object in place of the source; needs --arch or --like
    #[arg(long, requires = "for")]
    pub(crate) object: bool,
    /// CPU of the object; for arm and armeb, of an ARMv7-A kernel
    #[arg(long, value_name = "ARCH", requires = "object", group = "for")]
    pub(crate) arch: Option<PiggyArch>,
    /// Make the object for the CPU, byte order and ARM build attributes of this one, which it is to be linked with
    #[arg(long, value_name = "OBJECT", requires = "object", group = "for")]
    pub(crate) like: Option<PathBuf>,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PiggyArch {
    #[value(name = "x86_64", alias = "x86-64")]
    X86_64,
    #[value(alias = "x86")]
    I386,
    Arm,
    Armeb,
}

/// A name of a uImage header field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NameArg {
    /// Its number.
    Id(u8),
    /// The word `list`: show the names, as mkimage does.
    List(Names),
}

impl NameArg {
    pub(crate) fn id(self) -> Option<u8> {
        match self {
            NameArg::Id(id) => Some(id),
            NameArg::List(_) => None,
        }
    }
}

fn name(option: &str, names: Names, text: &str) -> Result<NameArg, String> {
    if text == "list" {
        return Ok(NameArg::List(names));
    }
    names.id(text).map(NameArg::Id).ok_or_else(|| format!("no such {}; `{option} list` shows the names", names.field))
}

fn unprefixed(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// An address as mkimage takes it: hexadecimal, with or without 0x.
fn hex(text: &str) -> Result<u64, String> {
    u64::from_str_radix(unprefixed(text).unwrap_or(text), 16)
        .map_err(|_| "wanted a hexadecimal address, as 80008000 or 0x80008000".to_owned())
}

fn number(text: &str) -> Result<u64, String> {
    match unprefixed(text) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .map_err(|_| "wanted a number, as 4096 or 0x1000".to_owned())
}

fn section_flags(text: &str) -> Result<(String, SectionFlags), String> {
    let (name, words) = text.split_once('=').ok_or("wanted NAME=FLAGS, as .bss=alloc,load,contents")?;
    let mut flags = SectionFlags::default();
    for word in words.split(',') {
        match word {
            "alloc" => flags.alloc = true,
            "load" => flags.load = true,
            "contents" => flags.contents = true,
            "noload" => flags.no_load = true,
            "readonly" | "code" | "data" | "rom" | "share" => {}
            _ => {
                return Err(format!(
                    "{word} is no flag: alloc, load, contents, noload, readonly, code, data, rom, share"
                ));
            }
        }
    }
    Ok((name.to_owned(), flags))
}

fn byte(text: &str) -> Result<u8, String> {
    number(text)?.try_into().map_err(|_| "wanted a byte, 0x00 to 0xff".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, unit) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 1 << 10),
        Some(b'm') => (&lower[..lower.len() - 1], 1 << 20),
        Some(b'g') => (&lower[..lower.len() - 1], 1 << 30),
        _ => (if unprefixed(text).is_some() { text } else { lower }, 1_u64),
    };
    number(digits)
        .ok()
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| "wanted a size, as 1048576, 64MiB or 2G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers() {
        assert_eq!(hex("80008000"), Ok(0x8000_8000));
        assert_eq!(hex("0X10"), Ok(16));
        assert!(hex("80g").is_err());
        assert!(hex("").is_err());
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        assert_eq!(size("0x1b"), Ok(0x1b));
        assert_eq!(size("512"), Ok(512));
        assert!(size("18446744073709551615G").is_err());
        assert_eq!(byte("0xff"), Ok(255));
        assert!(byte("256").is_err());
    }
}
