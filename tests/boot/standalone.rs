//! Images around kimage's own boot stub start: every kernel of the corpus, every codec, from its vmlinux and out of its
//! own image, on several machines, by QEMU's loader, by GRUB and by a kernel's kexec.
//!
//! `KIMAGE_FULL=1` boots every kernel with every codec on every machine.

use crate::machine::{self, Console, Cpu, Machine, USER_OK, each, initrd, initrd_of, x86_cpu};
use crate::simulated;
use crate::support::{
    self, Tree, full, missing, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool, x86_trees,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CODECS: [&str; 5] = ["lz4", "gzip", "zstd", "xz", "none"];
const MACHINES: [&str; 3] = ["q35", "pc", "microvm,acpi=off"];
/// The stub says where it puts the kernel when the kernel's own one would. Linux counts the timer's ticks against a delay loop,
/// and panics where a busy host lets too few through: no_timer_check.
const ARGS: &str = "console=ttyS0 earlyprintk=ttyS0 panic=-1 no_timer_check";

fn qemu() -> Option<PathBuf> {
    tool("qemu-system-x86_64", "qemu-system-x86")
}

fn pc(qemu: &Path, machine: &str, cpus: usize, megabytes: usize) -> Command {
    machine::pc(qemu, machine, "Nehalem-v1", cpus, megabytes)
}

fn make(dir: &Path, name: &str, inputs: &[&Path], options: &[&str]) -> PathBuf {
    support::make(dir, name, "bzimage", inputs, options)
}

/// Where the stub said that it put the kernel: physical address and distance in virtual memory.
fn placed(console: &Console) -> (u64, u64) {
    let line = console.line("kimage: kernel at ");
    let numbers: Vec<u64> = line
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    assert_eq!(numbers.len(), 2, "{line}");
    (numbers[0], numbers[1])
}

/// Every kernel, from its ELF file and out of its own image; codecs, machines and numbers of CPUs take turns.
#[test]
fn to_user_space() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let ramdisk = put(dir.path(), &format!("{}.cpio", tree.name), &initrd(x86_cpu(tree)));
        for (from, source) in [("vmlinux", tree.unstripped()), ("bzImage", tree.path("arch/x86/boot/bzImage"))] {
            let turn = jobs.len();
            let codecs = if full() { &CODECS[..] } else { &CODECS[turn % CODECS.len()..][..1] };
            let machines = if full() { &MACHINES[..] } else { &MACHINES[turn % MACHINES.len()..][..1] };
            for codec in codecs {
                let name = format!("{}.{from}.{codec}", tree.name);
                let image = make(dir.path(), &name, &[&source], &["--compress", codec]);
                for machine in machines {
                    // The 32-bit kernel of the corpus finds no clock there, nor does its own image.
                    let machine = if x86_cpu(tree) == Cpu::I386 { &"q35" } else { machine };
                    jobs.push((image.clone(), ramdisk.clone(), *machine, 1 + turn % 2, release(tree)));
                }
            }
        }
    }
    each(&jobs, |(image, ramdisk, machine, cpus, release)| {
        let mut command = pc(&qemu, machine, *cpus, 256);
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk).args(["-append", ARGS]);
        let what = format!("{} on {machine}, {cpus} CPUs", image.file_name().unwrap().display());
        let console = Machine::start(&what, &mut command).finish();
        console.says(&[&format!("Linux version {release} "), USER_OK]).never_says("Kernel panic");
    });
}

fn release(tree: &Tree) -> String {
    kimage::internals::elf::release_in(&tree.read("vmlinux")).unwrap()
}

/// The kernel's own setup in place of ours: the one whose header its build completes, and those that come complete.
#[test]
fn with_the_kernels_setup() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let ramdisk = put(dir.path(), &format!("{}.cpio", tree.name), &initrd(x86_cpu(tree)));
        let setup = tree.path(if jobs.len() % 2 == 0 { "arch/x86/boot/setup.bin" } else { "arch/x86/boot/setup.elf" });
        let image = make(dir.path(), &tree.name, &[&tree.unstripped(), &setup], &["--compress", "lz4"]);
        jobs.push((tree, image, ramdisk));
    }
    each(&jobs, |(tree, image, ramdisk)| {
        let mut command = pc(&qemu, "q35", 1, 256);
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk).args(["-append", ARGS]);
        let console = Machine::start(&format!("{}, its own setup", tree.name), &mut command).finish();
        console.says(&[USER_OK]).never_says("Kernel panic");
    });
}

