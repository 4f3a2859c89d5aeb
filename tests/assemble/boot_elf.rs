//! ELF files for PVH, Multiboot and coreboot: what loaders find in them, by programs that others wrote; what `info`, `extract`
//! and `verify` say of them. tests/boot/matrix.rs starts them.

use crate::elf_builder::{Builder, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS};
use crate::support::{kimage, make, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use kimage::assemble::{ElfRequest, StandaloneRequest, boot_elf};
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use object::{Object, ObjectSegment};
use std::collections::BTreeSet;
use std::process::Command;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The ways in, from their first byte on.
const START: usize = 0x1000;

/// The file of the shipped tiny kernel, and its class.
fn tiny(is_64: bool) -> Vec<u8> {
    let kernel = read(&testdata("tiny/kernel"));
    let initrd = b"a RAM disk";
    let kernel_request =
        StandaloneRequest { cmdline: b"built in", initrd: vec![initrd], ..StandaloneRequest::default() };
    let mut file = Vec::new();
    let request = ElfRequest { kernel: kernel_request, is_64: Some(is_64) };
    boot_elf(&kernel, &request).unwrap().emit(&mut file).unwrap();
    file
}

fn word(file: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap()).into()
}

/// Firecracker's and Cloud Hypervisor's loader puts each byte where the file says, and finds both entries.
#[test]
fn linux_loader_takes_it() {
    let file = tiny(true);
    let memory: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
    let loaded = Elf::load(&memory, None, &mut std::io::Cursor::new(&file), Some(GuestAddress(0x10_0000))).unwrap();
    let object = object::File::parse(&*file).unwrap();
    assert_eq!(loaded.kernel_load.0, object.entry());
    let PvhBootCapability::PvhEntryPresent(pvh) = loaded.pvh_boot_cap else { panic!("no PVH entry") };
    let segment = object.segments().next().unwrap();
    let mut there = vec![0; file.len() - START];
    memory.read_slice(&mut there, GuestAddress(segment.address())).unwrap();
    assert!(there == file[START..]);
    // In 32-bit code: xorl %ecx, %ecx; movl $the magic number of start_info, %eax.
    let at = |address: u64| START + (address - segment.address()) as usize;
    assert_eq!(file[at(object.entry())..][..2], [0x31, 0xc9]);
    assert_eq!(file[at(pvh.0)..][..5], [0xb8, 0x78, 0xc5, 0x6e, 0x33]);
}

/// Multiboot's address fields say the same as the program header, by their meaning in the specification.
#[test]
fn loaders_find_one_place() {
    let dir = tempdir();
    for (is_64, class) in [(true, "64"), (false, "32")] {
        let file = tiny(is_64);
        let [magic, flags, sum] = [0, 4, 8].map(|at| word(&file, START + at));
        assert_eq!((magic, (magic + flags + sum) as u32, flags), (0x1bad_b002, 0, 0x1_0003));
        let [header, load, load_end, bss_end, entry] = [12, 16, 20, 24, 28].map(|at| word(&file, START + at));
        let object = object::File::parse(&*file).unwrap();
        let segment = object.segments().next().unwrap();
        assert_eq!((header, load), (segment.address(), segment.address()));
        assert_eq!((load_end - load, bss_end - load), ((file.len() - START) as u64, segment.size()));
        assert_eq!(entry, object.entry());
        assert_eq!(object.is_64(), is_64);
        // All that the kernel needs, from the RAM that its header asks for on, is in the loader's hands.
        let setup = START + word(&file, memchr::memmem::find(&file, b"kimage\0L").unwrap() + 8) as usize;
        assert_eq!(file[setup + 0x202..][..4], *b"HdrS");
        let (pref, needs) = (word(&file, setup + 0x258), word(&file, setup + 0x260));
        assert!(load < pref && pref + needs <= bss_end, "{load:#x} {pref:#x} {needs:#x} {bss_end:#x}");
        let path = put(dir.path(), class, &file);
        if let Some(grub_file) = tool("grub-file", "grub-common") {
            for kind in ["--is-x86-multiboot", "--is-x86-multiboot2"] {
                run_ok(Command::new(&grub_file).arg(kind).arg(&path));
            }
        }
        if let Some(readelf) = tool("readelf", "binutils") {
            let said = stdout(&run_ok(Command::new(readelf).args(["-hln"]).arg(&path)));
            assert!(said.contains(&format!("ELF{class}")) && said.contains("Xen"), "{said}");
        }
    }
}

