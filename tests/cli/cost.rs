//! Small files that are made to cost much, given to the command: CPU time and memory of the whole process stay in bounds, and
//! the work grows with the file, not with its square.
//!
//! The bounds are 2 seconds and 256 MiB beyond the file and what its headers honestly ask for; a build without optimisation
//! gets more time.

use crate::costly;
use crate::files;
use crate::support::{kimage, put, read, run, run_ok, stderr, stdout, tempdir, testdata};
use kimage::codec::Codec;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    status: i32,
    cpu: Duration,
    /// Bytes, the mapped file among them.
    peak: u64,
}

/// Runs it, and has the system tell what it cost: CPU time, since others are at work on the machine.
#[allow(unsafe_code, clippy::zombie_processes, reason = "no safe call tells a child's resources: wait4 waits for it")]
fn cost(command: &mut Command) -> Cost {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut status, pid) = (0, child.id().try_into().unwrap());
    // SAFETY: plain numbers, which the call fills; the child is waited for here and nowhere else.
    let (done, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &mut status, 0, &mut usage), usage)
    };
    assert_eq!(done, pid);
    assert!(libc::WIFEXITED(status), "{command:?} ended by signal {}", libc::WTERMSIG(status));
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, 1000 * time.tv_usec as u32);
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    Cost { status: libc::WEXITSTATUS(status), cpu, peak: (usage.ru_maxrss as u64) << 10 }
}

/// Debug builds take some fifteen times as long, and the machine may be busy.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 40 } else { 2 });
/// Bytes; of a debug build without its own code, which is twice as long as what anybody runs.
const MOST: u64 = 256 << 20;

const READING: &[&[&str]] = &[
    &["info"],
    &["info", "--json"],
    &["verify"],
    &["map"],
    &["extract"],
    &["diff", "@"],
    &["lint", "--board", "qemu-arm64-virt"],
    &["doctor", "--cmdline", "console=ttyS0"],
];

/// Each of `commands` on the file, `@` for it once more.
#[track_caller]
fn costs(file: &Path, commands: &[&[&str]], asked: u64) -> Vec<(String, Cost)> {
    let own = if cfg!(debug_assertions) { cost(kimage().arg("--version")).peak } else { 0 };
    let allowed = MOST + own + asked + fs::metadata(file).unwrap().len();
    let cost = |words: &&[&str]| {
        let mut command = kimage();
        words.iter().for_each(|word| {
            command.arg(if *word == "@" { file.as_os_str() } else { word.as_ref() });
        });
        let cost = cost(command.arg(file));
        let name = words.join(" ");
        println!(
            "{:<24} {name:<20} {:?} {} MiB",
            file.file_name().unwrap().to_string_lossy(),
            cost.cpu,
            cost.peak >> 20
        );
        assert!(matches!(cost.status, 0 | 1), "{name}: {cost:?}");
        assert!(cost.cpu < LONGEST, "{name}: {cost:?}");
        assert!(cost.peak < allowed, "{name}: {} MiB of {}", cost.peak >> 20, allowed >> 20);
        (name, cost)
    };
    commands.iter().map(cost).collect()
}

/// The reading commands on what `make` makes of a number and of a quarter of it: bounds, and no more than linear.
#[track_caller]
fn bounded(name: &str, full: usize, commands: &[&[&str]], make: impl Fn(usize) -> Vec<u8>) {
    let dir = tempdir();
    let run = |count: usize| {
        let file = dir.path().join(format!("{name}-{count}"));
        fs::write(&file, make(count)).unwrap();
        costs(&file, commands, 0)
    };
    for ((name, few), (_, many)) in run(full / 4).into_iter().zip(run(full)) {
        // Four times as much, and once more for what a loaded machine adds.
        let most = 8 * few.cpu + Duration::from_millis(500);
        assert!(many.cpu < most, "{name}: {:?} for a quarter, {:?} for all", few.cpu, many.cpu);
    }
}

