//! The PE header of images around kimage's own boot stub, by the rules of strict firmware, and as other tools read it.

use crate::simulated::{Load, elf};
use crate::support::{kimage, read, run, run_ok, stderr, stdout, tempdir, testdata, tool, tree, trees};
use goblin::pe::PE;
use goblin::pe::section_table::{IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_READ, IMAGE_SCN_MEM_WRITE};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SBAT: &[u8] = b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";

fn make(dir: &Path, name: &str, inputs: &[&Path], options: &[&str]) -> PathBuf {
    run_ok(kimage().current_dir(dir).arg("bzimage").args(inputs).args(options).args(["--quiet", "-o", name]));
    dir.join(name)
}

/// Images that differ in what the header says.
fn images(dir: &Path) -> Vec<PathBuf> {
    let kernel = testdata("tiny/kernel");
    fs::write(dir.join("sbat.csv"), SBAT).unwrap();
    fs::write(dir.join("disk"), [7; 4097]).unwrap();
    let mut images: Vec<_> = ["lz4", "gzip", "zstd", "xz", "none"]
        .iter()
        .map(|codec| make(dir, codec, &[&kernel], &["--compress", codec]))
        .collect();
    let all = ["--sbat", "sbat.csv", "--cmdline", "text", "--initrd", "disk"];
    images.push(make(dir, "with-sbat", &[&kernel], &all));
    // A 32-bit kernel: for 32-bit firmware, or for 64-bit firmware.
    let narrow = dir.join("kernel32");
    let load = Load { vaddr: 0x20_0000, paddr: 0x20_0000, bytes: vec![0x90; 5000], memsz: 9000 };
    fs::write(&narrow, elf(false, 0x20_0000, &[load])).unwrap();
    images.push(make(dir, "ia32", &[&narrow], &all));
    images.push(make(dir, "ia32-x64", &[&narrow], &["--efi", "x64"]));
    images.push(make(dir, "mixed", &[&kernel], &[&all[..], &["--efi", "mixed"]].concat()));
    // The oldest and the newest.
    let trees = trees("x86-64", |tree| tree.name.contains("x86_64"));
    for tree in trees.iter().take(1).chain(trees.iter().skip(1).last()) {
        let (vmlinux, setup) = (tree.path("vmlinux"), tree.path("arch/x86/boot/setup.bin"));
        images.push(make(dir, &tree.name, &[&vmlinux, &setup], &["--compress", "lz4", "--sbat", "sbat.csv"]));
    }
    images
}