/// A kernel that stays at 1 MiB leaves no memory below it: then the file goes behind all that the kernel needs.
#[test]
fn a_kernel_at_one_mib_has_it_behind_itself() {
    let mut kernel = Builder::new(false, false, 3);
    let text = kernel.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x10_0000, &[0x90; 64]);
    kernel.segment(PT_LOAD, text..text + 1, 0x10_0000);
    kernel.entry = 0x10_0000;
    let mut file = Vec::new();
    boot_elf(&kernel.build(), &ElfRequest::default()).unwrap().emit(&mut file).unwrap();
    let setup = START + word(&file, memchr::memmem::find(&file, b"kimage\0L").unwrap() + 8) as usize;
    let (pref, needs, moves) = (word(&file, setup + 0x258), word(&file, setup + 0x260), file[setup + 0x234]);
    assert_eq!((pref, moves), (0x10_0000, 0));
    assert!(word(&file, START + 16) >= pref + needs);
}

/// The kernel, its RAM disk and its command line come out again; so does another image.
#[test]
fn what_is_in_it_comes_out() {
    let dir = tempdir();
    let path = put(dir.path(), "kernel.elf", &tiny(false));
    let extract = |file: &str, part: &str| {
        let output = dir.path().join(part);
        run_ok(kimage().current_dir(&dir).args(["extract", file, part, "-o"]).arg(&output));
        read(&output)
    };
    assert_eq!(extract("kernel.elf", "initramfs"), b"a RAM disk");
    assert_eq!(extract("kernel.elf", "cmdline"), b"built in");
    let kernel = extract("kernel.elf", "vmlinux");
    // Its image, made anew: the same kernel, and nothing else of this file.
    make(dir.path(), "again", "bzimage", &[&path], &["--compress", "xz"]);
    assert!(extract("again", "vmlinux") == kernel);
    let told = stdout(&run_ok(kimage().arg("info").arg(&path)));
    for words in ["multiboot  ", "multiboot2  ", "pvh_entry  ", "boot_stub", "builtin_cmdline"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let map = stdout(&run_ok(kimage().arg("map").arg(&path)));
    for words in ["ELF header", "loaders", "bzimage"] {
        assert!(map.contains(words), "{words}: {map}");
    }
}

/// `edit` changes the bzImage in it, and makes what stands in front for the new one.
#[test]
fn it_is_edited() {
    let dir = tempdir();
    for class in ["32", "64"] {
        let made =
            make(dir.path(), "made", "elf", &[&testdata("tiny/kernel")], &["--class", class, "--cmdline", "one"]);
        let line = "a longer line ".repeat(20);
        let edited = make(dir.path(), "edited", "edit", &[&made], &["--cmdline", &line, "--compress", "xz"]);
        let part = |file, part| run_ok(kimage().arg("extract").arg(file).arg(part)).stdout;
        assert_eq!(part(&edited, "cmdline"), line.as_bytes());
        assert!(part(&edited, "vmlinux") == part(&made, "vmlinux"));
        let told = stdout(&run_ok(kimage().arg("verify").arg(&edited)));
        assert!(!told.contains("elf.boot"), "{told}");
        assert_eq!(object::File::parse(&*read(&edited)).unwrap().is_64(), class == "64");
    }
}

/// Without a codec the file is the kernel, as its segments lie in memory.
#[test]
fn without_a_codec_it_is_the_kernel() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let made = read(&make(dir.path(), "made", "elf", &[&kernel], &["--compress", "none"]));
    let given = read(&kernel);
    let memory = |file: &[u8]| {
        let memory: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        let loaded = Elf::load(&memory, None, &mut std::io::Cursor::new(file), None).unwrap();
        let mut bytes = vec![0; 63 << 20];
        memory.read_slice(&mut bytes, GuestAddress(1 << 20)).unwrap();
        (loaded.kernel_load.0, bytes)
    };
    let ((entry, made), (virtual_entry, given)) = (memory(&made), memory(&given));
    assert!(made == given);
    // The tiny kernel's is a virtual address; what enters it wants the physical one.
    assert_eq!((entry, virtual_entry & 0xffff_ffff), (0x20_0000, 0x20_0000));
    for (option, value, says) in [
        ("--cmdline", "x", "error: --cmdline: a kernel that is loaded as it is has no place for it"),
        ("--initrd", "made", "error: --initrd: a kernel that is loaded as it is has no place for it"),
        (
            "--class",
            "32",
            "error: --class: a kernel that is loaded as it is has the class of its own ELF file, 64 bits",
        ),
    ] {
        let mut command = kimage();
        command.current_dir(&dir).arg("elf").arg(&kernel).args(["--compress", "none", option, value, "-o", "not"]);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(!dir.path().join("not").exists());
    }
}