#[test]
fn tables_of_many_entries() {
    let ramdisk = costly::archive(10);
    bounded("vendor_boot", 40_000, READING, |count| costly::vendor_boot(count, &ramdisk));
    bounded("multi", 40_000, READING, costly::multi);
    bounded("fit", 20_000, READING, |count| costly::fit(count as u32, 4));
    let out = tempdir();
    let out = out.path().join("out").display().to_string();
    bounded("fit", 20_000, &[&["fit", "--force", "-o", &out]], |count| costly::fit(count as u32, 4));
    bounded("cpio", 80_000, READING, costly::archive);
    let out = tempdir();
    let folder = out.path().join("parts").display().to_string();
    bounded("multi", 20_000, &[&["extract", "--all", &folder]], costly::multi);
}

/// A large unified image is signed from a file: memory has its bytes once, as pages of that file, and no copy of them.
#[test]
fn a_large_image_that_is_signed() {
    const LARGE: usize = 64 << 20;
    let dir = tempdir();
    let disk = put(dir.path(), "disk", &vec![0x5a; LARGE]);
    let mut command = kimage();
    command.args(["uki", "-q", "--os-release=", "--compress", "lz4", "--linux"]).arg(testdata("tiny/kernel"));
    command.arg("--key").arg(testdata("keys/dev.key")).arg("--cert").arg(testdata("keys/dev.pem"));
    let cost = cost(command.arg("--initrd").arg(disk).arg("-o").arg(dir.path().join("linux.efi")));
    assert_eq!(cost.status, 0);
    let own = self::cost(kimage().arg("--version")).peak;
    let most = own + LARGE as u64 + (32 << 20);
    assert!(cost.peak < most, "{} MiB of {}", cost.peak >> 20, most >> 20);
}

