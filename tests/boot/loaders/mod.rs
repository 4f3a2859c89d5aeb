//! Images boot: on SeaBIOS and on real U-Boot, in QEMU, and the console says so.
//!
//! Real kernels get an initial RAM disk made here and must reach its program; tiny kernels end with a line of their
//! own. `KIMAGE_FULL=1` boots a matrix of machines, CPUs and counts of CPUs, and every U-Boot case twice.

mod arm;
mod uimage;
mod x86;

use crate::machine::{
    self, Board, Console, Cpu, Machine, USER_OK, device_tree, each, initrd, loaders, pc, property, u_boot, x86_cpu,
};
use crate::support::{
    self, Tree, arm_trees, full, kimage, make, put, read, run_ok, stdout, tempdir, testdata, tool, x86_trees,
};
use kimage::internals::zimage::ZImage;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What that very kernel says first: "Linux version", release, builder and compiler. Number and date come after that,
/// and not all that vmlinux has is what is printed.
fn banner(tree: &Tree) -> String {
    let vmlinux = tree.read("vmlinux");
    let start = memchr::memmem::find_iter(&vmlinux, "Linux version ").find(|at| vmlinux[at + 14].is_ascii_digit());
    let text = &vmlinux[start.unwrap_or_else(|| panic!("{}: vmlinux has no banner", tree.name))..];
    let end = text.iter().position(|byte| *byte == b'#').unwrap();
    String::from_utf8(text[..end].to_vec()).unwrap()
}

/// "6.1.192", of the banner.
fn release(banner: &str) -> &str {
    banner.split(' ').nth(2).unwrap()
}

fn put_initrd(dir: &Path, tree: &Tree, cpu: Cpu) -> PathBuf {
    put(dir, &format!("{}.cpio", tree.name), &initrd(cpu))
}

/// The same once more with `KIMAGE_FULL=1`.
fn twice<T: Clone>(mut jobs: Vec<T>) -> Vec<T> {
    if full() {
        jobs.extend_from_within(..);
    }
    jobs
}

const VIRT: [&str; 2] = ["-m", "256"];
const ARM_ARGS: &str = "console=ttyAMA0 panic=-1";

/// QEMU's own ARM board.
fn virt(qemu: &Path) -> Command {
    let mut command = machine::qemu(qemu, "virt");
    command.args(VIRT);
    command
}

fn zimage(dir: &Path, tree: &Tree) -> PathBuf {
    make(dir, &format!("{}.zImage", tree.name), "zimage", &[&tree.path("arch/arm/boot/compressed/vmlinux")], &[])
}

/// The zImage says in which byte order its programs are.
fn arm_cpu(zimage: &Path) -> Cpu {
    if ZImage::parse(&read(zimage)).unwrap().is_big_endian() { Cpu::ArmBe8 } else { Cpu::Arm }
}

/// A kernel whose device tree is to be appended, with a command line that only that tree has.
struct Appended {
    banner: String,
    zimage: PathBuf,
    ramdisk: PathBuf,
    ramdisk_at: u64,
    dtb: PathBuf,
}

impl Appended {
    const ARGS: &str = "console=ttyAMA0 panic=-1 appended";

    fn new(qemu: &Path, dir: &Path, tree: &Tree) -> Appended {
        let zimage = zimage(dir, tree);
        let ramdisk = put_initrd(dir, tree, arm_cpu(&zimage));
        let files = [&zimage, &ramdisk].map(|path| path.to_str().unwrap());
        let options = [&VIRT[..], &["-kernel", files[0], "-initrd", files[1], "-append", Self::ARGS]].concat();
        let dtb = device_tree(qemu, "virt", &options);
        let ramdisk_at = property(&dtb, "linux,initrd-start").unwrap();
        Appended { banner: banner(tree), zimage, ramdisk, ramdisk_at, dtb: put(dir, "virt.dtb", &dtb) }
    }

    fn option(&self) -> String {
        format!("--append-dtb={}", self.dtb.display())
    }

    #[track_caller]
    fn check(&self, console: &Console) {
        let args = format!("Kernel command line: {}\n", Self::ARGS);
        console.says(&[&self.banner, &args, USER_OK]).never_says("Kernel panic");
    }
}
