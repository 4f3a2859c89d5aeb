//! The parts of containers that hold more than a kernel: UKIs, their addons and profiles, boot images; and fields that
//! several layers of a file have.

use crate::files;
use crate::support::{self, assert_same, kimage, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

fn extract(path: &Path, part: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(part)).stdout
}

fn list(path: &Path) -> String {
    stdout(&run_ok(kimage().arg("extract").arg(path)))
}

fn field(path: &Path, name: &str) -> Result<String, String> {
    let output = run(kimage().arg("info").arg(path).args(["--field", name]));
    if output.status.success() { Ok(stdout(&output).trim().to_owned()) } else { Err(stderr(&output)) }
}

/// systemd's stub with sections as objcopy adds them; the same section more than once needs another tool.
fn with_sections(dir: &Path, sections: &[(&str, &[u8])]) -> Option<PathBuf> {
    let objcopy = tool("objcopy", "binutils")?;
    if !Path::new(STUB).is_file() {
        support::missing("no systemd stub (apt-get install systemd-boot-efi)");
        return None;
    }
    let mut command = Command::new(objcopy);
    for (index, (name, bytes)) in sections.iter().enumerate() {
        let file = dir.join(format!("section{index}"));
        fs::write(&file, bytes).unwrap();
        command.args(["--add-section", &format!("{name}={}", file.display())]);
        command.args(["--change-section-vma", &format!("{name}={:#x}", 0x100_0000 + index * 0x20_0000)]);
    }
    let out = dir.join("out.efi");
    run_ok(command.args([Path::new(STUB), &out]));
    Some(out)
}

#[test]
fn every_section_of_a_uki_is_a_part() {
    let ucode = files::cpio();
    let sections: [(&str, &str, &[u8]); 10] = [
        (".osrel", "osrel", b"ID=tiny\n"),
        (".cmdline", "cmdline", b"root=x"),
        (".uname", "uname", b"6.6.1"),
        (".ucode", "ucode", &ucode),
        (".splash", "splash", b"BM a picture\0of bytes"),
        (".pcrsig", "pcrsig", b"{\"sha256\":[]}"),
        (".pcrpkey", "pcrpkey", b"-----BEGIN PUBLIC KEY-----\n"),
        (".hwids", "hwids", b"\x01\0\0\0identifiers"),
        (".linux", "kernel", b"\x7fELF no, just bytes"),
        (".profile", "profile[0]", b"ID=main\nTITLE=\"The usual\"\n"),
    ];
    let dir = tempdir();
    let added: Vec<_> = sections.iter().map(|(name, _, bytes)| (*name, *bytes)).collect();
    let Some(uki) = with_sections(dir.path(), &added) else { return };
    for (name, part, bytes) in sections {
        // objcopy pads what it adds; what stands in the file is what was given.
        assert_same(name, &extract(&uki, part), bytes);
    }
    assert_eq!(field(&uki, "profiles").unwrap(), "profile=0 id=main title=The usual");
}

/// A base profile, and two further ones, as ukify --join-profile writes them.
#[test]
fn profiles_name_their_parts() {
    let one = files::dtb();
    let sections: [(&str, &[u8]); 9] = [
        (".linux", b"a kernel"),
        (".cmdline", b"base"),
        (".dtbauto", &one),
        (".dtbauto", &one),
        (".profile", b"ID=main\n"),
        (".profile", b"ID=debug\n"),
        (".cmdline", b"debug"),
        (".profile", b"ID=reset\nTITLE=Factory reset\n"),
        (".cmdline", b"reset"),
    ];
    let dir = tempdir();
    let path = dir.path().join("uki.efi");
    fs::write(&path, files::pe(&[], &sections)).unwrap();
    let list = list(&path);
    for (part, bytes, of) in [
        ("cmdline", "base", ""),
        ("cmdline[1]", "debug", "of profile 1 (debug)"),
        ("cmdline[2]", "reset", "of profile 2 (reset)"),
        ("profile[2]", "ID=reset\nTITLE=Factory reset\n", "of profile 2 (reset)"),
    ] {
        assert_same(part, &extract(&path, part), bytes.as_bytes());
        let line = list.lines().find(|line| line.split(' ').next() == Some(part)).unwrap();
        assert!(line.ends_with(of) && of.is_empty() != line.contains("profile "), "{line}");
    }
    assert_same("dtbauto", &extract(&path, "dtbauto[1]"), &one);
    assert!(field(&path, "profiles").unwrap().contains("id=reset title=Factory reset cmdline=reset"));
}

