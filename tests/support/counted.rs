//! Instructions that a machine executes, counted: a figure for what a loader costs that is the same each time.

#![allow(dead_code, unreachable_pub, reason = "each user uses its share")]

use super::machine::{Cpu, pc, qemu, x86_cpu};
use super::support::{arm_trees, debian_kernel, make, run_ok, stdout, tool, trees};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many instructions QEMU executes from one place to another; tests/count.sh says what a place is.
#[track_caller]
pub fn instructions(from: &str, to: &str, qemu: &Command) -> u64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/count.sh");
    let mut counted = Command::new("sh");
    counted.arg(script).args([from, to]).arg(qemu.get_program()).args(qemu.get_args());
    stdout(&run_ok(&mut counted)).trim().parse().unwrap()
}

/// QEMU for PCs, when all is there that counting needs.
pub fn counting_pc() -> Option<PathBuf> {
    tool("cc", "gcc")?;
    tool("qemu-system-x86_64", "qemu-system-x86")
}

/// QEMU for ARM boards, when all is there that counting needs.
pub fn counting_arm() -> Option<PathBuf> {
    tool("cc", "gcc")?;
    tool("qemu-system-arm", "qemu-system-arm")
}

/// Where the bzImages of a PC are loaded by QEMU, and entered in 32 bits once the setup is done.
const LOADED: &str = "0x100000";

/// What a bzImage executes from its 32-bit entry to the first instruction of the kernel, an ELF file that stays where it was
/// linked. (Before that is the setup: a few BIOS calls, whatever the codec.)
#[track_caller]
pub fn bzimage(qemu: &Path, image: &Path, vmlinux: &[u8]) -> u64 {
    let entry = u64::from_le_bytes(vmlinux[24..32].try_into().unwrap());
    let mut command = pc(qemu, "q35", "Nehalem-v1", 1, 512);
    // Nothing is written to a serial line, which would have to be waited for.
    command.arg("-kernel").arg(image).args(["-append", "nokaslr"]);
    instructions(LOADED, &format!("{entry:#x}"), &command)
}

/// The fewest instructions that copy a 64-bit kernel, an ELF file, to where it runs: eight bytes each, as `rep movsq` copies
/// and `rep stosq` clears them (and as pairs of 16-byte SSE loads and stores would). What is to be loaded is copied; what
/// has no bytes in the file is cleared.
pub fn plain_copy(vmlinux: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(vmlinux[at..at + 8].try_into().unwrap());
    let half = |at: usize| usize::from(u16::from_le_bytes(vmlinux[at..at + 2].try_into().unwrap()));
    let headers = (0..half(56)).map(|index| word(32) as usize + index * half(54));
    // PT_LOAD; p_memsz is no less than p_filesz.
    let loads = headers.filter(|at| vmlinux[*at..*at + 4] == [1, 0, 0, 0]);
    loads.map(|at| word(at + 40) / 8).sum()
}

/// What one image executes beside what it is measured by.
#[derive(Debug)]
pub struct Row {
    /// Codec, kernel, and how it is loaded.
    pub name: String,
    /// The kernel's own image with the same codec; of `none`, a plain copy.
    pub theirs: u64,
    pub ours: u64,
    /// Ours may be at most so much of it.
    pub goal: f64,
}

impl Row {
    pub fn ratio(&self) -> f64 {
        self.ours as f64 / self.theirs as f64
    }
}

/// Of each codec the most that ours may execute, as part of the kernel's own.
const GOALS: [(&str, f64); 4] = [("lz4", 0.6), ("gzip", 0.6), ("zstd", 0.7), ("xz", 0.9)];
/// On ARM, whatever the codec.
const GOAL_ON_ARM: f64 = 1.0;
/// And of `none`, as part of a plain copy.
const GOAL_OF_NONE: f64 = 1.1;

/// Every 64-bit PC kernel of the corpus: its own image beside ours of the same codec, and ours without one beside a plain
/// copy. Packs into `dir`.
#[track_caller]
pub fn pcs(qemu: &Path, dir: &Path) -> Vec<Row> {
    let trees = trees("x86_64", |tree| tree.is_x86() && x86_cpu(tree) == Cpu::X86_64);
    let rows = trees.into_iter().flat_map(|tree| {
        let vmlinux = tree.read("vmlinux");
        let ours = |codec: &str| {
            let image = make(dir, "image", "bzimage", &[&tree.unstripped()], &["--compress", codec]);
            bzimage(qemu, &image, &vmlinux)
        };
        let goal = GOALS.iter().find(|(codec, _)| tree.name.ends_with(codec));
        let compressed = goal.map(|(codec, goal)| Row {
            name: format!("{codec}, {}, bzImage", tree.name),
            theirs: bzimage(qemu, &tree.path("arch/x86/boot/bzImage"), &vmlinux),
            ours: ours(codec),
            goal: *goal,
        });
        let plain = Row {
            name: format!("none, {}, bzImage", tree.name),
            theirs: plain_copy(&vmlinux),
            ours: ours("none"),
            goal: GOAL_OF_NONE,
        };
        compressed.into_iter().chain([plain])
    });
    rows.collect()
}

/// What a zImage executes from its first instruction to that of the kernel, which is `text_offset` behind the start of the
/// memory. QEMU puts the image 64 KiB behind it.
#[track_caller]
fn zimage(program: &Path, (board, memory): (&str, u32), image: &Path, text_offset: u32) -> u64 {
    let mut command = qemu(program, board);
    command.args(["-m", "128", "-nic", "none"]).arg("-kernel").arg(image);
    let places = [0x1_0000, text_offset].map(|offset| format!("{:#x}", memory + offset));
    instructions(&places[0], &places[1], &command)
}

/// ARM kernels in their own zImages, and in ours with the same codec: those of the corpus on an ARMv7 board, and Debian's for
/// ARMv5. Packs into `dir`.
#[track_caller]
pub fn arms(qemu: &Path, dir: &Path) -> Vec<Row> {
    let row = |name: &str, codec: &str, board, own: &Path, vmlinux: &Path| {
        let image = make(dir, "image", "zimage", &[vmlinux], &["--compress", codec]);
        let [theirs, ours] = [own, &image].map(|image| zimage(qemu, board, image, 0x8000));
        Row { name: format!("{codec}, {name}, zImage"), theirs, ours, goal: GOAL_ON_ARM }
    };
    let of_corpus = arm_trees().into_iter().filter_map(|tree| {
        let codec = ["gzip", "xz", "lz4"].into_iter().find(|codec| tree.name.ends_with(codec))?;
        let own = tree.path("arch/arm/boot/zImage");
        Some(row(&tree.name, codec, ("virt", 0x4000_0000), &own, &tree.path("vmlinux")))
    });
    let debian = debian_kernel("bookworm-armel-marvell");
    let of_debian = debian.iter().map(|own| row("Debian's marvell", "xz", ("versatilepb", 0), own, own));
    of_corpus.chain(of_debian).collect()
}