/// Two starts, two places, in physical and in virtual memory; `nokaslr`, `--no-kaslr` and no table each switch it off.
/// The kernel itself says by how much it was moved when it panics, for there is no program to run.
#[test]
fn addresses_by_chance() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let trees = support::trees("x86_64", |tree| tree.is_x86() && x86_cpu(tree) == Cpu::X86_64);
    let trees = if full() { &trees[..] } else { &trees[..trees.len().min(1)] };
    for tree in trees {
        let image = make(dir.path(), "kaslr", &[&tree.unstripped()], &["--compress", "lz4"]);
        let fixed = make(dir.path(), "fixed", &[&tree.unstripped()], &["--compress", "lz4", "--no-kaslr"]);
        let boot = |image: &Path, more: &str| {
            let mut command = pc(&qemu, "q35", 1, 512);
            command.arg("-kernel").arg(image).args(["-append", &format!("{ARGS} {more}")]);
            Machine::start(&format!("{} {more}", tree.name), &mut command).finish()
        };
        let places: Vec<_> = (0..2)
            .map(|_| {
                let console = boot(&image, "");
                let (at, delta) = placed(&console);
                console.says(&[&format!("Kernel Offset: {delta:#x} from")]);
                (at, delta)
            })
            .collect();
        // Each of the two has hundreds of values; that all agree by chance is less likely than one in ten thousand.
        assert_ne!(places[0], places[1]);
        for (image, more) in [(&image, "nokaslr"), (&fixed, "")] {
            let console = boot(image, more);
            console.says(&["Kernel Offset: disabled"]);
            assert_eq!(placed(&console), (0x100_0000, 0));
        }
        // What is behind mem= is not there.
        for _ in 0..3 {
            let (at, _) = placed(&boot(&image, "mem=64M"));
            assert!(at < 64 << 20, "{at:#x}");
        }
    }
}

/// Says so, instead of resetting the machine, before anything is overwritten.
#[test]
fn too_little_memory_and_an_initrd_in_the_way() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let Some(tree) = support::tree("x86_64") else { return };
    let image = make(dir.path(), "image", &[&tree.unstripped()], &["--compress", "lz4"]);
    let boot = |megabytes, more: &[&str]| {
        let mut command = pc(&qemu, "q35", 1, megabytes);
        command.arg("-kernel").arg(&image).args(["-append", "console=ttyS0 nokaslr"]).args(more);
        Machine::start(&format!("{megabytes} MiB {more:?}"), &mut command)
    };
    for megabytes in [14, 20] {
        let mut machine = boot(megabytes, &[]);
        machine.wait_for("kimage: not enough RAM: the kernel needs 0x1000000 to ");
        machine.wait_for("the system is halted");
    }
    let large = put(dir.path(), "large", &vec![0; 20 << 20]);
    let mut machine = boot(48, &["-initrd", large.to_str().unwrap()]);
    machine.wait_for("kimage: the initrd at ");
    machine.wait_for(" is in the way: the kernel needs 0x1000000 to ");
}

/// Command line and RAM disk in the image; what the loader says comes behind, or not at all.
#[test]
fn built_in() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let Some(tree) = support::tree("x86_64") else { return };
    let ramdisk = put(dir.path(), "cpio", &initrd(Cpu::X86_64));
    let common = ["--compress", "gzip", "--cmdline", ARGS, "--initrd", ramdisk.to_str().unwrap()];
    let appends = make(dir.path(), "appends", &[&tree.unstripped()], &common);
    let overrides =
        make(dir.path(), "overrides", &[&tree.unstripped()], &[&common[..], &["--cmdline-override"]].concat());
    for (image, says, never) in [
        (appends, format!("Command line: {ARGS} from-the-loader\n"), "is in the way"),
        (overrides, format!("Command line: {ARGS}\n"), "from-the-loader"),
    ] {
        let mut command = pc(&qemu, "pc", 1, 256);
        command.arg("-kernel").arg(&image).args(["-append", "from-the-loader"]);
        let console = Machine::start(&image.display().to_string(), &mut command).finish();
        console.says(&[&says, USER_OK]).never_says(never).never_says("Kernel panic");
    }
}

