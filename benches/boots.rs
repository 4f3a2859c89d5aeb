//! Images around kimage's own boot stub against the distribution's: from QEMU's start to user space.
//!
//! `cargo bench --bench boots [-- RUNS]`. The kernel is Debian's 6.1 for amd64 (tests/fetch-debian.sh), 65 MB unpacked, or
//! the image that `KIMAGE_VMLINUZ` names. Each is wrapped by every codec, then the images boot in turns, without
//! KASLR, to a program that restarts the machine at once; the least of the runs counts. Where others use the CPUs, CPU time
//! is the better witness. The goals are for 65 MB; packing is timed from the kernel's ELF file.

#[path = "../tests/support/boot.rs"]
mod machine;
#[path = "common/measure.rs"]
#[allow(dead_code, reason = "each bench uses its share")]
mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use machine::{Cpu, Machine, USER_OK, initrd};
use measure::{Contender, measure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Codec, and the most that wall time may be, as part of the distribution's.
const CASES: [(&str, f64); 5] = [("none", 0.6), ("lz4", 0.6), ("gzip", 0.6), ("zstd", 0.65), ("xz", 1.0)];

/// QEMU's arguments. The test machines' CPU: with `-cpu max` some kernels crash at random under software emulation.
fn args(image: &Path, ramdisk: &Path, serial: &str) -> Vec<OsString> {
    let fixed = "-M q35 -cpu Nehalem-v1 -m 1024 -no-reboot -display none -nic none -serial";
    let mut args: Vec<OsString> = fixed.split(' ').map(OsString::from).collect();
    args.extend([serial.into(), "-kernel".into(), image.into(), "-initrd".into(), ramdisk.into()]);
    args.extend(["-append", "console=ttyS0 panic=-1 nokaslr no_timer_check"].map(OsString::from));
    args
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` only wants to know that it builds.
    if !given.iter().any(|arg| arg == "--bench") {
        return;
    }
    let runs = given.iter().find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let original = std::env::var_os("KIMAGE_VMLINUZ")
        .map(PathBuf::from)
        .or_else(|| support::debian_kernel("bookworm-amd64-amd64"));
    let Some(original) = original else { return };
    let Some(qemu) = support::tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let kimage = Path::new(support::kimage_path());
    let dir = support::tempdir();
    let (vmlinux, ramdisk) = (dir.path().join("vmlinux"), dir.path().join("initrd"));
    fs::write(&ramdisk, initrd(Cpu::X86_64)).unwrap();
    support::run_ok(Command::new(kimage).arg("extract").arg(&original).args(["vmlinux", "-o"]).arg(&vmlinux));
    let unpacked = fs::metadata(&vmlinux).unwrap().len();
    println!("{}: {unpacked} bytes unpacked, {runs} runs", original.display());

    println!("\npacking     wall s    CPU s      bytes  of the distribution's image");
    let theirs = fs::metadata(&original).unwrap().len();
    let mut images = vec![("distribution", original, f64::INFINITY)];
    for (codec, goal) in CASES {
        let words = ["bzimage".into(), vmlinux.clone().into(), "--compress".into(), codec.into()];
        let args: Vec<OsString> = words.into_iter().chain(["-o", "out", "-q"].map(OsString::from)).collect();
        let mut contenders = [Contender::new("kimage", dir.path(), kimage, &args).unwrap()];
        let len = measure(&mut contenders, 1).unwrap();
        let (wall, cpu) = (contenders[0].wall().0.as_secs_f64(), contenders[0].cpu().as_secs_f64());
        println!("{codec:<10} {wall:>7.2} {cpu:>8.2} {len:>10}  {:.2}", len as f64 / theirs as f64);
        let image = dir.path().join(format!("{codec}.img"));
        support::run_ok(Command::new(kimage).args(&args[..4]).arg("-q").arg("-o").arg(&image));
        images.push((codec, image, goal));
    }

    let mut contenders: Vec<Contender> = Vec::new();
    for (name, image, _) in &images {
        let console = Machine::start(name, Command::new(&qemu).args(args(image, &ramdisk, "stdio"))).finish();
        console.says(&[USER_OK]);
        let args = args(image, &ramdisk, "file:out");
        contenders.push(Contender::new(name, dir.path(), &qemu, &args).unwrap().uncompared());
    }
    measure(&mut contenders, runs).unwrap();
    println!("\nbooting         wall s  ratio  goal    CPU s  ratio");
    let (first_wall, first_cpu) = (contenders[0].wall().0.as_secs_f64(), contenders[0].cpu().as_secs_f64());
    for (contender, (_, _, goal)) in contenders.iter().zip(&images) {
        let (wall, cpu) = (contender.wall().0.as_secs_f64(), contender.cpu().as_secs_f64());
        let (wall_ratio, cpu_ratio) = (wall / first_wall, cpu / first_cpu);
        println!("{:<13} {wall:>8.2}  {wall_ratio:>5.2}  {goal:>4} {cpu:>8.2}  {cpu_ratio:>5.2}", contender.name);
    }
    println!("\nload {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}
