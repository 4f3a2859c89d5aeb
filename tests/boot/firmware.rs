//! Firmware that is not as one would have it: files that grow while they are read, tables that are null, memory attributes. An EFI program
//! (tests/boot/firmware.c) changes what the firmware has, and starts the image.

use crate::machine::Machine;
use crate::measure::kernel;
use crate::standalone_efi::{disk, drive, pc, program, uefi};
use crate::support::{self, cache, debian_kernel, kimage, missing, put, read, run_ok, stdout, tempdir, testdata};
use crate::unified::{Tpm, extended};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image around the tiny kernel.
fn image(dir: &Path, name: &str, cmdline: &str) -> PathBuf {
    support::make(dir, name, "bzimage", &[&testdata("tiny/kernel")], &["--cmdline", cmdline])
}

/// What is said where this was changed.
fn with(mut command: Command, case: &str, cmdline: &str, end: &str) -> Option<String> {
    let dir = tempdir();
    let mut code = kernel(dir.path(), "firmware.c", &[&format!("-D{case}")])?;
    // Its variables, too, which a flat file leaves out.
    code.resize(code.len().next_multiple_of(0x1000) + 0x2000, 0);
    let starter = put(dir.path(), "starter", &program(0x8664, &code));
    let image = image(dir.path(), "image", cmdline);
    let files: [(&str, &Path); 2] = [("/EFI/BOOT/BOOTX64.EFI", &starter), ("/image.efi", &image)];
    drive(&mut command, &disk(dir.path(), "disk", &files)?);
    Some(Machine::start(case, &mut command).wait_for(end))
}

/// A file that is longer when it has been read than when room was made for it: nothing is started with half of it, nothing is written
/// where it has no room, and all that was opened is closed.
#[test]
fn a_file_that_grows() {
    // no gap: it says so
    let Some(said) = uefi().and_then(|pc| with(pc, "GROWS", r"initrd=\first", "that is all")) else { return };
    assert!(said.contains("kimage: initrd=\\first: error 0x800000000000000d\n"), "{said}");
    assert!(said.contains("opened 0x4, closed 0x4\n"), "{said}");
}

/// Tables of the firmware's list that are null: a random seed, the TPM's last events, ACPI's.
#[test]
fn tables_that_are_null() {
    // no gap: it says so
    let Some(said) = uefi().and_then(|pc| with(pc, "NULLS", "built in", "TINY-BOOT-OK")) else { return };
    assert!(said.contains("now the image"), "{said}");
}