/// A small file of many parts that are the same bytes fills no disk.
#[test]
fn all_parts_together_have_a_bound() {
    let dir = tempdir();
    let file = put(dir.path(), "fit", &costly::fit(100, 1 << 20));
    let folder = dir.path().join("parts");
    let output = run(kimage().arg("extract").arg(&file).arg("--all").arg(&folder).args(["--limit", "16M"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("bytes together") && stderr(&output).contains("--limit"), "{}", stderr(&output));
    assert!(!folder.exists());
}

/// Folders that contain themselves, chains that lead round and round, tables that lie one over the other, huge numbers.
#[test]
fn disks() {
    const LOOKS: &[&[&str]] = &[&["info"], &["verify"]];
    bounded("entries", 4000, LOOKS, costly::cd_of_entries);
    bounded("folders", 2000, LOOKS, costly::cd_of_folders);
    bounded("fats", 1 << 18, LOOKS, costly::fats);
    bounded("partitions", 2000, LOOKS, costly::partitions);
}

#[test]
fn sections_of_elf_and_pe() {
    let archive = costly::archive(20_000);
    bounded("linux", 65_000, READING, |count| costly::sections(b".linux\0\0", count as u32, &archive));
    bounded("initrd", 1000, READING, |count| costly::sections(b".initrd\0", count as u32, &archive));
    bounded("elf", 60_000, READING, costly::elf);
    let out = tempdir();
    let out = out.path().join("out").display().to_string();
    bounded("elf", 60_000, &[&["strip", "-o", &out], &["image", "-o", &out]], costly::elf);
}

#[test]
fn streams_beside_and_inside_each_other() {
    let mut commands = READING.to_vec();
    commands.push(&["decompress", "-o", "/dev/null"]);
    bounded("gzip", 400_000, &commands, |count| costly::members(Codec::Gzip, b"", count));
    bounded("bzip2", 40_000, &commands, |count| costly::members(Codec::Bzip2, b"", count));
    // Ten megabytes, of streams that each have a block.
    let decoded = [READING[0], commands[commands.len() - 1]];
    bounded("bzip2", 270_000, &decoded, |count| costly::members(Codec::Bzip2, b"x", count));
    // A frame of one raw block of one byte, which the header says, without a window (RFC 8878, 3.1.1).
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, b'x'];
    bounded("zstd", 1_000_000, &commands, |count| frame.repeat(count));
    bounded("nested", 200, &commands, costly::nested);
}

#[test]
fn heads_of_streams_without_end() {
    bounded("zstd", 3000, READING, |count| costly::zimage(&costly::overlapping_zstd(count)));
    bounded("lzma", 500_000, READING, |count| costly::zimage(&costly::lzma_heads(count)));
    bounded("gzip", 2_000_000, READING, |count| costly::zimage(&[0x1f, 0x8b, 8, 0].repeat(count)));
}

/// Beginnings of configurations without an end in a flat kernel, and images in the middle of data.
#[test]
fn marks_without_end() {
    let banner = b"code\0Linux version 6.6.1 (u@h) #1 SMP\n\0";
    bounded("config", 800_000, READING, |count| [&banner[..], &b"IKCFG_ST\x1f\x8b\x08\0".repeat(count)].concat());
    let image = files::uimage(5, &[b"abcd"]);
    bounded("images", 130_000, READING, |count| [&b"junk"[..], &image.repeat(count)].concat());
    for magic in [&b"HdrS"[..], b"ARM\x64", b"MZ\0\0zimg", &0x016f_2818_u32.to_le_bytes()] {
        bounded("magic", 2_000_000, &READING[..2], |count| [&b"junk"[..], &magic.repeat(count)].concat());
    }
}

/// What is on a board is tried by placing it: there may be any number of images, and each may be in the way.
#[test]
fn lint_of_many_images() {
    let lint: &[&[&str]] = &[&["lint", "--board", "qemu-arm64-virt"], &["verify"], &["info"]];
    bounded("trees", 4000, lint, |count| costly::fit_of_trees(count as u32));
}

/// A frame of zstd with that size in its header, or none, and a window of 128 MiB: blocks of one byte, repeated (RFC 8878,
/// 3.1.1.1 and 3.1.1.2).
fn zstd_of_runs(len: u64, declared: Option<u32>) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    let count = len / u64::from(BLOCK);
    let size = declared.map(u32::to_le_bytes);
    let mut out = [Codec::Zstd.magic(), &[if size.is_some() { 0x80 } else { 0 }, 0x88]].concat();
    out.extend(size.iter().flatten());
    for index in 1..=count {
        let head = BLOCK << 3 | 1 << 1 | u32::from(index == count);
        out.extend([&head.to_le_bytes()[..3], &[0]].concat());
    }
    out
}

/// What is the same all along costs a look about what it costs to unpack, whatever readers ask for in it.
#[test]
fn long_runs() {
    let dir = tempdir();
    for (name, piece) in [("zeros", &b"\0"[..]), ("banners", b"Linux version 6"), ("magics", b"HdrS")] {
        let data = piece.repeat((48 << 20) / piece.len());
        let file = put(dir.path(), name, &costly::members(Codec::Gzip, &data, 1));
        let asked = data.len() as u64;
        let (_, unpacked) = costs(&file, &[&["decompress", "-o", "/dev/null"]], asked).remove(0);
        for (command, cost) in costs(&file, &[&["info"], &["verify"], &["map"], &["extract"]], asked) {
            let most = 6 * unpacked.cpu + Duration::from_secs(1);
            assert!(cost.cpu < most, "{name}: {command}: {:?}, unpacked in {:?}", cost.cpu, unpacked.cpu);
        }
    }
}