/// What EDK II, shim and sbsign ask of a PE file, each at its strictest.
fn check(what: &str, bytes: &[u8]) {
    let pe = PE::parse(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let optional = pe.header.optional_header.unwrap();
    let (standard, windows) = (optional.standard_fields, optional.windows_fields);
    let (machine, magic) = if what == "ia32" { (0x14c, 0x10b) } else { (0x8664, 0x20b) };
    assert_eq!((pe.header.coff_header.machine, standard.magic), (machine, magic), "{what}");
    assert_eq!(windows.number_of_rva_and_sizes, 6, "{what}");
    assert_eq!(pe.header.coff_header.characteristics & 1, 0, "{what}: relocations stripped");
    assert_eq!((windows.section_alignment, windows.file_alignment), (0x1000, 0x200), "{what}");
    assert_eq!(windows.subsystem, 10, "{what}");
    assert_ne!(windows.dll_characteristics & 0x100, 0, "{what}: NX_COMPAT");
    assert_eq!(windows.image_base, 0, "{what}");
    assert_eq!((windows.major_image_version, windows.minor_image_version), (3, 0), "{what}");
    assert_eq!(bytes[0x38..0x3c], [0xcd, 0x23, 0x82, 0x81], "{what}: LINUX_PE_MAGIC");
    let table_end = pe.header.dos_header.pe_pointer as usize
        + 24
        + usize::from(pe.header.coff_header.size_of_optional_header)
        + 40 * pe.sections.len();
    // Eight sections have no room in the boot sector: their header is behind the setup.
    let room = if what == "mixed" { 0x1000 } else { 0x1ef };
    assert!(table_end <= room, "{what}: the header reaches into the setup's");
    assert_eq!(windows.size_of_headers, 0x1000, "{what}");

    let (mut memory, mut file) = (windows.size_of_headers, windows.size_of_headers);
    let mut entry = false;
    for section in &pe.sections {
        let name = section.name().unwrap();
        let (start, len) = (section.virtual_address, section.virtual_size);
        // One behind the other, with no gap that a signature would not cover.
        assert_eq!(start, memory, "{what} {name}");
        assert_eq!(section.pointer_to_raw_data, file, "{what} {name}");
        assert!(start % 0x1000 == 0 && file % 0x200 == 0 && section.size_of_raw_data % 0x200 == 0, "{what} {name}");
        assert!(len != 0 && section.size_of_raw_data <= len.next_multiple_of(0x200), "{what} {name}");
        let flags = section.characteristics;
        assert_ne!(flags & IMAGE_SCN_MEM_READ, 0, "{what} {name}");
        let writes_and_runs = IMAGE_SCN_MEM_WRITE | IMAGE_SCN_MEM_EXECUTE;
        assert_ne!(flags & writes_and_runs, writes_and_runs, "{what} {name}: writable and executable");
        let is_inside = (start..start + len).contains(&{ standard.address_of_entry_point });
        entry |= is_inside && flags & IMAGE_SCN_MEM_EXECUTE != 0;
        memory = (start + len).next_multiple_of(0x1000);
        file += section.size_of_raw_data;
    }
    assert!(entry, "{what}: the entry point is in no executable section");
    assert_eq!(memory as u64, u64::from(windows.size_of_image), "{what}");
    assert_eq!(file as usize, bytes.len(), "{what}: bytes behind the last section");
    let directories = optional.data_directories.dirs().filter(|(_, dir)| dir.size != 0 || dir.virtual_address != 0);
    assert_eq!(directories.count(), 0, "{what}");
}

#[test]
fn strict_firmware_takes_it() {
    let dir = tempdir();
    for image in images(dir.path()) {
        let bytes = read(&image);
        let what = image.file_name().unwrap().to_str().unwrap();
        check(what, &bytes);
        // The boot protocol's fields for EFI: in mixed mode alone there is the handover protocol, that of 32-bit firmware.
        let mixed = what == "mixed";
        assert_eq!(bytes[0x264..0x268] != [0; 4], mixed, "{what}: handover_offset");
        assert_eq!(bytes[0x236] & 0b1_1100, if mixed { 0b100 } else { 0 }, "{what}: xloadflags says handover");
    }
    let bytes = read(&dir.path().join("with-sbat"));
    let sections = PE::parse(&bytes).unwrap().sections;
    let sbat = sections.last().unwrap();
    let at = sbat.pointer_to_raw_data as usize;
    assert_eq!((sbat.name().unwrap(), &bytes[at..at + sbat.virtual_size as usize]), (".sbat", SBAT));
}

#[test]
fn without_efi_there_is_no_sign_of_it() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let with = read(&make(dir.path(), "with", &[&kernel], &[]));
    let without = read(&make(dir.path(), "without", &[&kernel], &["--no-efi"]));
    assert!(with.starts_with(b"MZ") && without[..0x1ef].iter().all(|byte| *byte == 0));
    // All the rest is the same.
    assert!(with[0x1ef..] == without[0x1ef..]);
    if let Some(tree) = tree("x86_64") {
        let (vmlinux, setup) = (tree.path("vmlinux"), tree.path("arch/x86/boot/setup.bin"));
        let image = read(&make(dir.path(), "kernel's", &[&vmlinux, &setup], &["--no-efi", "--compress", "lz4"]));
        assert!(!image.starts_with(b"MZ"));
    }
}

