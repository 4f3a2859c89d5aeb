//! kimage's own boot stub and systemd's in the same boot: what they tell the kernel, user space and the TPM is the same.

use crate::machine::Machine;
use crate::measure::{kernel, program_of};
use crate::standalone_efi::{disk, drive, noise, program, uefi};
use crate::support::{cache, kimage, missing, put, read, run_ok, stdout, tempdir, tool};
use crate::unified::{Tpm, with};
use kimage::codec::Codec;
use kimage::internals::unified_program;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The stub of tests/fetch-ukify.sh.
fn stub() -> Option<Vec<u8>> {
    let stub = cache().join("ukify/usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    if !stub.is_file() {
        missing("no stub of systemd 257 (sh tests/fetch-ukify.sh)");
        return None;
    }
    Some(read(&stub))
}

/// tests/boot/told.c as a kernel.
fn told(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/told.c");
    let kernel = dir.join("told.elf");
    let mut command = Command::new(tool("cc", "gcc")?);
    command.args(["-Os", "-ffreestanding", "-fno-pic", "-no-pie", "-fno-stack-protector", "-mno-red-zone"]);
    command.args(["-mgeneral-regs-only", "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-DKERNEL"]);
    command.args(["-nostdlib", "-static", "-Wl,-N,-Ttext=0x200000,--build-id=none", "-o"]).arg(&kernel);
    run_ok(command.arg(source));
    Some(kernel)
}

const UUID: &str = "01234567-89AB-4CDE-8F01-23456789ABCD";

/// A disk with a partition of that UUID, which holds these files.
fn partitioned(dir: &Path, name: &str, files: &[(&str, &Path)]) -> Option<PathBuf> {
    const SECTORS: u64 = 2048;
    let sfdisk = tool("sfdisk", "fdisk")?;
    let inner = disk(dir, &format!("{name}.fat"), files)?;
    let whole = dir.join(name);
    let len = fs::metadata(&inner).unwrap().len();
    fs::File::create(&whole).unwrap().set_len(len + 2 * SECTORS * 512).unwrap();
    let mut command = Command::new(sfdisk);
    command.arg("-q").arg(&whole).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let table = format!("label: gpt\nstart={SECTORS}, size={}, type=U, uuid={UUID}\n", len / 512);
    child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "sfdisk");
    let mut copy = Command::new("dd");
    copy.arg(format!("if={}", inner.display())).arg(format!("of={}", whole.display()));
    run_ok(copy.args([&format!("seek={SECTORS}"), "conv=notrunc,sparse", "status=none", "bs=512"]));
    Some(whole)
}

/// What was said, by its first word.
fn said(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((word, rest)) = line.trim_end().split_once(' ') {
            said.entry(word).or_default().push(rest);
        }
    }
    said
}