/// GRUB's two ways in: protected mode, with its own memory map, and real mode.
#[test]
fn by_grub() {
    let Some(qemu) = qemu() else { return };
    let (Some(grub), Some(_)) = (tool("grub-mkrescue", "grub-common"), tool("xorriso", "xorriso")) else { return };
    if !Path::new("/usr/lib/grub/i386-pc").is_dir() {
        return missing("no GRUB for BIOS (apt-get install grub-pc-bin)");
    }
    let dir = tempdir();
    let mut jobs = Vec::new();
    let trees = x86_trees();
    for tree in if full() { &trees[..] } else { &trees[trees.len().saturating_sub(1)..] } {
        for way in ["linux", "linux16"] {
            let name = format!("{}.{way}", tree.name);
            let tree_dir = dir.path().join(&name);
            fs::create_dir_all(tree_dir.join("boot/grub")).unwrap();
            make(&tree_dir, "kernel", &[&tree.unstripped()], &["--compress", "lz4"]);
            put(&tree_dir, "ramdisk", &initrd(x86_cpu(tree)));
            let initrd = way.replace("linux", "initrd");
            let script = format!("{way} /kernel {ARGS}\n{initrd} /ramdisk\nboot\n");
            put(&tree_dir.join("boot/grub"), "grub.cfg", script.as_bytes());
            let iso = dir.path().join(format!("{name}.iso"));
            let output = run(Command::new(&grub).arg("-o").arg(&iso).arg(&tree_dir));
            assert!(output.status.success(), "{}", stderr(&output));
            jobs.push((name, iso));
        }
    }
    each(&jobs, |(name, iso)| {
        let console = Machine::start(name, pc(&qemu, "pc", 1, 512).arg("-cdrom").arg(iso)).finish();
        console.says(&[USER_OK]).never_says("Kernel panic");
    });
}

/// What others make of the image.
#[test]
fn others_know_the_image() {
    let (file, grub_file) = (tool("file", "file"), tool("grub-file", "grub-common"));
    let dir = tempdir();
    for tree in x86_trees() {
        let image = make(dir.path(), &tree.name, &[&tree.unstripped()], &["--compress", "lz4"]);
        if let Some(file) = &file {
            let said = stdout(&run_ok(Command::new(file).arg("-b").arg(&image)));
            for words in ["Linux kernel x86 boot executable", &format!("version {} ", release(tree))] {
                assert!(said.contains(words), "{}: {said}", image.display());
            }
        }
        if let Some(grub_file) = &grub_file {
            run_ok(Command::new(grub_file).arg("--is-x86-linux").arg(&image));
        }
    }
}

/// The shipped tiny kernel, which is no Linux.
#[test]
fn tiny_kernel() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "ramdisk", &[0x5a; 54321]);
    let jobs: Vec<_> = CODECS.iter().zip(MACHINES.iter().cycle()).collect();
    each(&jobs, |(codec, machine)| {
        let image = make(dir.path(), codec, &[&testdata("tiny/kernel")], &["--compress", codec]);
        let mut command = pc(&qemu, machine, 1, 64);
        command.arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk).args(["-append", "kimage=1 word"]);
        let console = Machine::start(&format!("tiny kernel, {codec}, {machine}"), &mut command).finish();
        console.says(&[
            "tiny: hello from 64 bits, at 0x0000000000200000\n",
            "tiny: data: good\n",
            "tiny: boot parameters: good\n",
            "tiny: command line: kimage=1 word\n",
            "tiny: memory map: good\n",
            &format!(", size 54321, sum of bytes {}\n", 54321 * 0x5a),
            "TINY-BOOT-OK\n",
        ]);
    });
}

