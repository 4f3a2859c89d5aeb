//! Kernels × loaders × codecs: the table of docs/loaders.md, booted.
//!
//! A row of [`WAYS`] is a file that kimage makes and a machine that starts it. Every run boots one kernel and codec of
//! each row; `KIMAGE_FULL=1` boots all of them, in an hour or so, and `KIMAGE_MATRIX=zboot` those rows alone whose names begin so.
//! Who adds a row adds it to docs/loaders.md, which is checked.

use crate::machine::{self, Cpu, Machine, USER_OK, each, initrd, x86_cpu};
use crate::rom::{self, Protocol};
use crate::support::{arm_trees, debian_kernel, full, make, missing, put, read, run_ok, tempdir, tool, x86_trees};
use std::fs;
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

/// What the boot stub for ARM has; behind `+`, a converter of branches.
const ARM_CODECS: &[&str] = &["none", "lz4", "gzip", "xz", "xz+armthumb", "xz+arm"];

/// What a loader that does not know a bzImage can have: without a codec it is the kernel itself.
const PACKED: &[&str] = &["lz4", "gzip", "zstd", "xz"];

const WAYS: &[Way] = &[
    Way {
        name: "bzimage pc",
        kernels: x86_64,
        codecs: CODECS,
        make: |job| Some(kimage("bzimage", job, &[])),
        start: |job, image| by_qemu("pc", job, image),
        says: &[],
    },
    Way {
        name: "elf multiboot",
        kernels: x86,
        codecs: PACKED,
        make: |job| Some(kimage("elf", job, &[])),
        start: |job, image| by_qemu("q35", job, image),
        says: &[],
    },
    Way {
        name: "elf pvh",
        kernels: x86,
        codecs: PACKED,
        make: |job| Some(without_multiboot(&kimage("elf", job, &[]))),
        start: |job, image| by_qemu("q35", job, image),
        says: &[],
    },
    Way {
        name: "elf32 pvh",
        kernels: x86_64,
        codecs: PACKED,
        make: |job| Some(without_multiboot(&kimage("elf", job, &["--class", "32"]))),
        start: |job, image| by_qemu("microvm,acpi=off", job, image),
        says: &[],
    },
    Way {
        name: "elf grub multiboot",
        kernels: x86,
        codecs: PACKED,
        make: |job| by_grub("i386-pc", "multiboot", job, &kimage("elf", job, &[])),
        start: |_, disk| Some(cdrom(pc("pc")?, disk)),
        says: &["Kernel command line: console=ttyS0 panic=-1 no_timer_check grub\n"],
    },
    Way {
        name: "elf grub multiboot2",
        kernels: x86,
        codecs: PACKED,
        make: |job| by_grub("i386-pc", "multiboot2", job, &kimage("elf", job, &["--class", "32"])),
        start: |_, disk| Some(cdrom(pc("pc")?, disk)),
        says: &["Kernel command line: console=ttyS0 panic=-1 no_timer_check grub\n"],
    },
    Way {
        name: "elf grub multiboot2 uefi",
        kernels: x86_64,
        codecs: PACKED,
        make: |job| by_grub("x86_64-efi", "multiboot2", job, &kimage("elf", job, &[])),
        start: |_, disk| {
            const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";
            if !Path::new(FIRMWARE).is_file() {
                missing("no OVMF (apt-get install ovmf)");
                return None;
            }
            let mut command = cdrom(pc("q35")?, disk);
            command.args(["-bios", FIRMWARE]);
            Some(command)
        },
        // The firmware's services and tables are passed on.
        says: &["efi: EFI v2.", "ACPI 2.0="],
    },
    Way {
        name: "elf coreboot",
        kernels: x86,
        codecs: PACKED,
        make: |job| {
            let disk = job.ramdisk.to_str().unwrap();
            Some(kimage("elf", job, &["--class", "32", "--initrd", disk, "--cmdline", ARGS]))
        },
        start: |job, image| rom::machine(job.dir, Protocol::Coreboot, image, job.ramdisk, ""),
        says: &[],
    },
    Way {
        name: "elf linux 32",
        kernels: x86,
        codecs: PACKED,
        make: |job| Some(kimage("elf", job, &["--class", "32"])),
        start: |job, image| rom::machine(job.dir, Protocol::Linux32, image, job.ramdisk, ARGS),
        says: &[],
    },
    Way {
        name: "elf linux 64",
        kernels: x86_64,
        codecs: CODECS,
        make: |job| Some(kimage("elf", job, &["--class", "64"])),
        start: |job, image| rom::machine(job.dir, Protocol::Linux64, image, job.ramdisk, ARGS),
        says: &[],
    },
    Way {
        name: "elf none pvh",
        kernels: debian_amd64,
        codecs: &["none"],
        make: |job| Some(kimage("elf", job, &[])),
        start: |job, image| by_qemu("q35", job, image),
        says: &[],
    },
    Way {
        name: "zboot arm64",
        kernels: debian_arm64,
        codecs: &["gzip", "lz4", "zstd", "xz", "lzma", "lzo", "xz+arm64"],
        make: |job| Some(crate::zboot::zboot(job.dir, "image", &job.kernel.vmlinux, job.codec)),
        start: |job, image| {
            let mut command = crate::zboot::uefi()?;
            command.arg("-kernel").arg(image).arg("-initrd").arg(job.ramdisk);
            command.args(["-append", "console=ttyAMA0 panic=-1"]);
            Some(command)
        },
        // Its random seed, and what it made of it.
        says: &["RNG=0x", "KASLR enabled"],
    },
    Way {
        name: "disk floppy144",
        kernels: small,
        codecs: &["xz"],
        make: |job| Some(disk(job, "floppy144")),
        start: |_, image| pc_with("floppy", image),
        says: &["kimage: loading the kernel"],
    },
    Way {
        name: "disk gpt",
        kernels: x86_64,
        codecs: CODECS,
        make: |job| Some(disk(job, "gpt")),
        start: |_, image| pc_with("disk", image),
        says: &["kimage: loading the kernel"],
    },
    Way {
        name: "disk iso",
        kernels: x86_64,
        codecs: CODECS,
        make: |job| Some(disk(job, "iso")),
        start: |_, image| pc_with("cd", image),
        says: &["kimage: loading the kernel"],
    },
    Way {
        name: "disk hybrid UEFI",
        kernels: x86_64,
        codecs: CODECS,
        make: |job| Some(disk(job, "hybrid")),
        start: |_, image| {
            let mut command = pc_with("disk", image)?;
            command.args(["-bios", crate::disk::firmware()?]);
            Some(command)
        },
        says: &["efi: EFI v2."],
    },
    Way {
        name: "zimage virt",
        kernels: arm,
        codecs: ARM_CODECS,
        make: |job| Some(kimage("zimage", job, &[])),
        start: |job, image| {
            let mut command = machine::qemu(&tool("qemu-system-arm", "qemu-system-arm")?, "virt");
            command.args(["-m", "128", "-append", "console=ttyAMA0 panic=-1"]);
            command.arg("-kernel").arg(image).arg("-initrd").arg(job.ramdisk);
            Some(command)
        },
        says: &[],
    },
];

