//! Kernels × loaders × codecs: the table of docs/loaders.md, booted.
//!
//! A row of [`WAYS`] is a file that kimage makes and a machine that starts it. Every run boots one kernel and codec of
//! each row; `KIMAGE_FULL=1` boots all of them. Who adds a row adds it to docs/loaders.md, which is checked.

use crate::machine::{self, Cpu, Machine, USER_OK, each, initrd, x86_cpu};
use crate::support::{full, make, put, read, tempdir, tool, x86_trees};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel to start.
struct Kernel {
    name: String,
    /// Its ELF file.
    vmlinux: PathBuf,
    /// `6.1.192`
    release: String,
    cpu: Cpu,
}

/// What a row makes its file and machine of.
struct Job<'j> {
    kernel: &'j Kernel,
    codec: &'j str,
    /// The file of [`Way::make`], and others that it likes to write.
    dir: &'j Path,
    /// A RAM disk whose program says [`USER_OK`].
    ramdisk: &'j Path,
}

/// A row: a file that kimage makes, and who starts it.
struct Way {
    /// As in docs/loaders.md.
    name: &'static str,
    /// The kernels that can be had here; says so where there is none.
    kernels: fn() -> Vec<Kernel>,
    codecs: &'static [&'static str],
    /// Has kimage make the file; `None` where a tool is missing, which it has said.
    make: fn(&Job<'_>) -> Option<PathBuf>,
    /// The machine with that file, with its serial line on standard output; `None` as above.
    start: fn(&Job<'_>, &Path) -> Option<Command>,
    /// What the console must show beside the kernel's release and [`USER_OK`].
    says: &'static [&'static str],
}

/// Linux counts the timer's ticks against a delay loop, and panics where a busy host lets too few through.
const ARGS: &str = "console=ttyS0 panic=-1 no_timer_check";
const CODECS: &[&str] = &["none", "lz4", "gzip", "zstd", "xz"];

const WAYS: &[Way] = &[Way {
    name: "bzimage pc",
    kernels: x86_64,
    codecs: CODECS,
    make: |job| Some(kimage("bzimage", job, &[])),
    start: |job, image| {
        let mut command = pc("pc")?;
        command.arg("-kernel").arg(image).arg("-initrd").arg(job.ramdisk).args(["-append", ARGS]);
        Some(command)
    },
    says: &[],
}];

/// The kernels of the corpus for 64-bit PCs.
fn x86_64() -> Vec<Kernel> {
    let trees = x86_trees().into_iter().filter(|tree| x86_cpu(tree) == Cpu::X86_64);
    let kernel = |tree: &crate::support::Tree| Kernel {
        name: tree.name.clone(),
        vmlinux: tree.unstripped(),
        release: kimage::internals::elf::release_in(&tree.read("vmlinux")).unwrap(),
        cpu: x86_cpu(tree),
    };
    trees.map(kernel).collect()
}

/// Has kimage make the file of a kernel's ELF file.
fn kimage(command: &str, job: &Job<'_>, options: &[&str]) -> PathBuf {
    make(job.dir, "image", command, &[&job.kernel.vmlinux], &[&["--compress", job.codec], options].concat())
}

/// A PC with 256 MiB and SeaBIOS.
fn pc(machine: &str) -> Option<Command> {
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86")?;
    Some(machine::pc(&qemu, machine, "Nehalem-v1", 1, 256))
}

#[test]
fn every_way_to_user_space() {
    let mut cells = Vec::new();
    for (turn, way) in WAYS.iter().enumerate() {
        let kernels = (way.kernels)();
        let count = kernels.len() * way.codecs.len();
        // In every run another codec and another kernel for each row, and the same in each run.
        let chosen = if full() || count == 0 { 0..count } else { turn * 7 % count..turn * 7 % count + 1 };
        let pairs = kernels.into_iter().flat_map(|kernel| {
            let kernel = std::rc::Rc::new(kernel);
            way.codecs.iter().map(move |codec| (kernel.clone(), *codec))
        });
        cells.extend(pairs.skip(chosen.start).take(chosen.len()).map(|(kernel, codec)| (way, kernel, codec)));
    }
    let jobs: Vec<(&Way, &Kernel, &str)> = cells.iter().map(|(way, kernel, codec)| (*way, &**kernel, *codec)).collect();
    each(&jobs, |(way, kernel, codec)| {
        let dir = tempdir();
        let ramdisk = put(dir.path(), "cpio", &initrd(kernel.cpu));
        let job = Job { kernel, codec, dir: dir.path(), ramdisk: &ramdisk };
        let Some(image) = (way.make)(&job) else { return };
        let Some(mut command) = (way.start)(&job, &image) else { return };
        let what = format!("{}: {}, {codec}", way.name, kernel.name);
        let console = Machine::start(&what, &mut command).finish();
        console.says(&[&format!("Linux version {} ", kernel.release), USER_OK]).never_says("Kernel panic");
        console.says(way.says);
    });
}

/// docs/loaders.md has every row, and each proof that it names is there.
#[test]
fn the_page_names_each_proof() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = String::from_utf8(read(&root.join("docs/loaders.md"))).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let proofs: Vec<&str> = rows
        .map(|row| row.trim_end_matches(" |").rsplit("| ").next().unwrap())
        .flat_map(|cell| cell.split(", "))
        .map(|proof| proof.trim_matches('`'))
        .collect();
    assert!(!proofs.is_empty());
    for proof in &proofs {
        let is_there = match proof.strip_prefix("matrix: ") {
            Some(name) => WAYS.iter().any(|way| way.name == name),
            None => {
                let (module, test) = proof.rsplit_once("::").unwrap_or_else(|| panic!("{proof}"));
                let file = root.join("tests/boot").join(module.replace("::", "/")).with_extension("rs");
                String::from_utf8(read(&file)).unwrap().contains(&format!("#[test]\nfn {test}("))
            }
        };
        assert!(is_there, "docs/loaders.md: no {proof}");
    }
    for way in WAYS {
        assert!(proofs.contains(&&*format!("matrix: {}", way.name)), "docs/loaders.md: no row for {}", way.name);
    }
}