/// A changed byte in front of the bzImage: of what loaders go by, an error; of the code, a note.
#[test]
fn verify_holds_it_to_its_places() {
    for is_64 in [true, false] {
        let file = tiny(is_64);
        let rules = |file: &[u8]| -> BTreeSet<&str> {
            let opened = open(file, &Limits::default()).unwrap();
            verify(&opened).findings.into_iter().map(|found| found.finding.rule).collect()
        };
        let whole = rules(&file);
        let note = memchr::memmem::find(&file, b"Xen\0").unwrap() + 4;
        let parameters = memchr::memmem::find(&file, b"kimage\0L").unwrap();
        let multiboot2 = memchr::memmem::find(&file, &0xe852_50d6_u32.to_le_bytes()).unwrap();
        for (at, rule) in [
            // Magic numbers, flags, sums and a tag of the Multiboot headers.
            (START, "elf.boot_head"),
            (START + 5, "elf.boot_head"),
            (START + 11, "elf.boot_head"),
            (multiboot2, "elf.boot_head"),
            (multiboot2 + 5, "elf.boot_head"),
            (multiboot2 + 12, "elf.boot_head"),
            (multiboot2 + 16, "elf.boot_head"),
            (START + 12, "elf.boot_head"),
            (START + 24, "elf.boot_head"),
            (note, "elf.boot_head"),
            (parameters + 12, "elf.boot_head"),
            (START + 0x24, "elf.boot_head"),
            (START + 0x800, "elf.boot_program"),
        ] {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            let added: Vec<&str> = rules(&changed).difference(&whole).copied().collect();
            assert_eq!(added, [rule], "{at:#x}");
        }
        // Code of another version, and a header whose sum is wrong.
        let mut other = file.clone();
        [START + 0x800, START + 5].iter().for_each(|at| other[*at] ^= 0x10);
        let added: Vec<&str> = rules(&other).difference(&whole).copied().collect();
        assert_eq!(added, ["elf.boot_head", "elf.boot_program"]);
        assert!(!whole.iter().any(|rule| rule.starts_with("elf.boot")), "{whole:?}");
    }
}

/// Cut off anywhere, or with any byte of headers and parameters changed: nothing panics, and nothing is called whole that is not.
#[test]
fn damage_is_borne() {
    let file = tiny(true);
    let look = |bytes: &[u8]| {
        let Ok(opened) = open(bytes, &Limits::default()) else { return }; // no gap: an error is an answer
        verify(&opened);
        kimage::inspect::map::map(&opened);
    };
    let parameters = memchr::memmem::find(&file, b"kimage\0L").unwrap();
    for at in (0..64).chain([64, 72, 80, 96, 104, 112]).chain(parameters..parameters + 16) {
        let mut changed = file.clone();
        changed[at] ^= 0xff;
        look(&changed);
    }
    for len in (0..300).step_by(23).chain(START - 2..START + 200).step_by(11).chain([file.len() / 2, file.len() - 1]) {
        look(&file[..len]);
    }
    let opened = open(&file[..file.len() - 1], &Limits::default()).unwrap();
    assert!(verify(&opened).findings.iter().any(|found| found.finding.rule == "elf.segments"));
}