/// Debian's arm64 kernels.
fn debian_arm64() -> Vec<Kernel> {
    let suites = ["bookworm", "trixie", "sid"].map(|suite| format!("{suite}-arm64-cloud-arm64"));
    let kernel = |name: String| {
        let vmlinux = debian_kernel(&name)?;
        let release = kimage::internals::elf::release_in(&read(&vmlinux)).unwrap();
        Some(Kernel { name, vmlinux, release, cpu: Cpu::Arm64 })
    };
    suites.into_iter().filter_map(kernel).collect()
}

/// A kernel and a RAM disk that a floppy holds.
fn small() -> Vec<Kernel> {
    crate::support::tree("6.1-x86_64").map(of_tree).into_iter().collect()
}

/// An image of the codec on a disk. But for a floppy's, whose loader passes both, it has command line and RAM disk in it.
fn disk(job: &Job<'_>, kind: &str) -> PathBuf {
    let passed = ["--cmdline", ARGS, "--initrd", job.ramdisk.to_str().unwrap()];
    let (built_in, by_loader) = if kind == "floppy144" { (&[][..], &passed[..]) } else { (&passed[..], &[][..]) };
    let image = kimage("bzimage", job, built_in);
    make(job.dir, "disk", "disk", &[&image], &[&["--kind", kind], by_loader].concat())
}

fn pc_with(drive: &str, image: &Path) -> Option<Command> {
    let mut command = pc("pc")?;
    crate::disk::attach(&mut command, drive, image);
    Some(command)
}

