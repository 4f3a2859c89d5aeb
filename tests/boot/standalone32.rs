//! Images of 32-bit kernels around kimage's own boot stub start on CPUs of 32 bits, from BIOS and from 32-bit UEFI firmware;
//! what needs a 64-bit CPU says so there.
//!
//! `KIMAGE_FULL=1` boots every codec on every CPU, and Debian's kernel.

use crate::machine::{self, Console, Cpu, Machine, USER_OK, each, initrd};
use crate::standalone_efi::{PAGE, disk, in_memory, program};
use crate::support::{self, Tree, debian_kernel, full, missing, put, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CODECS: [&str; 5] = ["lz4", "gzip", "zstd", "xz", "none"];
/// Neither has long mode. The 32-bit kernel that tests/make-kernels.sh makes is for the first, others are for the second.
const CPUS: [&str; 2] = ["486", "pentium3"];
const ARGS: &str = "console=ttyS0 earlyprintk=ttyS0 panic=-1 no_timer_check";
const CODE: &str = "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF32_VARS_4M.fd";

fn pc(machine: &str, cpu: &str) -> Option<Command> {
    Some(machine::pc(&tool("qemu-system-x86_64", "qemu-system-x86")?, machine, cpu, 1, 128))
}

/// A PC with 32-bit UEFI firmware, which keeps its variables in `dir`.
fn uefi(dir: &Path, cpu: &str) -> Option<Command> {
    if !Path::new(CODE).is_file() {
        missing(&format!("no {CODE} (apt-get install ovmf-ia32)"));
        return None;
    }
    let variables = dir.join(format!("{cpu}.variables"));
    fs::copy(VARIABLES, &variables).unwrap();
    let mut command = pc("q35,smm=on", cpu)?;
    command.args(["-m", "256", "-global", "driver=cfi.pflash01,property=secure,value=on", "-drive"]);
    command.arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}")).arg("-drive");
    command.arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
    Some(command)
}

fn i386() -> Option<&'static Tree> {
    support::tree("i386")
}

fn make(dir: &Path, name: &str, input: &Path, options: &[&str]) -> PathBuf {
    support::make(dir, name, "bzimage", &[input], options)
}

/// The address that the stub said, and by how much it said that the kernel is moved.
fn placed(console: &Console) -> (u64, u64) {
    let words = console.line("kimage: kernel at ").split([' ', ',']);
    let numbers: Vec<u64> = words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect();
    (numbers[0], numbers[1])
}

/// The kernel, moved by chance, is where the stub said: by its own list of memory that is taken.
#[track_caller]
fn is_where_it_was_put(console: &Console) -> u64 {
    let (at, delta) = placed(console);
    assert_eq!(at, 0x100_0000 + delta);
    console.says(&[&format!("[0x{at:08x}-"), USER_OK]).never_says("Kernel panic");
    at
}

#[test]
fn every_codec_to_user_space() {
    let (Some(tree), Some(_)) = (i386(), pc("pc", "486")) else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::I386));
    let mut jobs = Vec::new();
    for (index, codec) in CODECS.into_iter().enumerate() {
        let image = make(dir.path(), codec, &tree.unstripped(), &["--compress", codec]);
        let cpus = if full() { &CPUS[..] } else { &CPUS[index % 2..][..1] };
        jobs.extend(cpus.iter().map(|cpu| (image.clone(), *cpu)));
    }
    let places = std::sync::Mutex::new(Vec::new());
    let config = String::from_utf8(tree.read(".config")).unwrap();
    let is_for_486 = config.contains("CONFIG_X86_MINIMUM_CPU_FAMILY=4\n");
    each(&jobs, |(image, cpu)| {
        let mut command = pc("pc", cpu).unwrap();
        command.arg("-kernel").arg(image).arg("-initrd").arg(&ramdisk);
        command.args(["-append", &format!("{ARGS} memblock=debug")]);
        let what = format!("{} on {cpu}", image.file_name().unwrap().display());
        let mut machine = Machine::start(&what, &mut command);
        if *cpu == "486" && !is_for_486 {
            // The boot stub has done its work, the kernel will not.
            machine.wait_for("kimage: kernel at 0x");
        } else {
            places.lock().unwrap().push(is_where_it_was_put(&machine.finish()));
        }
    });
    let places = places.into_inner().unwrap();
    // Of some fifty places, five times the same?
    assert!(places.iter().any(|at| *at != places[0]), "no chance at all: {places:x?}");
}