#[test]
fn addons_are_named() {
    let dir = tempdir();
    let sections = [(".cmdline", &b"extra=1\0"[..]), (".initrd", &files::cpio()), (".dtb", &files::dtb())];
    let Some(addon) = with_sections(dir.path(), &sections) else { return };
    let info = stdout(&run_ok(kimage().arg("info").arg(&addon)));
    assert!(info.lines().next().unwrap().contains("UKI addon"), "{info}");
    assert_eq!(extract(&addon, "cmdline"), b"extra=1");
    assert_same("initramfs", &extract(&addon, "initramfs"), &files::cpio());
    assert_same("dtb", &extract(&addon, "dtb[0]"), &files::dtb());
    // The stub alone is none.
    let info = stdout(&run_ok(kimage().arg("info").arg(STUB)));
    assert!(!info.contains("addon"), "{info}");
}

/// A stub is linked with a sum, and what adds sections leaves it as it was.
#[test]
fn a_stale_sum_of_an_unsigned_image_is_a_warning() {
    let dir = tempdir();
    let path = dir.path().join("stale.efi");
    let mut file = files::uki();
    file[64 + 24 + 64..][..4].copy_from_slice(&0x12345_u32.to_le_bytes());
    fs::write(&path, file).unwrap();
    let text = stdout(&run(kimage().arg("verify").arg(&path)));
    assert!(text.contains("warning: CheckSum: found 0x12345") && !text.contains("was signed"), "{text}");
}

/// The outermost layer has the word, and of layers side by side one must be named.
#[test]
fn fields_are_looked_up_from_the_outside_in() {
    let dir = tempdir();
    let path = dir.path().join("file");
    // A UKI whose kernel is an EFI application, too: both have a digest, and the inner one is another.
    let kernel = files::zboot();
    fs::write(&path, &kernel).unwrap();
    let inner = field(&path, "authenticode_sha256").unwrap();
    let initrd = files::packed(kimage::codec::Codec::Xz, &files::cpio());
    fs::write(&path, files::pe(&[], &[(".cmdline", b"x"), (".linux", &kernel), (".initrd", &initrd)])).unwrap();
    let outer = field(&path, "authenticode_sha256").unwrap();
    assert_ne!(outer, inner);
    assert_eq!(field(&path, "file.authenticode_sha256").unwrap(), outer);
    assert_eq!(field(&path, "kernel.authenticode_sha256").unwrap(), inner);
    let info = stdout(&run_ok(kimage().arg("info").arg(&path)));
    let first = info.lines().find(|line| line.trim_start().starts_with("authenticode_sha256")).unwrap();
    assert!(first.contains(&outer), "{first}");
    // Kernel and RAM disk are compressed by different codecs: neither holds the other.
    let error = field(&path, "codec").unwrap_err();
    assert!(error.contains("give one of kernel.payload.codec, initrd.codec"), "{error}");
    assert_eq!(field(&path, "payload.codec").unwrap(), "gzip");
    assert_eq!(field(&path, "kernel.payload.codec").unwrap(), "gzip");
    assert_eq!(field(&path, "initrd.codec").unwrap(), "xz");
    assert_eq!(field(&path, "release").unwrap(), "6.1.0-tiny");
    assert!(field(&path, "cmdline.codec").unwrap_err().contains("has no field"));
    // The same twice is no matter.
    let initrd = files::gzip(&files::cpio());
    fs::write(&path, files::pe(&[], &[(".linux", &kernel), (".initrd", &initrd)])).unwrap();
    assert_eq!(field(&path, "codec").unwrap(), "gzip");
}

fn image(version: u32, sections: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 2048];
    file[..8].copy_from_slice(b"ANDROID!");
    file[36..40].copy_from_slice(&2048_u32.to_le_bytes());
    file[40..44].copy_from_slice(&version.to_le_bytes());
    for (at, bytes) in sections {
        file[*at..at + 4].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        file.extend_from_slice(bytes);
        file.resize(file.len().next_multiple_of(2048), 0);
    }
    file
}