/// A stream that comes to much more than it is, and does not say so, is unpacked as far as a kernel would go, whatever holds
/// it. One that says it is believed.
#[test]
fn streams_that_swell() {
    const ZEROS: u64 = 300 << 20;
    let dir = tempdir();
    // Made by the command: what this process holds, the system counts for its children too.
    let zeros = dir.path().join("zeros");
    fs::File::create(&zeros).unwrap().set_len(ZEROS).unwrap();
    let packed = |codec: &str| {
        let bare = dir.path().join(codec);
        run_ok(kimage().args(["compress", codec, "--level", "1", "-q", "-o"]).arg(&bare).arg(&zeros));
        bare
    };
    let (bzip2, zstd) = (packed("bzip2"), dir.path().join("zstd"));
    fs::write(&zstd, zstd_of_runs(ZEROS, None)).unwrap();
    let stream = read(&bzip2);
    let many = dir.path().join("multi");
    fs::write(&many, files::uimage(4, &[&stream, &stream, &stream])).unwrap();
    for file in [&bzip2, &zstd, &many] {
        costs(file, READING, 0);
        for command in ["info", "verify", "map", "extract"] {
            let output = run(kimage().arg(command).arg(file));
            let told = [&*stdout(&output), &*String::from_utf8_lossy(&output.stderr)].concat();
            assert!(told.contains("it was not unpacked") && told.contains("--limit"), "{command}: {told}");
            // What was not looked at is not called good.
            if command == "verify" {
                assert_eq!(output.status.code(), Some(1), "{told}");
                assert!(told.contains(": not known: not all that is inside was looked at: "), "{told}");
            }
        }
    }
    let kernel = dir.path().join("uImage");
    let made = ["uimage", "-A", "arm64", "-C", "bzip2", "-a", "40400000", "-e", "40400000", "-q", "-o"];
    run_ok(kimage().args(made).arg(&kernel).arg(&bzip2));
    costs(&kernel, READING, 0);
    let lint = run(kimage().args(["lint", "--board", "qemu-arm64-virt"]).arg(&kernel));
    let told = String::from_utf8_lossy(&lint.stderr);
    assert!(told.contains("unpacks to more than 234881024 bytes"), "{told}");
    // A board whose boot loader takes any size: then how much memory it needs is not known.
    let shown = stdout(&run_ok(kimage().args(["lint", "--board", "qemu-arm64-virt", "--show"])));
    let board = dir.path().join("board");
    let any_size: Vec<_> = shown.lines().filter(|line| !line.contains("bootm_len")).collect();
    fs::write(&board, any_size.join("\n").replace(r#""gzip""#, r#""gzip", "bzip2""#)).unwrap();
    let output = run(kimage().args(["lint", "--json", "--board"]).arg(&board).arg(&kernel));
    let lint = stdout(&output);
    let names = |rule: &str| lint.contains(&format!("\"{rule}\""));
    assert!(names("lint.unpack_limit") && !names("lint.bootm_len"), "{lint}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("not known whether"), "{told}");
    costs(&bzip2, &[&["decompress", "-o", "/dev/null"]], 0);
    // Who allows it, has it; and of a size that is declared it is not news.
    costs(&bzip2, &[&["info", "--limit", "1G"]], ZEROS);
    for codec in ["gzip", "xz"] {
        let bare = packed(codec);
        costs(&bare, &[&["decompress", "-o", "/dev/null"]], 0);
        costs(&bare, &[&["info"]], ZEROS);
        assert!(!stdout(&run_ok(kimage().arg("info").arg(&bare))).contains("layer.limit"), "{codec}");
    }
    // A size that is declared and is not true: nothing is held for it, and what is wrong is said.
    for (declared, word) in [(900 << 20, "it was not unpacked"), (1000 << 20, "stream.damaged")] {
        fs::write(&zstd, zstd_of_runs(950 << 20, Some(declared))).unwrap();
        costs(&zstd, &[&["info"], &["verify"], &["map"]], 0);
        let told = stdout(&run(kimage().arg("verify").arg(&zstd)));
        assert!(told.contains(word), "{told}");
    }
    // What is asked for by its name comes whole.
    let out = dir.path().join("out");
    run_ok(kimage().args(["extract", "-o"]).arg(&out).arg(&many).arg("image[1]"));
    assert_eq!(read(&out), stream);
}