/// Firmware that has memory attributes is asked for what the stub's code and data need: first that code may be executed, then that it is not
/// written, then that data may be written and is not executed. Nothing else of the image is touched.
fn attributes(command: Command, whose: &str) {
    // no gap: it says so
    let Some(said) = with(command, "ATTRIBUTES", "built in", "TINY-BOOT-OK") else { return };
    assert!(said.contains(&format!("attributes of the {whose}\n")), "{said}");
    let asked: Vec<Vec<&str>> = said
        .lines()
        .filter(|line| line.starts_with("set ") || line.starts_with("clear "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    // EFI_MEMORY_XP and EFI_MEMORY_RO of UEFI 2.10, 7.2; and no error.
    let kinds: Vec<_> = asked.iter().map(|words| (words[0], words[3], words[4])).collect();
    let wanted = [("clear", "0x4000"), ("set", "0x20000"), ("clear", "0x20000"), ("set", "0x4000")];
    assert_eq!(kinds, wanted.map(|(what, which)| (what, which, "0x0")), "{said}");
    assert_eq!(asked[0][1..3], asked[1][1..3], "{said}");
    assert_eq!((asked[1][2], &asked[2][1..3]), (asked[2][1], &asked[3][1..3]), "{said}");
}

#[test]
fn memory_attributes() {
    if let Some(pc) = uefi() {
        attributes(pc, "test");
    }
}

/// The newest firmware that Debian has, in the form that keeps what is written from being executed, and has memory attributes: it does as it
/// is asked, and starts our images; a TPM measures the RAM disks that the command line names.
#[test]
fn strict_firmware() {
    let folder = cache().join("sid/usr/share/OVMF");
    let code = folder.join("OVMF_CODE_4M.secboot.strictnx.fd");
    if !code.is_file() {
        return missing("no firmware with strict NX (sh tests/fetch-sid.sh)");
    }
    let dir = tempdir();
    let strict = |what: &str| {
        let mut command = pc("q35,smm=on")?;
        let variables = dir.path().join(format!("{what}.fd"));
        fs::copy(folder.join("OVMF_VARS_4M.fd"), &variables).unwrap();
        command.args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-drive"]);
        command.arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={}", code.display())).arg("-drive");
        command.arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        Some(command)
    };
    // no gap: it says so
    let Some(pc) = strict("attributes") else { return };
    attributes(pc, "firmware");
    let unified = dir.path().join("unified");
    let line = r"built in initrd=\first initrd=\second";
    let mut command = kimage();
    command.args(["uki", "-q", "--os-release=", "--cmdline", line, "--linux"]).arg(testdata("tiny/kernel"));
    run_ok(command.arg("-o").arg(&unified));
    let mut command = strict("unified").unwrap();
    // no gap: it says so
    let Some(tpm) = Tpm::start(&dir.path().join("tpm")) else { return };
    tpm.plug(&mut command);
    let disks = ["first", "second"].map(|name| put(dir.path(), name, name.as_bytes()));
    let files: [(&str, &Path); 3] =
        [("/EFI/BOOT/BOOTX64.EFI", &unified), ("/first", &disks[0]), ("/second", &disks[1])];
    // no gap: it says so
    let Some(disk) = disk(dir.path(), "disk", &files) else { return };
    drive(&mut command, &disk);
    let mut machine = Machine::start("unified", command.arg("-no-shutdown"));
    let said = machine.wait_for("TINY-BOOT-OK\n");
    drop(machine);
    assert!(said.contains(&format!("tiny: command line: {line}\n")) && said.contains(", size 14, "), "{said}");
    // What the files are joined to is measured, and foretold.
    // no gap: it says so
    let Some([register]) = tpm.registers([9]) else { return };
    assert_eq!(register, extended(&[b"first\0\0\0second".to_vec()]));
    let mut command = kimage();
    command.arg("measure").arg(&unified).args(["--pcr", "9", "--bank", "sha256"]);
    command.arg("--initrd").arg(&disks[0]).arg("--initrd").arg(&disks[1]);
    let foretold = stdout(&run_ok(&mut command));
    assert!(foretold.contains(&format!("9:sha256={register}\n")), "{register}: {foretold}");
}

/// The value of a variable of the firmware's, as it stands in the flash; the last of them counts.
fn variable(flash: &[u8], name: &str) -> Option<u8> {
    // EDK2's header: 0x55aa, state (0x3f: it counts), attributes, counter, time, key, lengths of name and data, vendor; then both.
    const HEADER: usize = 60;
    let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let places = (HEADER..flash.len() - wide.len() - 1).filter(|at| flash[*at..].starts_with(&wide));
    let counts = places.filter(|at| flash[at - HEADER..].starts_with(&[0xaa, 0x55, 0x3f]));
    counts.map(|at| flash[at + wide.len()]).next_back()
}

/// Debian's kernel asks firmware to overwrite the memory at the next start, and so does the stub in its place; the firmware's flash shows it.
#[test]
fn memory_is_overwritten_at_the_next_start() {
    const NAME: &str = "MemoryOverwriteRequestControl";
    let folder = cache().join("sid/usr/share/OVMF");
    let code = folder.join("OVMF_CODE_4M.secboot.fd");
    if !code.is_file() {
        // That of Debian 12 does not know the variable; that without SMM lets nobody write it.
        return missing("no firmware that can overwrite memory (sh tests/fetch-sid.sh)");
    }
    // no gap: it says so
    let Some(linux) = debian_kernel("bookworm-amd64-cloud-amd64") else { return };
    let wide: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read(&linux).windows(wide.len()).any(|found| found == wide), "a kernel that does not ask");
    let dir = tempdir();
    let asks =
        support::make(dir.path(), "asks", "bzimage", &[&linux], &["--cmdline", "console=ttyS0 earlyprintk=ttyS0"]);
    let does_not = image(dir.path(), "none", "built in");
    for (what, image, words) in [("asks", asks, "Linux version "), ("does not", does_not, "TINY-BOOT-OK")] {
        // no gap: it says so
        let Some(mut command) = pc("q35,smm=on") else { return };
        // no gap: it says so
        let Some(tpm) = Tpm::start(&dir.path().join(format!("{what}.tpm"))) else { return };
        tpm.plug(&mut command);
        let variables = dir.path().join(format!("{what}.fd"));
        fs::copy(folder.join("OVMF_VARS_4M.fd"), &variables).unwrap();
        command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={}", code.display()));
        command.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        // no gap: it says so
        let Some(disk) = disk(dir.path(), &format!("{what}.img"), &[("/EFI/BOOT/BOOTX64.EFI", &image)]) else { return };
        drive(&mut command, &disk);
        Machine::start(what, &mut command).wait_for(words);
        // Bit 0: overwrite.
        assert_eq!(variable(&read(&variables), NAME).map(|value| value & 1), Some(u8::from(what == "asks")), "{what}");
    }
}