#[test]
fn parts_of_boot_images() {
    let dir = tempdir();
    let path = dir.path().join("boot.img");
    let (second, dtbo, dtb) = (b"second stage".as_slice(), b"overlays".as_slice(), files::dtb());
    let v2 = [(8, &b"kernel"[..]), (16, b"ramdisk"), (24, second), (1632, dtbo), (1648, &dtb)];
    fs::write(&path, image(2, &v2)).unwrap();
    for (part, bytes) in [("second", second), ("recovery_dtbo", dtbo), ("dtb[0]", &dtb), ("initramfs", b"ramdisk")] {
        assert_same(part, &extract(&path, part), bytes);
    }
    // mkbootimg has a say in what can be made with it here.
    if let Some(mkbootimg) = tool("mkbootimg", "mkbootimg") {
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let mut command = Command::new(mkbootimg);
        command.arg("--kernel").arg(file("k", b"kernel")).arg("--ramdisk").arg(file("r", b"ramdisk"));
        run_ok(command.arg("--second").arg(file("s", second)).arg("-o").arg(&path));
        assert_same("second", &extract(&path, "second"), second);
    }
    // vendor_boot, version 4.
    let vendor = files::all().into_iter().find(|(name, _)| *name == "android-vendor-4").unwrap().1;
    fs::write(&path, vendor).unwrap();
    assert_eq!(extract(&path, "bootconfig"), b"androidboot.tiny=1\n");
    assert_same("fragment", &extract(&path, "initramfs[1]"), &files::gzip(&files::cpio()));
    // Code Aurora's dt_size in the place of the version.
    let mut old = image(0, &[(8, b"kernel"), (16, b"ramdisk")]);
    old[40..44].copy_from_slice(&9_u32.to_le_bytes());
    old.extend(b"the table");
    fs::write(&path, &old).unwrap();
    assert_eq!(extract(&path, "dt"), b"the table");
}

/// Thousands of sections over the same bytes cost no more than one.
#[test]
fn sections_that_share_bytes_are_read_once() {
    let dir = tempdir();
    let path = dir.path().join("shared.efi");
    let archive = files::cpio();
    let mut file = files::pe(&[], &[(".linux", b"kernel"), (".initrd", &archive), (".initrd", b"x")]);
    fs::write(&path, &file).unwrap();
    assert!(list(&path).contains("initramfs[1]"));
    // The third header names the place of the second.
    let header = |index: usize| 64 + 24 + 112 + 40 + 40 * index;
    let place = file[header(1) + 16..header(1) + 24].to_vec();
    file[header(2) + 16..header(2) + 24].copy_from_slice(&place);
    fs::write(&path, &file).unwrap();
    let verified = run(kimage().arg("verify").arg(&path));
    assert!(verified.status.code() == Some(1) && stdout(&verified).contains("[uki.overlap]"), "{}", stdout(&verified));
    assert!(!list(&path).contains("initramfs[1]"));
}

/// What a kernel's linker script puts into sections of its own, as objcopy takes it out: of an ELF file made here, and of
/// Debian's kernel.
#[test]
fn the_parts_of_a_kernels_sections() {
    let (Some(assembler), Some(linker)) = (tool("as", "binutils"), tool("ld", "binutils")) else { return };
    let Some(objcopy) = tool("objcopy", "binutils") else { return };
    const SECTIONS: [(&str, &str); 6] = [
        (".notes", "notes"),
        (".orc_unwind", "orc_unwind"),
        (".orc_unwind_ip", "orc_unwind_ip"),
        (".orc_header", "orc_header"),
        (".modinfo", "modinfo"),
        (".BTF", "btf"),
    ];
    let dir = tempdir();
    let dir = dir.path();
    let same = |elf: &Path, sections: &[(&str, &str)]| {
        for (section, part) in sections {
            let dumped = dir.join("dumped");
            let option = format!("{section}={}", dumped.display());
            run_ok(Command::new(&objcopy).args(["--dump-section", &option]).arg(elf).arg(dir.join("rest")));
            assert_same(part, &extract(elf, part), &fs::read(dumped).unwrap());
        }
    };
    let mut text = String::from(
        ".globl _start\n_start: ret\n.section .rodata\n.ascii \"Linux version 6.6.1 (u@h) #1 SMP\\n\\0\"\n",
    );
    for (section, part) in &SECTIONS[..5] {
        text += &format!(".section {section}, \"a\"\n.asciz \"{part}\"\n");
    }
    // Documentation/bpf/btf.rst: header, an integer of 4 bytes, two strings.
    text += ".section .BTF, \"a\"\n.long 0x1eb9f, 24, 0, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32\n.asciz \"\"\n.asciz \"int\"\n";
    fs::write(dir.join("k.s"), text).unwrap();
    run_ok(Command::new(assembler).current_dir(dir).args(["k.s", "-o", "k.o"]));
    run_ok(Command::new(linker).current_dir(dir).args(["-s", "k.o", "-o", "k"]));
    same(&dir.join("k"), &SECTIONS);
    let Some(kernel) = support::debian_kernel("bookworm-amd64-cloud-amd64") else { return };
    let vmlinux = dir.join("vmlinux");
    run_ok(kimage().arg("extract").arg(kernel).args(["vmlinux", "-o"]).arg(&vmlinux));
    same(&vmlinux, &[SECTIONS[0], SECTIONS[1], SECTIONS[2], SECTIONS[5]]);
}