fn by_qemu(machine: &str, job: &Job<'_>, image: &Path) -> Option<Command> {
    let mut command = pc(machine)?;
    command.arg("-kernel").arg(image).arg("-initrd").arg(job.ramdisk).args(["-append", ARGS]);
    Some(command)
}

fn cdrom(mut pc: Command, disk: &Path) -> Command {
    pc.arg("-cdrom").arg(disk);
    pc
}

/// QEMU takes an ELF file by its Multiboot header where it finds one.
fn without_multiboot(elf: &Path) -> PathBuf {
    let mut bytes = read(elf);
    let at = memchr::memmem::find(&bytes, &0x1bad_b002_u32.to_le_bytes()).unwrap();
    bytes[at] = 0;
    fs::write(elf, bytes).unwrap();
    elf.to_owned()
}

/// A CD with GRUB, which starts the file by this command.
fn by_grub(platform: &str, command: &str, job: &Job<'_>, elf: &Path) -> Option<PathBuf> {
    let (grub, _) = (tool("grub-mkrescue", "grub-common")?, tool("xorriso", "xorriso")?);
    let modules = Path::new("/usr/lib/grub").join(platform);
    if !modules.is_dir() {
        missing(&format!("no GRUB for {platform} (apt-get install grub-pc-bin grub-efi-amd64-bin)"));
        return None;
    }
    let root = job.dir.join("cd");
    fs::create_dir_all(root.join("boot/grub")).unwrap();
    fs::rename(elf, root.join("kernel.elf")).unwrap();
    // Two modules are one RAM disk: the first has nothing but its end.
    put(&root, "empty", &machine::archive_of(&[]));
    fs::copy(job.ramdisk, root.join("ramdisk")).unwrap();
    let module = command.replace("multiboot", "module");
    let script = format!("{command} /kernel.elf {ARGS} grub\n{module} /empty first\n{module} /ramdisk\nboot\n");
    put(&root.join("boot/grub"), "grub.cfg", script.as_bytes());
    let disk = job.dir.join("disk");
    run_ok(Command::new(grub).arg("-d").arg(modules).arg("-o").arg(&disk).arg(&root));
    Some(disk)
}

/// The kernels of the corpus for 64-bit PCs.
fn x86_64() -> Vec<Kernel> {
    x86().into_iter().filter(|kernel| kernel.cpu == Cpu::X86_64).collect()
}

/// A kernel with CONFIG_PVH, which those of the corpus are without.
fn debian_amd64() -> Vec<Kernel> {
    let kernel = |image: PathBuf| Kernel {
        name: "Debian 6.1".to_owned(),
        release: image.file_name().unwrap().to_str().unwrap().trim_start_matches("vmlinuz-").to_owned(),
        vmlinux: image,
        cpu: Cpu::X86_64,
    };
    debian_kernel("bookworm-amd64-cloud-amd64").map(kernel).into_iter().collect()
}

/// The kernels of the corpus for PCs; none of them has CONFIG_PVH.
fn x86() -> Vec<Kernel> {
    x86_trees().into_iter().map(of_tree).collect()
}

fn of_tree(tree: &'static crate::support::Tree) -> Kernel {
    Kernel {
        name: tree.name.clone(),
        vmlinux: tree.unstripped(),
        release: kimage::internals::elf::release_in(&tree.read("vmlinux")).unwrap(),
        cpu: x86_cpu(tree),
    }
}

/// Those for ARM.
fn arm() -> Vec<Kernel> {
    let kernel = |tree: &'static crate::support::Tree| {
        let vmlinux = tree.read("vmlinux");
        Kernel {
            name: tree.name.clone(),
            vmlinux: tree.path("vmlinux"),
            release: kimage::internals::elf::release_in(&vmlinux).unwrap(),
            cpu: if vmlinux[5] == 2 { Cpu::ArmBe8 } else { Cpu::Arm },
        }
    };
    arm_trees().into_iter().map(kernel).collect()
}

/// Has kimage make the file of a kernel's ELF file.
fn kimage(command: &str, job: &Job<'_>, options: &[&str]) -> PathBuf {
    let (codec, bcj) = job.codec.split_once('+').unwrap_or((job.codec, ""));
    let bcj: &[&str] = if bcj.is_empty() { &[] } else { &["--bcj", bcj] };
    make(job.dir, "image", command, &[&job.kernel.vmlinux], &[&["--compress", codec], bcj, options].concat())
}

