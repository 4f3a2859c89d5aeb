//! `-j` and `--set-section-flags`, spelled and meant as objcopy's; stray sections and notes that a linker misplaced.

use super::*;

const SOURCE: &str = "\
.globl _start
.text
_start: nop
.data
.long 1, 2, 3
.section .rodata, \"a\"
.asciz \"rodata\"
.section .noload, \"aw\", @nobits
.zero 36
.bss
.zero 400
.section .remark, \"\"
.ascii \"not loaded\"
";

/// Links `source` with a linker script; `None` without the tools.
fn linked(dir: &Path, source: &str, script: &str) -> Option<PathBuf> {
    let (gas, ld) = (tool("as", "binutils")?, tool("ld", "binutils")?);
    let path = |name: &str| dir.join(name);
    fs::write(path("a.s"), source).unwrap();
    fs::write(path("a.ld"), script).unwrap();
    run_ok(Command::new(gas).arg("--64").arg(path("a.s")).arg("-o").arg(path("a.o")));
    let mut link = Command::new(ld);
    link.args(["-m", "elf_x86_64", "-nostdlib", "--build-id=none", "-T"]).arg(path("a.ld"));
    run_ok(link.arg(path("a.o")).arg("-o").arg(path("a.elf")));
    Some(path("a.elf"))
}

#[test]
fn sections_by_name_and_by_flag() {
    let dir = tempdir();
    let script = "SECTIONS { . = 0x1000; .text : { *(.text) } .rodata : { *(.rodata) } .noload : { *(.noload) } \
                  .data : { *(.data) } .bss : { *(.bss) } }";
    let (Some(objcopy), Some(elf)) = (objcopy(), linked(dir.path(), SOURCE, script)) else { return };
    let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
    let mut sizes = Vec::new();
    for options in [
        &["-j", ".text"][..],
        &["-j", ".text", "-j", ".data"],
        &["--only-section=.*data", "-R", ".text"],
        &["--set-section-flags", ".bss=alloc,load,contents"],
        &[
            "--set-section-flags",
            ".bss=alloc,load,contents,readonly",
            "--set-section-flags",
            ".noload=alloc,load,contents",
        ],
        &["--set-section-flags", ".bss=alloc"],
        &["--set-section-flags", ".data=noload,alloc,load,contents"],
        &["--set-section-flags", ".rodata=alloc,load", "-j", ".rodata", "-j", ".text"],
        &["--set-section-flags", ".data=alloc,contents"],
    ] {
        run_ok(Command::new(&objcopy).args(["-O", "binary"]).args(options).arg(&elf).arg(&theirs));
        run_ok(kimage().args(["image", "-q"]).args(options).arg(&elf).arg("-o").arg(&ours));
        assert_same(&format!("{options:?}"), &read(&ours), &read(&theirs));
        sizes.push(read(&ours).len());
    }
    assert!(sizes.iter().max() > sizes.iter().min(), "{sizes:?}");
    let output = run(kimage().args(["image", "--set-section-flags", ".bss=loud"]).arg(&elf));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("loud is no flag"), "{}", stderr(&output));
}

/// Some binutils put a loaded note far away into setup.elf, or just behind it: the message names it, and does not speak of
/// the order of files or of options that `bzimage` does not have.
#[test]
fn a_stray_section_in_the_setup_is_named() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    fs::write(dir.path().join("note"), [0; 48]).unwrap();
    let setup = dir.path().join("setup.elf");
    let section = ".note.gnu.property";
    for address in ["0x8000", "0x8000000"] {
        run_ok(
            Command::new(&objcopy)
                .arg("--add-section")
                .arg(format!("{section}={}", dir.path().join("note").display()))
                .args(["--set-section-flags", &format!("{section}=alloc,load,readonly,data")])
                .args(["--change-section-address", &format!("{section}={address}")])
                .arg(tiny("setup.elf"))
                .arg(&setup),
        );
        let output = run(kimage().arg("bzimage").arg(tiny("vmlinux")).arg(&setup).arg("-o").arg(dir.path().join("b")));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(section) && text.contains("objcopy -R"), "{text}");
        assert!(!text.contains("order") && !text.contains("--"), "{text}");
        assert!(!dir.path().join("b").exists());
    }
}

/// A property note of 8-byte alignment in one segment with notes of 4: readelf warns, and so does verify; without it both
/// are silent, and the PVH entry is found.
#[test]
fn notes_that_nobody_can_read_on() {
    let source = "\
.globl _start
_start: hlt
.section .note.gnu.property,\"a\",@note
.p2align 3
.long 4, 16, 5
.asciz \"GNU\"
.long 0xc0010002, 4, 3, 0
.section .note.Linux,\"a\",@note
.p2align 2
.long 6, 4, 0x101
.asciz \"Linux\"
.p2align 2
.long 0
.section .note.Xen,\"a\",@note
.p2align 2
.long 4, 4, 18
.asciz \"Xen\"
.long 0x100000
";
    let script = |property: &str| {
        format!(
            "ENTRY(_start) PHDRS {{ text PT_LOAD FLAGS(5); note PT_NOTE FLAGS(4); }} SECTIONS {{ . = 0x100000; \
             .text : {{ *(.text) }} :text .notes : {{ {property} *(.note.Linux) *(.note.Xen) }} :text :note \
             /DISCARD/ : {{ *(.note.gnu.property) }} }}"
        )
    };
    let Some(readelf) = tool("readelf", "binutils") else { return };
    let dir = tempdir();
    for (property, readable) in [("", true), ("*(.note.gnu.property)", false)] {
        let Some(elf) = linked(dir.path(), source, &script(property)) else { return };
        let theirs = run(Command::new(&readelf).arg("-n").arg(&elf));
        assert_eq!(stderr(&theirs).contains("Warning"), !readable, "{}", stderr(&theirs));
        let verified = run(kimage().arg("verify").arg(&elf));
        assert_eq!(stdout(&verified).contains("[elf.notes]"), !readable, "{}", stdout(&verified));
        // What boots is not called bad.
        assert_eq!(verified.status.code(), Some(0));
        let info = run_ok(kimage().arg("info").arg(&elf));
        assert_eq!(stdout(&info).contains("pvh_entry"), readable, "{}", stdout(&info));
    }
}
