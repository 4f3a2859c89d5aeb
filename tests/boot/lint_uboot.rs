//! What lint and verify say of legacy headers and of U-Boot's own place: beside a real U-Boot in QEMU where it can be told there, else
//! from the words of U-Boot's sources and of the kernel's.

use crate::machine;
use crate::support::{kimage, run, run_ok, stderr, stdout, tempdir};
use kimage::lint::{Board, Files, Linted, SHIPPED, lint};
use std::fs;
use std::path::Path;

fn board(name: &str) -> Board {
    Board::parse(SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap().1).unwrap()
}

fn linted(board: &Board, image: &[u8]) -> Linted {
    lint(board, &Files { image, dtb: None, ramdisk: None }).unwrap()
}

/// An ARM zImage: eight words of no effect, a branch over the header to 0x34, a size table with this TEXT_OFFSET at 0x60.
fn zimage(text_offset: u32, thumb: bool) -> Vec<u8> {
    let mut words = vec![0xe1a0_0000_u32; 8];
    if thumb {
        words[7] = 0xe24f_f003;
    }
    words.extend([0xea00_0005, 0x016f_2818, 0, 0x1000, 0x0403_0201, 0x4545_4545, 0x60]);
    words.resize(0x60 / 4, 0xe1a0_0000);
    words.extend([6, 0x5a53_4c4b, 0xffc, 0x1000, text_offset, 65536, 0]);
    words.resize(0x1000 / 4, 0xe1a0_0000);
    *words.last_mut().unwrap() = 0x30_0000;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An arm64 `Image` that jumps over its header and stays there.
fn image64(len: usize) -> Vec<u8> {
    let mut image = vec![0; len];
    image[..4].copy_from_slice(&0x1400_0010_u32.to_le_bytes());
    image[16..24].copy_from_slice(&(len as u64).to_le_bytes());
    image[24] = 0xa;
    image[56..60].copy_from_slice(b"ARM\x64");
    image[64..68].copy_from_slice(&0x1400_0000_u32.to_le_bytes());
    image
}

fn uimage(dir: &Path, data: &[u8], options: &[&str]) -> (Vec<u8>, String) {
    fs::write(dir.join("data"), data).unwrap();
    let output = run(kimage().current_dir(dir).args(["uimage", "data", "-o", "u", "--force"]).args(options));
    assert!(output.status.success(), "{options:?}: {}", stderr(&output));
    (fs::read(dir.join("u")).unwrap(), stderr(&output))
}

/// Where a kernel is entered: `uimage` warns, `verify` and `lint` judge by the code that is there.
#[test]
fn entry_points() {
    let dir = tempdir();
    let dir = dir.path();
    let board = board("qemu-arm-virt");
    for (thumb, entry, verified, boots) in [
        // (Thumb-2 kernel, -e, what verify says, does lint take it)
        (false, "48000000", "", true),
        // Over words without effect.
        (false, "48000004", "warning", true),
        (true, "48000004", "warning", true),
        // In the header's data.
        (false, "48000028", "error", false),
        // The recipe of old U-Boots, which left the image in place; here it is moved.
        (false, "48000040", "warning", true),
        (true, "48000040", "warning", false),
        (true, "48000050", "error", false),
        // Behind `mov r8, r2`, which saves where the device tree is.
        (false, "48000400", "error", false),
    ] {
        let (image, said) = uimage(dir, &zimage(0x8000, thumb), &["-a", "48000000", "-e", entry]);
        let what = format!("{thumb} {entry}");
        assert_eq!(said.contains("not the first byte"), !verified.is_empty(), "{what}: {said}");
        let found = stdout(&run(kimage().current_dir(dir).args(["verify", "u"])));
        let line = found.lines().find(|line| line.contains("[uimage.entry]")).unwrap_or("");
        assert!(line.contains(verified) && line.is_empty() == verified.is_empty(), "{what}: {found}");
        let linted = linted(&board, &image);
        let errors = linted
            .findings
            .iter()
            .filter(|it| it.rule == "lint.entry" && it.severity == kimage::finding::Severity::Error)
            .count();
        assert_eq!(errors == 0, boots, "{what}: {linted:#?}");
    }
    // Of kernel_noload the entry point is an offset.
    let (image, _) = uimage(dir, &zimage(0x8000, false), &["-T", "kernel_noload", "-e", "80008000"]);
    assert!(linted(&board, &image).findings.iter().any(|it| it.rule == "lint.entry" && it.message.contains("offset")));
    let found = stdout(&run(kimage().current_dir(dir).args(["verify", "u"])));
    assert!(found.lines().any(|line| line.contains("error:") && line.contains("[uimage.entry]")), "{found}");
    let (image, _) = uimage(dir, &zimage(0x8000, false), &["-T", "kernel_noload", "-e", "0"]);
    assert!(linted(&board, &image).findings.iter().all(|it| it.rule != "lint.entry"));
    // The same in a FIT.
    for (entry, good) in [("48000000", true), ("48000028", false), ("48000400", false)] {
        let options = ["fit", "--kernel", "data", "-a", "48000000", "-e", entry, "-q", "-o", "f"];
        run_ok(kimage().current_dir(dir).args(options));
        let found = stdout(&run(kimage().current_dir(dir).args(["verify", "f"])));
        assert_eq!(!found.lines().any(|line| line.contains("error:") && line.contains("[fit.entry]")), good, "{found}");
    }
}

/// Type and OS of the header: U-Boot's own words for what it does not start.
#[test]
fn type_and_os() {
    let dir = tempdir();
    let dir = dir.path();
    let arm64 = board("qemu-arm64-virt");
    let u_boot = machine::Board::arm64(256);
    for (options, rule, words) in [
        (&["-a", "40400000"][..], "", "Starting kernel"),
        (&["-a", "40400000", "-T", "ramdisk"], "lint.type", "Wrong Image Type for bootm command"),
        (&["-a", "40400000", "-T", "firmware"], "lint.type", "Wrong Image Type for bootm command"),
        (&["-a", "40400000", "-O", "qnx"], "lint.os", "QNX"),
    ] {
        let (image, _) = uimage(dir, &image64(0x1_0000), options);
        let found = linted(&arm64, &image);
        let rules: Vec<&str> = found.findings.iter().map(|it| it.rule).collect();
        assert_eq!(rules, if rule.is_empty() { vec![] } else { vec![rule] }, "{options:?}: {found:#?}");
        let Some(u_boot) = &u_boot else { continue }; // no gap: what makes it says so
        let mut machine = u_boot.start(&format!("{options:?}"), &[(&dir.join("u"), 0x4400_0000)]);
        machine.type_keys("bootm 0x44000000 - ${fdtcontroladdr}\r");
        machine.wait_for(words);
    }
}

/// U-Boot is at the top of the RAM until the kernel starts: what is loaded there overwrites it, and what is proposed does not.
#[test]
fn the_place_of_u_boot() {
    let dir = tempdir();
    let dir = dir.path();
    let mut board = board("qemu-arm64-virt");
    board.env.kernel_addr_r = Some(0x4200_0000);
    let image = image64(18 << 20);
    let (low, _) = uimage(dir, &image, &["-a", "47000000"]);
    assert!(linted(&board, &low).findings.is_empty());
    let (high, _) = uimage(dir, &image, &["-a", "4ec00000"]);
    let found = linted(&board, &high);
    assert!(
        found.findings.iter().any(|it| it.rule == "lint.overlap" && it.message.contains("U-Boot itself")),
        "{found:#?}"
    );
    let load = found.findings[0].help.split("load address 0x").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (proposed, _) = uimage(dir, &image, &["-a", &load]);
    assert!(linted(&board, &proposed).findings.is_empty(), "{load}");
    // By its environment, whatever the board file says.
    board.loader.place = None;
    assert!(linted(&board, &high).findings.is_empty());
    board.env.read("fdtcontroladdr=4edb6db0\n");
    assert!(!linted(&board, &high).findings.is_empty());

    let Some(u_boot) = machine::Board::arm64(256) else { return };
    // What is loaded over U-Boot hangs or resets it, which nothing on the console tells from a slow machine.
    for bytes in [&low, &proposed] {
        fs::write(dir.join("u"), bytes).unwrap();
        let mut machine = u_boot.start("U-Boot's place", &[(&dir.join("u"), 0x4200_0000)]);
        machine.type_keys("bootm 0x42000000 - ${fdtcontroladdr}\r");
        machine.wait_for("Starting kernel");
    }
}

/// All proposals together lead to a board that lint takes: none stands in the way of another.
#[test]
fn proposals_together() {
    let board = board("qemu-arm64-virt");
    let image = image64(18 << 20);
    let mut checked = 0;
    for place in [0x4200_0000_u64, 0x4e80_0000, 0x4fff_f000, 0x4000_0000] {
        let mut board = board.clone();
        (board.env.fdt_high, board.env.initrd_high) = (Some(u64::MAX), Some(u64::MAX));
        (board.env.kernel_addr_r, board.env.fdt_addr_r, board.env.ramdisk_addr_r) =
            (Some(place), Some(place), Some(place));
        let (dtb, ramdisk) = (vec![0; 40_000], vec![0; 8 << 20]);
        let files = Files { image: &image, dtb: Some(&dtb), ramdisk: Some(&ramdisk) };
        let found = lint(&board, &files).unwrap();
        let mut text = "fdt_high=ffffffffffffffff\ninitrd_high=ffffffffffffffff\n".to_owned();
        let mut proposed = 0;
        for finding in &found.findings {
            if let ["setenv", variable, value] = finding.help.split(' ').collect::<Vec<_>>()[..] {
                // The last one counts.
                text =
                    text.lines().filter(|line| !line.starts_with(variable)).map(|line| format!("{line}\n")).collect();
                text += &format!("{variable}={value}\n");
                proposed += 1;
            }
        }
        assert!(proposed > 0, "{found:#?}");
        board.env.read(&text);
        let after = lint(&board, &files).unwrap();
        assert!(after.findings.is_empty(), "{place:#x}: {found:#?}\n{after:#?}");
        checked += proposed;
    }
    assert!(checked >= 6, "{checked}");
}

/// A kernel that goes 2 MiB further up (TEXT_OFFSET 0x208000: Qualcomm, Meson, many multi-platform ones) is in the way of what is there,
/// and not of what is below: lint and map ask the same table.
#[test]
fn text_offset_is_that_of_the_table() {
    let board = board("qemu-arm-virt");
    for (offset, start) in [(0x8000, 0x4000_4000), (0x20_8000, 0x4020_4000)] {
        let found = linted(&board, &zimage(offset, false));
        let running = found.memory.iter().find(|using| using.what == "the running kernel").unwrap();
        // The 16 KiB of page tables below it, the kernel and its BSS.
        assert_eq!((running.start, running.size), (start, 0x4000 + 0x30_0000 + 0x1000), "{found:#?}");
    }
}