#[test]
fn from_firmware_of_32_bits() {
    let dir = tempdir();
    let (Some(tree), Some(_)) = (i386(), uefi(dir.path(), "any")) else { return };
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::I386));
    let jobs = if full() { &["pentium3", "Nehalem-v1"][..] } else { &["pentium3"] };
    each(jobs, |cpu| {
        let image = make(dir.path(), cpu, &tree.unstripped(), &["--compress", "xz"]);
        let mut command = uefi(dir.path(), cpu).unwrap();
        command.arg("-kernel").arg(image).arg("-initrd").arg(&ramdisk);
        command.args(["-append", &format!("{ARGS} memblock=debug")]);
        let console = Machine::start(&format!("32-bit firmware, {cpu}"), &mut command).finish();
        console.says(&["efi: EFI v2.", "Secure boot disabled"]).never_says("No EFI runtime");
        is_where_it_was_put(&console);
    });
}

/// An EFI program for 32-bit firmware that has a 64-bit `image` in it, its sections where they are to be in memory, and enters
/// it where its `.compat` says, with its own handle: as systemd-boot does (src/boot/linux.c there).
fn by_compat(image: &[u8]) -> Vec<u8> {
    let mut entry = 0;
    let memory = in_memory(image, |name, bytes| {
        if name == b".compat\0" {
            // An entry of eight bytes, for an i386, and behind it none.
            assert!(bytes.starts_with(&[1, 8, 0x4c, 1]) && bytes[8] == 0);
            entry = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        }
    });
    assert_ne!(entry, 0);
    // call +0; pop eax; add eax, image + entry - 5; jmp eax
    let mut code = b"\xe8\0\0\0\0\x58\x05".to_vec();
    code.extend((PAGE as u32 + entry - 5).to_le_bytes());
    code.extend(b"\xff\xe0");
    code.resize(PAGE, 0);
    code.extend(memory);
    program(0x14c, &code)
}

/// Mixed mode: by the handover protocol, which QEMU's firmware uses, and by the section `.compat`. The kernel calls the
/// firmware. Without long mode, the firmware goes on.
#[test]
fn a_64_bit_kernel_from_firmware_of_32_bits() {
    let dir = tempdir();
    // The one with EFI_MIXED.
    let (Some(tree), Some(_)) = (support::tree("6.12-x86_64"), uefi(dir.path(), "any")) else { return };
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::X86_64));
    let given = make(dir.path(), "given", &tree.unstripped(), &["--efi", "mixed", "--compress", "lz4"]);
    let options = ["--efi", "mixed", "--cmdline", ARGS, "--initrd", ramdisk.to_str().unwrap()];
    let built_in = make(dir.path(), "built-in", &tree.unstripped(), &options);
    let program = put(dir.path(), "program", &by_compat(&support::read(&built_in)));
    // no gap: disk() says so
    let Some(disk) = disk(dir.path(), "disk", &[("/EFI/BOOT/BOOTIA32.EFI", &program)]) else { return };
    each(&["handover", "compat", "no long mode"], |way| {
        let variables = dir.path().join(format!("{way}.firmware"));
        fs::create_dir(&variables).unwrap();
        let mut command = uefi(&variables, if *way == "no long mode" { "pentium3" } else { "Nehalem-v1" }).unwrap();
        match *way {
            "compat" => drop(command.arg("-drive").arg(format!("file={},format=raw", disk.display()))),
            _ => drop(command.arg("-kernel").arg(&given).arg("-initrd").arg(&ramdisk).args(["-append", ARGS])),
        }
        let mut machine = Machine::start(way, &mut command);
        match *way {
            "no long mode" => drop(machine.wait_for("kimage: this kernel needs a 64-bit (x86-64) CPU")),
            _ => {
                let console = machine.finish();
                console.says(&["efi: EFI v2.", "efi: Freeing EFI boot services memory", USER_OK]);
                console.never_says("Kernel panic").never_says("No EFI runtime");
            }
        }
    });
}

/// Who needs long mode says so, on the console, and stops: a 64-bit kernel, and a 32-bit one by the stub for 64-bit CPUs.
#[test]
fn what_needs_64_bits() {
    let (Some(tree), Some(_)) = (i386(), pc("pc", "486")) else { return };
    let dir = tempdir();
    let mut jobs =
        vec![("pentium3", make(dir.path(), "x64", &tree.unstripped(), &["--efi", "x64", "--compress", "lz4"]))];
    if let Some(tree) = support::tree("6.1-x86_64") {
        jobs.push(("486", make(dir.path(), "64", &tree.unstripped(), &["--compress", "lz4"])));
    }
    each(&jobs, |(cpu, image)| {
        let mut command = pc("pc", cpu).unwrap();
        let mut machine = Machine::start(cpu, command.arg("-kernel").arg(image).args(["-append", ARGS]));
        machine.wait_for("kimage: this kernel needs a 64-bit (x86-64) CPU");
    });
}

/// Where the file's byte `at` is in memory, by its program headers (ELF64).
fn loaded_at(elf: &[u8], at: usize) -> u64 {
    let long = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
    let count = u16::from_le_bytes([elf[56], elf[57]]);
    let headers = (0..usize::from(count)).map(|index| long(32) as usize + index * 56).filter(|at| elf[*at] == 1);
    let mut places = headers.map(|header| (long(header + 8), long(header + 24), long(header + 32)));
    let at = at as u64;
    places.find_map(|(offset, to, len)| (offset..offset + len).contains(&at).then(|| at - offset + to)).unwrap()
}