/// A PC with 256 MiB and SeaBIOS.
fn pc(machine: &str) -> Option<Command> {
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86")?;
    Some(machine::pc(&qemu, machine, "Nehalem-v1", 1, 256))
}

#[test]
fn every_way_to_user_space() {
    let mut cells = Vec::new();
    let wanted = std::env::var("KIMAGE_MATRIX").unwrap_or_default();
    assert!(WAYS.iter().any(|way| way.name.starts_with(&wanted)), "KIMAGE_MATRIX={wanted}: no such row");
    for (turn, way) in WAYS.iter().enumerate().filter(|(_, way)| way.name.starts_with(&wanted)) {
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
        // no gap: each of the two says what it is without
        let Some(image) = (way.make)(&job) else { return };
        // no gap: the same
        let Some(mut command) = (way.start)(&job, &image) else { return };
        let what = format!("{}: {}, {codec}", way.name, kernel.name);
        let console = Machine::start(&what, &mut command).finish();
        console.says(&[&format!("Linux version {} ", kernel.release), USER_OK]).never_says("Kernel panic");
        console.says(way.says);
        println!("{what}");
    });
}

/// What cannot be started says why, whoever enters.
#[test]
fn elf_files_that_cannot_be_started_say_why() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let Some(kernel) = x86_64().pop() else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "cpio", &initrd(kernel.cpu));
    let job = Job { kernel: &kernel, codec: "lz4", dir: dir.path(), ramdisk: &ramdisk };
    let image = kimage("elf", &job, &[]);
    const SHORT: &str = "kimage: not enough RAM";
    const OLD: &str = "kimage: this kernel needs a 64-bit (x86-64) CPU";
    let direct = |image: &Path, cpu: &str, megabytes: usize| {
        let mut command = machine::pc(&qemu, "pc", cpu, 1, megabytes);
        command.arg("-kernel").arg(image).args(["-append", ARGS]);
        Some(command)
    };
    let by_pvh = without_multiboot(&put(dir.path(), "pvh", &read(&image)));
    // Another file of the flash chip for each.
    let by_rom = |name: &str, protocol, megabytes, cpu: &str| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        let mut command = rom::machine_told(&dir, protocol, megabytes, &image, &ramdisk, ARGS)?;
        command.args(["-cpu", cpu]);
        Some(command)
    };
    let with_modules = |modules: &[&Path]| {
        let mut command = direct(&image, "Nehalem-v1", 64)?;
        let paths: Vec<&str> = modules.iter().map(|module| module.to_str().unwrap()).collect();
        command.args(["-initrd", &paths.join(",")]);
        Some(command)
    };
    let large = put(dir.path(), "large", &vec![0x55; 12 << 20]);
    let small = put(dir.path(), "small", b"one");
    let jobs = [
        ("Multiboot", direct(&image, "Nehalem-v1", 20), SHORT),
        ("Multiboot", direct(&image, "pentium3", 128), OLD),
        ("PVH", direct(&by_pvh, "Nehalem-v1", 20), SHORT),
        ("PVH", direct(&by_pvh, "pentium3", 128), OLD),
        ("coreboot", by_rom("coreboot", Protocol::Coreboot, 20, "Nehalem-v1"), SHORT),
        ("coreboot", by_rom("coreboot.old", Protocol::Coreboot, 256, "pentium3"), OLD),
        ("Linux, 32 bits", by_rom("linux.old", Protocol::Linux32, 256, "pentium3"), OLD),
        (
            "no loader",
            by_rom("nothing", Protocol::Nothing, 256, "Nehalem-v1"),
            "kimage: the loader left no memory map: neither PVH's, Multiboot's nor Linux' (EAX ",
        ),
        ("modules", with_modules(&[&*large; 3]), "kimage: no room to put the RAM disks together: 0x2400000 bytes"),
        ("modules", with_modules(&[&*small; 65]), "kimage: the loader passes too many modules"),
    ];
    for (what, command, says) in jobs {
        // no gap: who made the machine says so
        let Some(mut command) = command else { continue };
        Machine::start(&format!("{what}: {says}"), &mut command).wait_for(says);
    }
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