fn hex(text: &str) -> String {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// An image with a boot counter in its name, beside which lie addons of every kind, credentials and extensions, started by the firmware's
/// shell with words: RAM disk, command line, the log's events of the registers 11, 12 and 13, and variables are those of systemd's stub;
/// and `measure` has foretold the registers.
#[test]
fn the_same_as_by_systemds_stub() {
    // no gap: it says so
    let Some(_) = uefi() else { return };
    // no gap: it says so
    let Some(stub) = stub() else { return };
    let dir = tempdir();
    // no gap: it says so
    let (Some(elf), Some(program_kernel)) = (told(dir.path()), kernel(dir.path(), "told.c", &[])) else { return };
    let (ramdisk, _) = noise(21, 1_001);
    let sections: [(&str, &[u8]); 8] = [
        (".osrel", b"ID=test\n"),
        (".cmdline", b"of the image"),
        (".initrd", &ramdisk),
        (".ucode", b"microcode of the image"),
        (".uname", b"6.1"),
        (".pcrpkey", b"key"),
        (".pcrsig", b"{}"),
        (".profile", b"ID=main\n"),
    ];
    let own = with(unified_program(&read(&elf), Codec::Zstd).unwrap(), &sections);
    let theirs = with(stub, &[&[(".linux", &program_of(&program_kernel)[..])], &sections[..]].concat());
    let addon =
        |name: &str, sections: &[(&str, &[u8])]| put(dir.path(), name, &with(program(0x8664, b"\xc3"), sections));
    let folder = "/EFI/Linux/told.efi.extra.d";
    let (large, _) = noise(22, 1 << 20);
    let beside = [
        (
            "/loader/addons",
            "g.addon.efi",
            "global-addon",
            addon("g.addon.efi", &[(".cmdline", b"global"), (".ucode", b"ucode g")]),
        ),
        (folder, "a.addon.efi", "addon", addon("a.addon.efi", &[(".cmdline", b" words "), (".initrd", b"disk of a")])),
        (folder, "B.addon.efi", "addon", addon("B.addon.efi", &[(".ucode", b"ucode b"), (".uname", b"6.1")])),
        (folder, "c.addon.efi", "addon", addon("c.addon.efi", &[(".initrd", b"disk of c!"), (".ucode", b"ucode c")])),
        (folder, "other.addon.efi", "addon", addon("other.addon.efi", &[(".initrd", b"lost"), (".uname", b"6.2")])),
        (folder, "x.cred", "credential", put(dir.path(), "x.cred", b"credential x")),
        (folder, "Empty.cred", "credential", put(dir.path(), "Empty.cred", b"")),
        ("/loader/credentials", "g.cred", "global-credential", put(dir.path(), "g.cred", b"global credential")),
        (folder, "s.raw", "sysext", put(dir.path(), "s.raw", &large)),
        (folder, "c.confext.raw", "confext", put(dir.path(), "c.confext.raw", b"confext")),
    ];
    let script = put(dir.path(), "startup.nsh", b"fs0:\\EFI\\Linux\\told+3-1.efi from outside\r\n");
    let mut results = Vec::new();
    for (name, image) in [("kimage", &own), ("systemd", &theirs)] {
        let image = put(dir.path(), &format!("{name}.efi"), image);
        let mut files = vec![("/startup.nsh".to_owned(), &*script), ("/EFI/Linux/told+3-1.efi".to_owned(), &*image)];
        files.extend(beside.iter().map(|(folder, name, _, file)| (format!("{folder}/{name}"), &**file)));
        let files: Vec<(&str, &Path)> = files.iter().map(|(path, file)| (&path[..], *file)).collect();
        // no gap: it says so
        let Some(disk) = partitioned(dir.path(), &format!("{name}.img"), &files) else { return };
        // no gap: it says so
        let Some(tpm) = Tpm::start(&dir.path().join(format!("{name}.tpm"))) else { return };
        let mut command = uefi().unwrap();
        tpm.plug(&mut command);
        drive(&mut command, &disk);
        command.arg("-no-shutdown");
        let mut machine = Machine::start(name, &mut command);
        let text = machine.wait_for("that is all");
        drop(machine);
        let mut command = kimage();
        command.arg("measure").arg(&image).args(["--bank", "sha256", "--phase", ":", "--cmdline", "from outside"]);
        for (_, _, option, file) in &beside {
            command.arg(format!("--{option}")).arg(file);
        }
        let foretold = stdout(&run_ok(command.args(["--pcr", "11", "--pcr", "12", "--pcr", "13"])));
        // no gap: it says so
        let Some(registers) = tpm.registers([11, 12, 13]) else { return };
        for (number, value) in [11, 12, 13].into_iter().zip(registers) {
            let line = format!("{number}:sha256={value}");
            assert!(foretold.contains(&line), "{name}: {line}, but {foretold}{text}");
        }
        results.push(text);
    }
    let [own, theirs] = [said(&results[0]), said(&results[1])];
    assert!(results[0].contains("kimage: this addon is left out: other.addon.efi"), "{}", results[0]);
    for word in ["command", "disk"] {
        assert_eq!(own[word], theirs[word], "{}\n{}", results[0], results[1]);
    }
    assert_eq!(own["command"], ["line: from outside global words"]);
    // Kernels and SBAT are different ones.
    let events = |said: &BTreeMap<&str, Vec<&str>>| -> Vec<String> {
        let differ = [".linux", ".sbat"].map(hex);
        let events = said["event"].iter().filter(|event| !differ.iter().any(|one| event.ends_with(one)));
        events.map(|event| (*event).to_owned()).collect()
    };
    assert_eq!(events(&own), events(&theirs));
    assert!(events(&own).len() > 20, "{}", results[0]);
    let variables = |said: &BTreeMap<&str, Vec<&str>>| -> BTreeMap<String, String> {
        let pairs = said["variable"].iter().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let (own, theirs) = (variables(&own), variables(&theirs));
    for (name, value) in &own {
        match &name[..] {
            "StubInfo" => {
                assert!(value.starts_with(&format!("06 {}", hex("kimage ").trim_end_matches("0000"))), "{value}")
            }
            "StubFeatures" => {
                let bits = |value: &str| u64::from_str_radix(&value[3..], 16).unwrap().swap_bytes();
                assert_eq!(bits(value) & !bits(&theirs[name]), 0, "{value} {}", theirs[name]);
            }
            // Systemd's from 258 on; the simulated TPM has SHA-1, SHA-256, SHA-384 and SHA-512.
            "LoaderTpm2ActivePcrBanks" => assert_eq!(*value, format!("06 {}", hex("0x0000000f"))),
            // Systemd 257's has measured words, too, but an empty folder of the kind that is looked into last makes it forget that.
            "StubPcrKernelParameters" => assert_eq!(*value, format!("06 {}", hex("12"))),
            _ => assert_eq!(Some(value), theirs.get(name), "{name}"),
        }
    }
    let lacking: Vec<_> = theirs.keys().filter(|name| !own.contains_key(*name)).collect();
    assert_eq!(lacking, Vec::<&String>::new(), "{theirs:?}");
    assert!(own["StubDevicePartUUID"].ends_with(&hex(UUID)));
}