#[test]
fn a_crc_and_a_signature_have_one_place() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let output = run(kimage().current_dir(dir.path()).arg("bzimage").arg(&kernel).args(["--crc", "yes"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--crc yes needs --no-efi"), "{}", stderr(&output));
    make(dir.path(), "crc", &[&kernel], &["--crc", "yes", "--no-efi"]);
    let output = run(kimage().current_dir(dir.path()).arg("bzimage").arg(&kernel).args(["--sbat", "x", "--no-efi"]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn other_tools_read_it() {
    let dir = tempdir();
    let images = images(dir.path());
    if tool("grub-file", "grub-common").is_some() {
        for image in &images {
            let kind = if image.ends_with("ia32") { "--is-i386-efi" } else { "--is-x86_64-efi" };
            run_ok(Command::new("grub-file").arg(kind).arg(image));
            run_ok(Command::new("grub-file").arg("--is-x86-linux").arg(image));
        }
        let without = make(dir.path(), "without", &[&testdata("tiny/kernel")], &["--no-efi"]);
        assert!(!run(Command::new("grub-file").arg("--is-x86_64-efi").arg(&without)).status.success());
    }
    if let Some(objdump) = tool("objdump", "binutils") {
        let text = stdout(&run_ok(Command::new(&objdump).args(["-h", "-p"]).arg(dir.path().join("with-sbat"))));
        for words in ["pei-x86-64", "NX_COMPAT", "EFI application", ".text", ".data", ".payload", ".sbat"] {
            assert!(text.contains(words), "no {words}: {text}");
        }
    }
    if tool("sbverify", "sbsigntool").is_some() {
        for image in &images {
            let output = run(Command::new("sbverify").arg("--list").arg(image));
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert!(said.contains("No signature table present"), "{said}");
            assert!(!said.contains("warning"), "{}: {said}", image.display());
        }
    }
}

/// The boot stubs that are committed.
fn stubs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stub/builtin");
    ["lz4", "gzip", "zstd", "xz"].map(|name| folder.join(name).with_extension("elf")).into()
}

/// The firmware's interrupts use our stack and know of no red zone: no code of the stub may write below its stack
/// pointer, not even what the compiler brings along.
#[test]
fn the_stub_has_no_red_zone() {
    let Some(objdump) = tool("objdump", "binutils") else { return };
    for stub in stubs() {
        let code = stdout(&run_ok(Command::new(&objdump).args(["-d", "--no-show-raw-insn"]).arg(&stub)));
        assert!(code.contains("<efi_main>:") && code.contains("(%rsp)"), "{}", stub.display());
        let below = code.lines().find(|line| line.contains("(%rsp") && line.contains("-0x"));
        assert_eq!(below, None, "{}", stub.display());
    }
}

/// Code and data are parted by pages, and nothing that moves stands in the code.
#[test]
fn the_stub_writes_to_no_code() {
    for stub in stubs() {
        let file = read(&stub);
        let elf = goblin::elf::Elf::parse(&file).unwrap();
        let symbol = |name| {
            let mut symbols = elf.syms.iter().filter(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name));
            symbols.next().map(|symbol| symbol.st_value)
        };
        let data_at = symbol("_data").unwrap();
        assert!([data_at, symbol("_end").unwrap(), symbol("_early_end").unwrap()].iter().all(|at| at % 0x1000 == 0));
        for reloc in elf.dynrelas.iter() {
            assert_eq!(reloc.r_type, goblin::elf::reloc::R_X86_64_RELATIVE, "{}", stub.display());
            assert!(reloc.r_offset >= data_at, "{}: {:#x}", stub.display(), reloc.r_offset);
        }
        for segment in
            elf.program_headers.iter().filter(|segment| segment.p_type == goblin::elf::program_header::PT_LOAD)
        {
            assert!(!(segment.is_write() && segment.is_executable()), "{}", stub.display());
        }
        assert!(symbol("efi_pe_entry").is_some_and(|entry| entry < data_at), "{}", stub.display());
    }
}