/// A payload with a changed bit, or with a checksum that is not that of the kernel: says so, and starts nothing.
#[test]
fn a_damaged_payload() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    // From the start of the payload, or from its end.
    let places = [("gzip", 300), ("gzip", -8), ("zstd", 300), ("zstd", -1), ("xz", 300), ("xz", -1)];
    // What has no sum itself, by that beside it.
    let summed = [("lz4", 4), ("lz4", 300), ("lz4", -1), ("none", 300)];
    for (codec, at) in summed.into_iter().chain(places) {
        let asked: &[&str] = if codec == "none" { &["--payload-sum"] } else { &[] };
        let image = make(dir.path(), codec, &[&testdata("tiny/kernel")], &[&["--compress", codec], asked].concat());
        let mut bytes = read(&image);
        let payload = simulated::payload(&bytes);
        let place = if at < 0 { payload.end } else { payload.start }.checked_add_signed(at).unwrap();
        bytes[place] ^= 1;
        let why = if summed.contains(&(codec, at)) { "its checksum is wrong" } else { "it" };
        jobs.push((put(dir.path(), &format!("{codec}{at}"), &bytes), why));
    }
    each(&jobs, |(image, why)| {
        let mut machine =
            Machine::start(&image.display().to_string(), pc(&qemu, "q35", 1, 64).arg("-kernel").arg(image));
        machine.wait_for(&format!("kimage: the kernel cannot be unpacked: {why}"));
        machine.wait_for("the system is halted");
    });
}

/// Debian's kernels, fetched by `tests/fetch-debian.sh`: the large one and the one for clouds.
fn debian() -> Vec<PathBuf> {
    ["bookworm-amd64-amd64", "bookworm-amd64-cloud-amd64"].into_iter().filter_map(support::debian_kernel).collect()
}

#[test]
fn debians_kernels() {
    let Some(qemu) = qemu() else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "cpio", &initrd(Cpu::X86_64));
    let codecs = if full() { &CODECS[..] } else { &CODECS[..1] };
    let mut jobs = Vec::new();
    for vmlinuz in debian() {
        for codec in codecs {
            let level: &[&str] = if *codec == "zstd" { &["--level", "3"] } else { &[] };
            let name = format!("{}.{codec}", vmlinuz.file_name().unwrap().display());
            jobs.push(make(dir.path(), &name, &[&vmlinuz], &[&["--compress", codec], level].concat()));
        }
    }
    each(&jobs, |image| {
        let mut command = pc(&qemu, "q35", 1, 512);
        command.arg("-kernel").arg(image).arg("-initrd").arg(&ramdisk).args(["-append", ARGS]);
        let console = Machine::start(&image.display().to_string(), &mut command).finish();
        console.says(&[USER_OK]).never_says("Kernel panic");
    });
}

/// The 64-bit entry point, wherever a running kernel puts the image, above 4 GiB too; with four and with five levels of
/// page tables.
#[test]
fn by_kexec() {
    let (Some(qemu), Some(cc)) = (qemu(), tool("cc", "gcc")) else { return };
    let Some(first) = support::debian_kernel("bookworm-amd64-amd64") else { return };
    let dir = tempdir();
    let program = dir.path().join("init");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/kexec.c");
    run_ok(Command::new(cc).args(["-static", "-nostdlib", "-O1", "-o"]).arg(&program).arg(source));
    let trees = support::trees("x86_64", |tree| tree.is_x86() && x86_cpu(tree) == Cpu::X86_64);
    let mut jobs = Vec::new();
    for tree in if full() { &trees[..] } else { &trees[trees.len().saturating_sub(1)..] } {
        let image = make(dir.path(), &tree.name, &[&tree.path("arch/x86/boot/bzImage")], &["--compress", "lz4"]);
        let files: [(&str, &[u8]); 3] =
            [("init", &read(&program)), ("kernel", &read(&image)), ("second", &initrd(Cpu::X86_64))];
        let ramdisk = put(dir.path(), &format!("{}.cpio", tree.name), &initrd_of(&files));
        for (cpu, megabytes) in [("Nehalem-v1", 1024), ("Nehalem-v1", 6144), ("qemu64,+la57", 6144)] {
            jobs.push((tree, ramdisk.clone(), cpu, megabytes));
        }
    }
    let jobs = if full() { &jobs[..] } else { &jobs[1..] };
    each(jobs, |(tree, ramdisk, cpu, megabytes)| {
        let mut command = machine::pc(&qemu, "q35", cpu, 1, *megabytes);
        command.args(["-append", "console=ttyS0 panic=-1 no_timer_check"]);
        command.arg("-kernel").arg(&first).arg("-initrd").arg(ramdisk);
        let console = Machine::start(&format!("{} by kexec, {cpu}, {megabytes} MiB", tree.name), &mut command).finish();
        console.says(&["KEXEC-LOADED", "kimage: kernel at ", &format!("Linux version {} ", release(tree)), USER_OK]);
    });
}
