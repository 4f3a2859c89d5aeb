//! kimage's codecs against the command lines of the kernel's build, side by side on a payload of some 60 MB.
//!
//! `cargo bench --bench codecs [-- CODEC ...]`. The payload is that of the corpus's kernels one behind the other, or
//! the file that `KIMAGE_PAYLOAD` names: the pieces of a --split lose more on several kernels than on one, so its cost
//! in size is best measured on a large single one. Each pair runs alternately, the best of three rounds counts, and
//! the goal is that of the issue for two cores. `cpu` is the ratio of the CPU seconds: on a machine that others use, half
//! of it is what two free cores would come to for work that splits evenly.

#[path = "common/machine.rs"]
mod machine;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Name, kimage's arguments, the command, the most that the wall ratio may be, the most that the size ratio may be.
type Case = (&'static str, &'static [&'static str], &'static [&'static str], f64, f64);

const XZ: &[&str] = &["xz", "--check=crc32", "--threads=1", "--x86", "--lzma2=,dict=128MiB"];
const ZSTD: &[&str] = &["zstd", "-q", "-22", "--ultra"];
const CASES: [Case; 10] = [
    ("gzip", &["gzip"], &["gzip", "-n", "-f", "-9"], 0.3, 1.0),
    ("bzip2", &["bzip2"], &["bzip2", "-9"], 0.55, 1.0),
    ("lz4", &["lz4"], &["lz4", "-q", "-l", "-9", "-", "-"], 0.55, 1.0),
    ("lzo", &["lzo"], &["lzop", "-9"], 0.55, 1.05),
    ("xz", &["xz"], XZ, 1.05, 1.0),
    ("lzma", &["lzma"], &["xz", "--format=lzma", "-9"], 1.05, 1.0),
    ("zstd", &["zstd"], ZSTD, 1.05, 1.0),
    ("xz-split", &["xz", "--split"], XZ, 0.6, 1.02),
    ("zstd-split", &["zstd", "--split"], ZSTD, 0.75, 1.02),
    ("gzip-best", &["gzip", "--best"], &["gzip", "-n", "-f", "-9"], f64::INFINITY, 0.97),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` only wants to know that it builds.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let dir = support::tempdir();
    let payload = match std::env::var_os("KIMAGE_PAYLOAD") {
        Some(path) => path.into(),
        None => build(dir.path()),
    };
    let len = fs::metadata(&payload).unwrap().len();
    let tools = ["gzip", "bzip2", "lz4", "lzop", "xz", "zstd"].map(|tool| (tool, "--version"));
    machine::print(dir.path(), &tools);
    println!("{len} bytes of payload");
    println!(
        "codec       kimage s  command s  ratio  of the rounds   goal   cpu    size            of the command's  goal"
    );
    for (name, ours, theirs, time_goal, size_goal) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|want| *want == name) {
            continue;
        }
        let Some(program) = support::tool(theirs[0], theirs[0]) else { continue };
        let (mut our_best, mut their_best) = (Best::default(), Best::default());
        let mut ratios = Vec::new();
        for _ in 0..3 {
            let mut command = Command::new(support::kimage_path());
            command.args(["compress", "-q"]).args(ours).arg("-");
            let ours = our_best.run(&mut command, &payload, dir.path());
            let mut command = Command::new(&program);
            command.args(&theirs[1..]);
            ratios.push(ours / their_best.run(&mut command, &payload, dir.path()));
        }
        let (time, cpu) = (our_best.wall / their_best.wall, our_best.cpu / their_best.cpu);
        let size = our_best.len as f64 / their_best.len as f64;
        ratios.sort_by(f64::total_cmp);
        let range = format!("{:.3} to {:.3}", ratios[0], ratios[ratios.len() - 1]);
        let met = |is: bool| if is { "" } else { " MISSED" };
        println!(
            "{name:<11} {:8.2}  {:9.2}  {time:5.3}  {range:<14}  {time_goal:<5}  {cpu:5.3}  {:<14}  {size:<16.4}  {size_goal}{}{}",
            our_best.wall,
            their_best.wall,
            our_best.len,
            met(time <= time_goal),
            met(size <= size_goal)
        );
    }
}

/// The payloads of the corpus's x86 kernels, some 54 MB.
fn build(dir: &Path) -> std::path::PathBuf {
    let mut all = Vec::new();
    for tree in support::corpus().iter().filter(|tree| tree.is_x86()) {
        all.extend(tree.read("arch/x86/boot/compressed/vmlinux.bin"));
    }
    let path = dir.join("payload");
    fs::write(&path, all).unwrap();
    path
}

/// The best of some runs.
struct Best {
    wall: f64,
    cpu: f64,
    len: u64,
}

impl Default for Best {
    fn default() -> Self {
        Best { wall: f64::INFINITY, cpu: f64::INFINITY, len: 0 }
    }
}

impl Best {
    /// Runs a filter once more; gives its seconds.
    fn run(&mut self, command: &mut Command, input: &Path, dir: &Path) -> f64 {
        let output = dir.join("output");
        command.stdin(File::open(input).unwrap()).stdout(File::create(&output).unwrap()).stderr(Stdio::inherit());
        let (start, cpu) = (Instant::now(), children_cpu());
        let status = command.status().unwrap();
        let wall = start.elapsed().as_secs_f64();
        self.wall = self.wall.min(wall);
        self.cpu = self.cpu.min(children_cpu() - cpu);
        assert!(status.success(), "{command:?}");
        self.len = fs::metadata(&output).unwrap().len();
        wall
    }
}

/// CPU seconds of all children so far.
#[allow(unsafe_code, reason = "the standard library does not tell it")]
fn children_cpu() -> f64 {
    // SAFETY: getrusage fills the zeroed struct it is given, for which all zeros is a valid value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
