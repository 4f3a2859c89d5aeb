//! The command lines of those commands that take files apart.

use super::{hex, size};
use clap::Args;
use kimage::inspect::Limits;
use std::path::PathBuf;

/// How a file is opened.
#[derive(Debug, Args)]
pub(crate) struct Opening {
    /// Stop after this many decompressed bytes in all (K, M and G count in 1024s)
    ///
    /// Without it: 1 GiB, of which 224 MiB (or 24 times the file's length) may come out of streams that do not say how much
    /// they hold, of lzma and zstd half as much. What does not fit is not looked at, and said to be there.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) limit: Option<u64>,
    /// Take a file that begins with this number, hexadecimal, for a vendor's uImage
    #[arg(long, value_name = "HEX", value_parser = magic)]
    pub(crate) magic: Option<u32>,
}

impl Opening {
    pub(crate) fn limits(&self) -> Limits {
        Limits { uimage_magic: self.magic, ..limited(self.limit) }
    }

    /// For a part that is asked for by its name: whatever it comes to, up to the limit.
    pub(crate) fn limits_of_part(&self) -> Limits {
        let limits = self.limits();
        Limits { undeclared: u64::MAX, ..limits }
    }

    /// For each of two files that are held at once.
    pub(crate) fn limits_of_two(&self) -> Limits {
        let limits = self.limits();
        let undeclared = if self.limit.is_some() { limits.undeclared } else { limits.undeclared / 2 };
        Limits { undeclared, ..limits }
    }
}

/// As far as an option says, where it is given.
pub(crate) fn limited(size: Option<u64>) -> Limits {
    let limits = Limits::default();
    size.map_or(limits, |size| Limits { size, undeclared: u64::MAX, ..limits })
}

fn magic(text: &str) -> Result<u32, String> {
    hex(text)?.try_into().map_err(|_| "wanted a magic number of 32 bits, as 27051956".to_owned())
}

/// Any kernel file: what it is, layer by layer
///
/// Says what a file holds, from the outside in: bzImage, zImage, Image, EFI zboot, UKI, uImage, FIT, device tree, ELF,
/// cpio, boot.img and compressed streams; every header field by its own name, with what it means; kernel release, build
/// id, addresses, sizes, digests. `kimage extract` writes the parts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage info /boot/vmlinuz
  kimage info uImage --field ih_load
  kimage info vmlinuz --field release
  kimage info vmlinuz --field vmlinux.build_id
  kimage info uki.efi --field kernel.payload.codec
  kimage info /boot/vmlinuz-* --json | jq -r '.files[] | [.file, .layers[0].facts.release.value] | @tsv'

--field takes the outermost layer that has the field. Where several have it side by side and say different things, name
one by the layers down to it, as many as are needed: LAYER.FIELD, LAYER.LAYER.FIELD. It reads no further than it must. --schema prints the JSON Schema of the JSON form.")]
pub(crate) struct Info {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "field")]
    pub(crate) json: bool,
    /// Print the value of this field alone
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Any kernel file: write one of its parts, or all
///
/// Without PART, lists the parts with their sizes. A part's name is kimage's own, never one from the file: vmlinux,
/// payload, piggy, relocs, setup, decompressor, kernel, config, initramfs, dtb[N], image[N], cmdline, banner; of a boot.img
/// second, recovery_dtbo, dt, bootconfig, signature; of EFI images sbat, and of UKIs and their addons osrel, uname, ucode,
/// splash, pcrsig, pcrpkey, hwids, dtbauto[N], efifw[N], profile[N].
///
/// Of a disk, CD or floppy PART may be a path with `/`: a file of its FAT or ISO 9660 file systems. Those of a second file
/// system have its number in front, as `/2:EFI/BOOT/BOOTX64.EFI`. --all puts the files into DIR/files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage extract /boot/vmlinuz                              lists the parts
  kimage extract /boot/vmlinuz vmlinux -o vmlinux           the ELF file that Firecracker and qemu -kernel take
  kimage extract /boot/vmlinuz vmlinux --symbols -o vmlinux with a symbol table, for gdb and perf
  kimage extract /boot/vmlinuz config | grep VIRTIO
  kimage extract zImage 'dtb[0]' -o board.dtb
  kimage extract secret.itb --keys keys kernel -o Image     decrypted
  kimage extract secret.itb --control-dtb u-boot.dtb kernel -o Image
  kimage extract disk.img /EFI/BOOT/BOOTX64.EFI -o kernel.efi
  kimage extract uImage --all parts/")]
pub(crate) struct Extract {
    /// The file
    pub(crate) file: PathBuf,
    /// The part; none lists them
    pub(crate) part: Option<String>,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write every part into this folder, which is made if need be
    #[arg(long, value_name = "DIR", conflicts_with_all = ["part", "output"])]
    pub(crate) all: Option<PathBuf>,
    /// vmlinux: rebuild the symbol table from the kernel's own kallsyms; a flat kernel becomes an ELF file, if they tell
    /// where it is linked to
    #[arg(long, requires = "part")]
    pub(crate) symbols: bool,
    /// Decrypt the encrypted images of a FIT with the keys of this folder (NAME.bin): the parts are those of the FIT in plain text
    #[arg(short = 'k', long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// The same with the keys of this control device tree, which U-Boot decrypts with
    #[arg(long, value_name = "DTB", conflicts_with = "keys")]
    pub(crate) control_dtb: Option<PathBuf>,
    /// List the parts as JSON
    #[arg(long, conflicts_with_all = ["part", "all"])]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) opening: Opening,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
}