/// CPUs from before CPUID (the 486 before its DX4), on which EFLAGS.ID stays as it is. QEMU has none: a debugger takes the bit
/// away where our code looks at it, in the setup and in the entry of 32 bits.
#[test]
fn on_cpus_without_cpuid() {
    const SETUP_AT: u64 = 0x1_0000;
    // testl $0x200000, %eax in 16 bits; btl $21, %eax
    const LOOKS: [&[u8]; 2] = [b"\x66\xa9\0\0\x20\0", b"\x0f\xba\xe0\x15"];
    const REFUSED: &str = "kimage: this kernel needs a 64-bit (x86-64) CPU";
    let (Some(_), Some(gdb)) = (pc("pc", "486"), tool("gdb-multiarch", "gdb-multiarch")) else { return };
    let dir = tempdir();
    let find = |image: &Path, what: &[u8]| {
        let bytes = support::read(image);
        let mut found = memchr::memmem::find_iter(&bytes, what);
        let at = found.next().unwrap();
        assert!(found.all(|other| other > 0x8000), "{}", image.display());
        (bytes, at)
    };
    let mut jobs = Vec::new();
    if let Some(tree) = support::tree("6.1-x86_64") {
        let image = make(dir.path(), "64", &tree.unstripped(), &["--compress", "lz4"]);
        let (_, at) = find(&image, LOOKS[0]);
        jobs.push((image, SETUP_AT + at as u64, REFUSED));
        let image =
            support::make(dir.path(), "elf", "elf", &[&tree.unstripped()], &["--class", "64", "--compress", "lz4"]);
        let (bytes, at) = find(&image, LOOKS[1]);
        jobs.push((image, loaded_at(&bytes, at), REFUSED));
    }
    if let Some(tree) = i386() {
        let image = make(dir.path(), "32", &tree.unstripped(), &["--compress", "lz4"]);
        let (_, at) = find(&image, LOOKS[0]);
        jobs.push((image, SETUP_AT + at as u64, "kimage: kernel at 0x"));
    }
    each(&jobs, |(image, place, says)| {
        let socket = image.with_extension("gdb");
        let mut command = pc("pc", "486").unwrap();
        command.arg("-kernel").arg(image).args(["-append", ARGS, "-S", "-gdb", "chardev:gdb", "-chardev"]);
        command.arg(format!("socket,id=gdb,server=on,wait=off,path={}", socket.display()));
        let mut machine = Machine::start(says, &mut command);
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut debugger = Command::new(&gdb);
        debugger.args(["-nx", "-batch", "-ex"]).arg(format!("target remote {}", socket.display()));
        for step in
            [&format!("hbreak *{place:#x}"), "continue", "print $eax & 0x200000", "set $rax = 0", "delete", "detach"]
        {
            debugger.args(["-ex", step]);
        }
        let said = support::stdout(&support::run_ok(&mut debugger));
        // It had the bit.
        assert!(said.contains(&format!("= {}", 0x20_0000)), "{says}: {said}");
        machine.wait_for(says);
    });
}

/// A 32-bit kernel on a machine that has too little memory for it, by BIOS and by an ELF file's entry.
#[test]
fn too_little_memory() {
    let (Some(tree), Some(_)) = (i386(), pc("pc", "486")) else { return };
    let dir = tempdir();
    let bzimage = make(dir.path(), "bzImage", &tree.unstripped(), &["--compress", "lz4"]);
    let elf = support::make(dir.path(), "elf", "elf", &[&tree.unstripped()], &["--compress", "lz4"]);
    each(&[bzimage, elf], |image| {
        let mut command = pc("pc", "486").unwrap();
        command.args(["-m", "17"]).arg("-kernel").arg(image).args(["-append", ARGS]);
        Machine::start("17 MiB", &mut command).wait_for("kimage: not enough RAM");
    });
}

/// A distribution's kernel, out of its own image.
#[test]
fn debians_kernel() {
    if !full() {
        return; // no gap: a long boot, of what every_codec_to_user_space does with a small kernel
    }
    let (Some(kernel), Some(_)) = (debian_kernel("bookworm-i386-686"), pc("pc", "pentium3")) else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::I386));
    let image = make(dir.path(), "image", &kernel, &["--compress", "lz4"]);
    let mut command = pc("pc", "pentium3").unwrap();
    command.arg("-kernel").arg(image).arg("-initrd").arg(&ramdisk);
    command.args(["-append", &format!("{ARGS} memblock=debug")]);
    is_where_it_was_put(&Machine::start("Debian's 686", &mut command).finish());
}
