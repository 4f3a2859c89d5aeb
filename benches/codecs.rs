//! kimage's codecs against the command lines of the kernel's build, side by side on a payload of some 60 MB.
//!
//! `cargo bench --bench codecs [-- CODEC ...]`. The payload is that of the corpus's kernels one behind the other, or
//! the file that `KIMAGE_PAYLOAD` names: the pieces of a --split lose more on several kernels than on one, so its cost
//! in size is best measured on a large single one. Each pair runs alternately, the best of three rounds counts, and
//! the goal is that of the issue for two cores. Times are wall seconds.

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
    println!("{len} bytes of payload, {} CPUs", std::thread::available_parallelism().unwrap());
    println!("codec       kimage s  command s  ratio  goal   size            of the command's  goal");
    for (name, ours, theirs, time_goal, size_goal) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|want| *want == name) {
            continue;
        }
        let Some(program) = support::tool(theirs[0], theirs[0]) else { continue };
        let (mut our_best, mut their_best) = ((f64::INFINITY, 0), (f64::INFINITY, 0));
        for _ in 0..3 {
            let mut command = Command::new(support::kimage_path());
            command.args(["compress", "-q"]).args(ours).arg("-");
            our_best.0 = our_best.0.min(run(&mut command, &payload, dir.path(), &mut our_best.1));
            let mut command = Command::new(&program);
            command.args(&theirs[1..]);
            their_best.0 = their_best.0.min(run(&mut command, &payload, dir.path(), &mut their_best.1));
        }
        let (time, size) = (our_best.0 / their_best.0, our_best.1 as f64 / their_best.1 as f64);
        let met = |is: bool| if is { "" } else { " MISSED" };
        println!(
            "{name:<11} {:8.2}  {:9.2}  {time:5.3}  {time_goal:<5}  {:<14}  {size:<16.4}  {size_goal}{}{}",
            our_best.0,
            their_best.0,
            our_best.1,
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

/// Wall seconds of a filter; `len` becomes the size of its output.
fn run(command: &mut Command, input: &Path, dir: &Path, len: &mut u64) -> f64 {
    let output = dir.join("output");
    command.stdin(File::open(input).unwrap()).stdout(File::create(&output).unwrap()).stderr(Stdio::inherit());
    let start = Instant::now();
    let status = command.status().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}");
    *len = fs::metadata(&output).unwrap().len();
    seconds
}
