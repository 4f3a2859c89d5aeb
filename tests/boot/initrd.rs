//! Initial RAM disks: what a running kernel unpacks of a chain of segments, and what it says of the rest, is what `verify`
//! and `extract` say of it (src/inspect/describe/initrd.rs has the rules, read from init/initramfs.c).

use crate::machine::{Machine, USER_OK, blind_pc, each, initrd, pc_kernel};
use crate::support::{kimage, put, run, run_ok, stdout, tempdir};
use crate::{files, machine};
use kimage::codec::Codec;

/// The words of the program in archive number `number`.
fn words(number: u8) -> String {
    format!("KIMAGE-SEG-{number:03}")
}

/// An archive whose program says `number`; the last that is unpacked runs.
fn archive(cpu: machine::Cpu, number: u8) -> Vec<u8> {
    let mut archive = initrd(cpu);
    let at = memchr::memmem::find(&archive, USER_OK.as_bytes()).unwrap();
    archive[at..at + USER_OK.len()].copy_from_slice(words(number).as_bytes());
    aligned(&archive, 0)
}

/// A stream without the kernel's own size behind it.
fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let stream = files::packed(codec, bytes);
    let inflated = kimage::internals::decompress_one(codec, &stream, 1 << 20, &mut Vec::new()).unwrap();
    stream[..usize::try_from(inflated.consumed).unwrap()].to_vec()
}

/// With zeros up to a place that is `rest` behind a multiple of 4.
fn aligned(bytes: &[u8], rest: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4) + rest, 0);
    bytes
}

struct Case {
    what: &'static str,
    chain: Vec<u8>,
    /// The number of the last archive that the kernel unpacks whole.
    runs: u8,
    /// What the kernel says of it, if anything.
    failure: Option<&'static str>,
}

fn cases(cpu: machine::Cpu) -> Vec<Case> {
    let plain = |number| archive(cpu, number);
    let gzip = |number| packed(Codec::Gzip, &plain(number));
    let codecs = [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Lzma, Codec::Bzip2];
    let case = |what, parts: &[&[u8]], runs, failure| Case { what, chain: parts.concat(), runs, failure };
    let good = |what, parts: &[&[u8]], runs| case(what, parts, runs, None);
    let bad = |what, parts: &[&[u8]], failure| case(what, parts, 1, Some(failure));
    const PADDING: &str = "Initramfs unpacking failed: broken padding";
    const MAGIC: &str = "Initramfs unpacking failed: invalid magic at start of compressed archive";
    let odd = |stream: Vec<u8>| aligned(&stream, 3);
    let mut every = plain(1);
    for (number, codec) in (2..).zip(codecs) {
        every.extend(packed(codec, &plain(number)));
        // Another alignment for each.
        every.resize(every.len() + usize::from(number), 0);
    }
    let every = aligned(&every, 0);
    vec![
        good("every codec, plain ones around", &[&every, &plain(7)], 7),
        good("lz4 last", &[&plain(1), &packed(Codec::Lz4Legacy, &plain(2))], 2),
        good("zeros behind", &[&plain(1), &[0; 999]], 1),
        good("zeros in front", &[&[0; 512], &plain(1), &gzip(2)], 2),
        good("zeros in front of a stream, at an odd place", &[&[0; 5], &gzip(1), &[0; 3], &gzip(2)], 2),
        good("zeros behind a stream", &[&gzip(1), &[0; 999]], 1),
        good("a stream at an odd place", &[&odd(gzip(1)), &gzip(2)], 2),
        bad("a stream at an odd place behind an archive", &[&plain(1), &[0; 3], &gzip(2)], PADDING),
        good("two archives in a stream", &[&packed(Codec::Gzip, &[plain(1), plain(2)].concat())], 2),
        bad("an archive at an odd place", &[&plain(1), &[0; 3], &plain(2)], PADDING),
        bad("an archive at an odd place behind a stream", &[&odd(gzip(1)), &plain(2)], MAGIC),
        bad("text behind", &[&plain(1), b"text"], MAGIC),
        bad("text behind a stream", &[&gzip(1), b"text"], MAGIC),
        bad("erased flash behind", &[&gzip(1), &[0xff; 512], &gzip(2)], MAGIC),
        bad("a stream of text", &[&plain(1), &packed(Codec::Gzip, b"just text")], "Initramfs unpacking failed"),
        bad("lz4's newer format", &[&plain(1), &files::packed(Codec::Lz4Frame, &plain(2))], MAGIC),
        bad(
            "compressed twice",
            &[&packed(Codec::Gzip, &[plain(1), gzip(2)].concat())],
            "Initramfs unpacking failed: junk within compressed archive",
        ),
    ]
}

#[test]
fn the_kernel_unpacks_what_verify_calls_good() {
    let dir = tempdir();
    let dir = dir.path();
    let Some((qemu, kernel, cpu)) = pc_kernel(dir) else { return };
    let cases: Vec<_> = (0..).zip(cases(cpu)).collect();
    each(&cases, |(index, case)| {
        let path = put(dir, &format!("initrd{index}"), &case.chain);
        let output = run(kimage().arg("verify").arg(&path));
        let found = stdout(&output);
        let is_good = output.status.success() && !found.contains("initramfs.");
        assert_eq!(is_good, case.failure.is_none(), "{}: {found}", case.what);
        // The segment that runs is there, whole or as a part.
        let parts = stdout(&run_ok(kimage().arg("extract").arg(&path)));
        assert!(parts.contains("initramfs"), "{}: {parts}", case.what);
        let mut command = blind_pc(&qemu, "q35", "Nehalem-v1", 1, 256);
        // A busy host loses timer interrupts, which the kernel would take for a broken timer.
        command.arg("-kernel").arg(&kernel).arg("-initrd").arg(&path);
        command.args(["-append", "console=ttyS0 panic=-1 no_timer_check"]);
        let console = Machine::start(case.what, &mut command).finish();
        console.says(&[&words(case.runs)]);
        match case.failure {
            Some(failure) => console.says(&[failure]),
            None => console.never_says("unpacking failed"),
        };
    });
}