/// Any kernel file: does everything hold that it claims?
///
/// Holds every layer to what it says of itself: checksums, hashes and signed digests, sizes, addresses, header fields, the
/// kernel against the header around it. Each finding names rule, layer, offset, what was found, what was wanted, and what
/// that means for booting.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage verify /boot/vmlinuz-*
  kimage verify bzImage --against vmlinux             does it hold exactly this kernel?
  kimage verify new/bzImage --against old/bzImage
  kimage verify e1000.ko --kernel vmlinuz             would this kernel load the module?
  kimage verify image.itb --control-dtb u-boot.dtb    would this U-Boot take the FIT?
  kimage verify secret.itb --keys keys                decrypt its images, too
  kimage verify vmlinuz.efi --cert db.pem             would firmware that trusts this certificate start it?
  kimage verify vmlinuz.efi --vars OVMF_VARS.fd       would this virtual machine?
  kimage verify uImage --json | jq -r '.files[].findings[] | [.severity, .rule, .message] | @tsv'

Exit status: 0 when no error was found (warnings and notes are none), 1 otherwise, also when no header tells
what the file is. --schema prints the JSON Schema of the JSON form.")]
pub(crate) struct Verify {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Is the kernel in each file exactly the one in this? The kernel's own vmlinux, or another image
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// Would the U-Boot with this control device tree take the FIT? Says for each configuration what is signed, and with which key;
    /// decrypts encrypted images with the keys there, and checks what is in them
    #[arg(long, value_name = "DTB", conflicts_with = "key")]
    pub(crate) control_dtb: Option<PathBuf>,
    /// Is every configuration of the FIT signed with this key? A PEM file: public key or certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Decrypt the encrypted images of the FIT with the keys of this folder (NAME.bin), and check what is in them
    #[arg(short = 'k', long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// Would UEFI firmware with Secure Boot that trusts this start the program? Certificates in PEM or DER, signature lists (.esl),
    /// signed updates of db (.auth), the variable of a running Linux (/sys/firmware/efi/efivars/db-*) (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "control_dtb"])]
    pub(crate) cert: Vec<PathBuf>,
    /// What that firmware forbids, as by dbx: files as those of --cert (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "control_dtb"])]
    pub(crate) dbx: Vec<PathBuf>,
    /// Would firmware with these variables start it? The flash image of EDK2: a copy of OVMF_VARS.fd
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "control_dtb"])]
    pub(crate) vars: Option<PathBuf>,
    /// Would shim with these revocations start it? Lines of a component and its least generation: `grub,4`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "control_dtb"])]
    pub(crate) sbat_level: Option<PathBuf>,
    /// Would this kernel load the modules? An image, a vmlinux, or the Module.symvers of its build
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub(crate) kernel: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// What a finding is about: the rule, what a breach of it means, and what to do
///
/// Findings of every command name the rule that they are about, in brackets or as `rule` in JSON. Without RULE, lists all
/// rules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage explain bzimage.init_size
  kimage explain fit
  kimage explain --json | jq -r '.rules[] | [.id, .severity] | @tsv'

A format's name stands for all of its rules. --schema prints the JSON Schema of the JSON form.")]
pub(crate) struct Explain {
    /// Ids of rules, or names of formats
    #[arg(value_name = "RULE")]
    pub(crate) rules: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Two kernel files: what differs, layer by layer, and why
///
/// Compares header fields, sections, codec and its parameters, the decompressed kernels with their symbols' addresses, the
/// built-in configurations and the relocations. Ends with the first cause: other configuration, compiler, linker, builder,
/// build time, compressor. Why is my build not reproducible?
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage diff first/bzImage second/bzImage
  kimage diff uImage.old uImage
  kimage diff --abi old/vmlinuz new/Module.symvers    what modules miss, and what changed its type
  kimage diff a/vmlinuz b/vmlinuz --json | jq -r '.causes[0].message'

Exit status: 0 when the files are the same, 1 when they differ or cannot be read, 2 usage. At most 20 changes of a kind
are listed for a layer. --schema prints the JSON Schema of the JSON form.")]
pub(crate) struct Diff {
    /// The two files
    #[arg(value_name = "FILE", num_args = 2, required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Compare what the kernels export to modules alone: symbols and the checksums of their types, of images, vmlinux files
    /// or a build's Module.symvers
    #[arg(long)]
    pub(crate) abi: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Any kernel file: the picture of its layers, and of the memory that it takes
///
/// Shows every byte of every layer to scale, in the terminal or as SVG, and below that the memory: where the boot loader
/// puts it, where it is decompressed to, the running kernel with its BSS, what overlaps what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage map /boot/vmlinuz
  kimage map zImage --svg zImage.svg
  COLUMNS=160 kimage map bzImage | less

The picture is as wide as COLUMNS, if that is set, or the terminal; 80 columns and no colour where there is none.
NO_COLOR forbids colour.")]
pub(crate) struct Map {
    /// The file
    pub(crate) file: PathBuf,
    /// Write the picture as SVG, with what each part is under the pointer
    #[arg(long, value_name = "OUT")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) opening: Opening,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long, requires = "svg")]
    pub(crate) sync: bool,
}
