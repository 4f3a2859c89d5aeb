//! Images around kimage's own boot stub start from UEFI firmware (OVMF): loaded by it directly, from a FAT disk, from its
//! shell, by GRUB, signed under Secure Boot.
//!
//! `KIMAGE_FULL=1` boots every kernel with every codec.

use crate::machine::{self, Console, Cpu, Machine, USER_OK, each, initrd, x86_cpu};
use crate::support::{self, Tree, full, kimage, missing, put, run, run_ok, stdout, tempdir, testdata, tool, x86_trees};
use crate::unified::Tpm;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CODECS: [&str; 5] = ["lz4", "gzip", "zstd", "xz", "none"];
/// A busy host lets too few of the timer's ticks through for Linux to believe in it: no_timer_check.
pub(super) const ARGS: &str = "console=ttyS0 earlyprintk=ttyS0 panic=-1 no_timer_check";
/// What a kernel says that can call the firmware.
pub(super) const EFI: &str = "efi: EFI v2.";
const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";

pub(super) fn installed(file: &str, package: &str) -> bool {
    let is_there = Path::new(file).is_file();
    if !is_there {
        missing(&format!("no {file} (apt-get install {package})"));
    }
    is_there
}

/// A PC, still without firmware.
pub(super) fn pc(machine: &str) -> Option<Command> {
    Some(machine::pc(&tool("qemu-system-x86_64", "qemu-system-x86")?, machine, "Nehalem-v1", 1, 256))
}

/// A PC with UEFI firmware.
pub(super) fn uefi() -> Option<Command> {
    let mut command = installed(FIRMWARE, "ovmf").then(|| pc("q35"))??;
    command.args(["-bios", FIRMWARE]);
    Some(command)
}

pub(super) fn drive(command: &mut Command, disk: &Path) {
    command.arg("-drive").arg(format!("file={},format=raw", disk.display()));
}

fn make(dir: &Path, name: &str, input: &Path, options: &[&str]) -> PathBuf {
    support::make(dir, name, "bzimage", &[input], options)
}

/// A disk with these files, in folders that it makes.
pub(super) fn disk(dir: &Path, name: &str, files: &[(&str, &Path)]) -> Option<PathBuf> {
    const SECTORS: u64 = 64 << 11;
    for command in ["mformat", "mmd", "mcopy"] {
        tool(command, "mtools")?;
    }
    let disk = dir.join(name);
    fs::File::create(&disk).unwrap().set_len(SECTORS * 512).unwrap();
    let geometry = ["-T", &SECTORS.to_string(), "-h", "16", "-s", "63", "-F", "::"];
    run_ok(Command::new("mformat").arg("-i").arg(&disk).args(geometry));
    let mut folders = Vec::new();
    for (path, file) in files {
        for (at, _) in path.match_indices('/').skip(1) {
            if !folders.contains(&&path[..at]) {
                run_ok(Command::new("mmd").arg("-i").arg(&disk).arg(format!("::{}", &path[..at])));
                folders.push(&path[..at]);
            }
        }
        run_ok(Command::new("mcopy").arg("-i").arg(&disk).arg(file).arg(format!("::{path}")));
    }
    Some(disk)
}

/// A 64-bit kernel of the corpus.
pub(super) fn a_tree() -> Option<&'static Tree> {
    support::tree("6.1-x86_64")
}

/// Bytes that no two files share, and their sum as the tiny kernel prints it.
pub(super) fn noise(seed: u32, len: usize) -> (Vec<u8>, u64) {
    let bytes = support::noise(len, seed.into());
    let sum = bytes.iter().map(|byte| u64::from(*byte)).sum();
    (bytes, sum)
}

pub(super) fn tiny_says(console: &Console, cmdline: &str, len: usize, sum: u64) {
    console.says(&[
        "tiny: data: good\n",
        "tiny: boot parameters: good\n",
        &format!("tiny: command line: {cmdline}\n"),
        "tiny: memory map: good\n",
        &format!(", size {len}, sum of bytes {sum}\n"),
        "TINY-BOOT-OK\n",
    ]);
}

/// QEMU hands the firmware a file system with kernel and initrd, and an initrd to ask for.
#[test]
fn to_user_space() {
    let Some(_) = uefi() else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let ramdisk = put(dir.path(), &format!("{}.cpio", tree.name), &initrd(x86_cpu(tree)));
        for codec in CODECS {
            jobs.push((tree, codec, ramdisk.clone()));
        }
    }
    if !full() {
        // The first and the last kernel, 6.12, and one for 32 bits: each with another codec.
        let (first, last) = (x86_trees().first().map(|tree| &tree.name), x86_trees().last().map(|tree| &tree.name));
        jobs.retain(|(tree, codec, _)| {
            Some(&tree.name) == first && *codec == "lz4"
                || Some(&tree.name) == last && *codec == "zstd"
                || tree.name.contains("-6.12-") && *codec == "xz"
                || x86_cpu(tree) == Cpu::I386 && *codec == "gzip"
        });
    }
    each(&jobs, |(tree, codec, ramdisk)| {
        let what = format!("{}.{codec}", tree.name);
        // A 32-bit kernel would be for 32-bit firmware.
        let image = make(dir.path(), &what, &tree.unstripped(), &["--compress", codec, "--efi", "x64"]);
        let mut command = uefi().unwrap();
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk).args(["-append", ARGS]);
        let console = Machine::start(&what, &mut command).finish();
        let release = kimage::internals::elf::release_in(&tree.read("vmlinux")).unwrap();
        console.says(&[&format!("Linux version {release} "), EFI, "Secure boot disabled", ARGS, USER_OK]);
        console.never_says("Kernel panic").never_says("remapping");
        if x86_cpu(tree) == Cpu::X86_64 {
            // Its stub's own page tables and memory map are good enough to call the firmware.
            console.never_says("No EFI runtime").never_says("EFI runtime memmap");
        }
    });
}

#[test]
fn the_tiny_kernel() {
    let Some(_) = uefi() else { return };
    let dir = tempdir();
    let (disk, sum) = noise(1, 54_321);
    let (other, other_sum) = noise(2, 12_345);
    let (disk, other) = (put(dir.path(), "disk", &disk), put(dir.path(), "other", &other));
    let kernel = testdata("tiny/kernel");
    let other_path = other.to_str().unwrap();
    // Options, and what the kernel must see. QEMU's firmware says initrd=initrd itself.
    let jobs: [(&str, &[&str], &str, usize, u64); 4] = [
        ("plain", &["--compress", "none"], "kimage=1 word initrd=initrd", 54_321, sum),
        ("gzip", &["--compress", "gzip", "--cmdline", "built in"], "built in kimage=1 word initrd=initrd", 54_321, sum),
        ("xz", &["--compress", "xz", "--cmdline", "x", "--cmdline-override"], "x", 54_321, sum),
        ("zstd", &["--initrd", other_path], "kimage=1 word initrd=initrd", 12_345, other_sum),
    ];
    each(&jobs, |(name, options, cmdline, len, sum)| {
        let image = make(dir.path(), name, &kernel, options);
        let mut command = uefi().unwrap();
        command.arg("-kernel").arg(image).arg("-initrd").arg(&disk).args(["-append", "kimage=1 word"]);
        tiny_says(&Machine::start(name, &mut command).finish(), cmdline, *len, *sum);
    });
}

/// From a disk, as a computer starts its system: files that the command line names, one behind the other, each at a
/// multiple of four; as the default program, and by the shell with load options.
#[test]
fn from_a_disk() {
    let Some(_) = uefi() else { return };
    let dir = tempdir();
    let (first, first_sum) = noise(3, 1_001);
    // More than is read at once.
    let (second, second_sum) = noise(4, 3 << 20);
    let (first, second) = (put(dir.path(), "first", &first), put(dir.path(), "second", &second));
    let kernel = testdata("tiny/kernel");
    let cmdline = r"built in initrd=/boot/first initrd=\boot\second";
    let own = make(dir.path(), "own", &kernel, &["--cmdline", cmdline]);
    let plain = make(dir.path(), "plain", &kernel, &[]);
    let script = put(dir.path(), "startup.nsh", b"fs0:\r\n\\plain.efi from the shell initrd=\\boot\\first\r\n");
    let lost =
        put(dir.path(), "lost.nsh", b"fs0:\r\n\\plain.efi initrd=/no/such\r\necho status %lasterror%\r\nreset -s\r\n");
    let files = [("/boot/first", &*first), ("/boot/second", &*second)];

    let with = |name: &str, more: &[(&str, &Path)]| disk(dir.path(), name, &[&files, more].concat());
    // no gap: disk() says so
    let Some(default) = with("default.img", &[("/EFI/BOOT/BOOTX64.EFI", &own)]) else { return };
    let shell = with("shell.img", &[("/plain.efi", &plain), ("/startup.nsh", &script)]).unwrap();
    let lost = with("lost.img", &[("/plain.efi", &plain), ("/startup.nsh", &lost)]).unwrap();
    each(&[default, shell, lost], |disk| {
        let name = disk.file_name().unwrap().to_str().unwrap();
        let mut command = uefi().unwrap();
        drive(&mut command, disk);
        let console = Machine::start(name, &mut command).finish();
        match name {
            "default.img" => tiny_says(&console, cmdline, 1_004 + (3 << 20), first_sum + second_sum),
            "shell.img" => tiny_says(&console, r"\plain.efi from the shell initrd=\boot\first", 1_001, first_sum),
            // Nothing has happened, and the firmware goes on.
            _ => drop(console.says(&["kimage: initrd=/no/such: error 0x800000000000000e\n", "status 0xE\n"])),
        }
    });
}

/// Of a PE file's sections, in memory and in files.
pub(super) const PAGE: usize = 0x1000;

/// The sections of a PE file where they are to be in memory, which holds 0xaf elsewhere; `each` is told name and bytes.
pub(super) fn in_memory(image: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(image[at..at + 2].try_into().unwrap()));
    let pe = word(0x3c);
    let mut memory = vec![0xaf; word(pe + 24 + 56)];
    for section in (0..half(pe + 6)).map(|index| pe + 24 + half(pe + 20) + 40 * index) {
        let [space, to, len, from] = [8, 12, 16, 20].map(|field| word(section + field));
        memory[to..to + space].fill(0);
        memory[to..to + len].copy_from_slice(&image[from..from + len]);
        each(&image[section..section + 8], &image[from..from + len]);
    }
    memory
}

/// An EFI program for this machine: one section, which can be anywhere, and begins with its entry.
pub(super) fn program(machine: u16, section: &[u8]) -> Vec<u8> {
    // PE32 for an i386, else PE32+.
    let (magic, optional_len) = if machine == 0x14c { (0x10b, 0xe0_u16) } else { (0x20b, 0xf0) };
    let len = section.len() as u32;
    let mut program = vec![0; PAGE];
    let mut put = |at: usize, bytes: &[u8]| program[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &u16::to_le_bytes(machine));
    put(0x46, &[1, 0]);
    for (at, value) in [(0x54, optional_len), (0x56, 0x206), (0x58, magic)] {
        put(at, &value.to_le_bytes());
    }
    let behind = 0x58 + usize::from(optional_len);
    let optional = [(16, 0x1000), (20, 0x1000), (32, 0x1000), (36, 0x1000), (56, 0x1000 + len), (60, 0x1000), (68, 10)];
    for (field, value) in optional {
        put(0x58 + field, &u32::to_le_bytes(value));
    }
    // Data directories, all empty.
    put(behind - 16 * 8 - 4, &16_u32.to_le_bytes());
    put(behind, b".all");
    for (field, value) in [(8, len), (12, 0x1000), (16, len), (20, 0x1000), (36, 0xe000_0020)] {
        put(behind + field, &value.to_le_bytes());
    }
    program.extend(section);
    program
}

/// An EFI program that starts `image` as systemd-stub does since 258 (src/boot/linux.c there): its sections are copied into
/// memory that holds 0xaf, its headers are not, and its entry is called with this program's own handle.
fn sections_alone(image: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let pe = word(0x3c) as usize;
    let (entry, size) = (word(pe + 24 + 16), word(pe + 24 + 56));
    let memory = in_memory(image, |_, _| ());
    // The second page is this code, the third the image's first.
    let mut code = b"\x51\x52\x48\x83\xec\x28".to_vec(); // push rcx (handle); push rdx (system table); sub rsp, 0x28
    code.extend(b"\x48\x8d\x15\xf3\x00\x00\x00"); // lea rdx, [code + 0x100] (EFI_LOADED_IMAGE_PROTOCOL_GUID)
    code.extend(b"\x4c\x8d\x44\x24\x20\x48\x8b\x44\x24\x28"); // lea r8, [rsp + 0x20]; mov rax, [rsp + 0x28]
    code.extend(b"\x48\x8b\x40\x60\xff\x90\x98\x00\x00\x00"); // mov rax, [rax + BootServices]; call [rax + HandleProtocol]
    code.extend(b"\x48\x8b\x44\x24\x20\x48\x8d\x0d"); // mov rax, [rsp + 0x20]; lea rcx, [image]
    code.extend((PAGE as u32 - code.len() as u32 - 4).to_le_bytes());
    code.extend(b"\x48\x89\x48\x40\x48\xc7\x40\x48"); // mov [rax + ImageBase], rcx; mov qword [rax + ImageSize], size
    code.extend(size.to_le_bytes());
    code.extend(b"\x48\x8d\x81"); // lea rax, [rcx + entry]
    code.extend(entry.to_le_bytes());
    code.extend(b"\x48\x83\xc4\x28\x5a\x59\xff\xe0"); // add rsp, 0x28; pop rdx; pop rcx; jmp rax
    code.resize(0x100, 0xcc);
    code.extend(b"\xa1\x31\x1b\x5b\x62\x95\xd2\x11\x8e\x3f\x00\xa0\xc9\x69\x72\x3b");
    code.resize(PAGE, 0);
    code.extend(memory);
    program(0x8664, &code)
}

/// The kernel of a unified image (`.linux`), by a loader that leaves out the headers.
#[test]
fn by_a_loader_that_copies_sections_alone() {
    let Some(_) = uefi() else { return };
    let dir = tempdir();
    let (first, sum) = noise(5, 1_001);
    let first = put(dir.path(), "first", &first);
    let cmdline = r"built in initrd=\first";
    let mut jobs = Vec::new();
    for codec in CODECS {
        let image = make(dir.path(), codec, &testdata("tiny/kernel"), &["--cmdline", cmdline, "--compress", codec]);
        jobs.push((codec, put(dir.path(), &format!("{codec}.efi"), &sections_alone(&support::read(&image)))));
    }
    if let Some(tree) = a_tree() {
        let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::X86_64));
        let options = ["--cmdline", ARGS, "--initrd", ramdisk.to_str().unwrap(), "--compress", "lz4"];
        let image = make(dir.path(), "linux", &tree.unstripped(), &options);
        jobs.push(("linux", put(dir.path(), "linux.efi", &sections_alone(&support::read(&image)))));
    }
    each(&jobs, |(name, program)| {
        let files = [("/EFI/BOOT/BOOTX64.EFI", &**program), ("/first", &first)];
        let Some(disk) = disk(dir.path(), &format!("{name}.img"), &files) else { return };
        let mut command = uefi().unwrap();
        drive(&mut command, &disk);
        let console = Machine::start(name, &mut command).finish();
        match *name {
            "linux" => drop(console.says(&[EFI, USER_OK]).never_says("Kernel panic")),
            _ => tiny_says(&console, cmdline, 1_001, sum),
        }
    });
}

/// GRUB's own EFI loader for Linux, and its way to start any program.
#[test]
fn by_grub() {
    let Some(_) = uefi() else { return };
    if tool("grub-mkstandalone", "grub-common").is_none()
        || !installed("/usr/lib/grub/x86_64-efi/moddep.lst", "grub-efi-amd64-bin")
    {
        return;
    }
    let Some(tree) = a_tree() else { return };
    let dir = tempdir();
    let image = make(dir.path(), "image", &tree.unstripped(), &["--compress", "lz4"]);
    let bare = make(dir.path(), "bare", &tree.unstripped(), &["--compress", "lz4", "--no-efi"]);
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::X86_64));
    let ways = [
        ("linux", format!("linux /image {ARGS}\ninitrd /ramdisk\n")),
        ("linux-no-efi", format!("linux /bare {ARGS}\ninitrd /ramdisk\n")),
        ("chainloader", format!("chainloader /image {ARGS} initrd=/ramdisk\n")),
    ];
    each(&ways, |(name, how)| {
        let script = format!("search --no-floppy --file /image --set=root\n{how}boot\n");
        let config = put(dir.path(), &format!("{name}.cfg"), script.as_bytes());
        let grub = dir.path().join(format!("{name}.efi"));
        let mut command = Command::new("grub-mkstandalone");
        command.args(["-O", "x86_64-efi", "--modules=part_msdos fat linux chain search", "--fonts=", "--locales="]);
        command.args(["--themes=", "--install-modules=normal fat linux chain search boot test", "-o"]).arg(&grub);
        run_ok(command.arg(format!("boot/grub/grub.cfg={}", config.display())));
        let files =
            [("/EFI/BOOT/BOOTX64.EFI", &*grub), ("/image", &*image), ("/bare", &*bare), ("/ramdisk", &*ramdisk)];
        let Some(disk) = disk(dir.path(), &format!("{name}.img"), &files) else { return };
        let mut command = uefi().unwrap();
        drive(&mut command, &disk);
        Machine::start(name, &mut command).finish().says(&[EFI, USER_OK]).never_says("Kernel panic");
    });
}

/// Two starts, two places; the firmware's random numbers and the TPM's log reach the kernel. What the TPM's register 9 holds was foretold.
#[test]
fn chance_and_measurements() {
    let Some(_) = uefi() else { return };
    let Some(tree) = a_tree() else { return };
    let dir = tempdir();
    let image = make(dir.path(), "image", &tree.unstripped(), &["--compress", "lz4"]);
    let mut offsets = Vec::new();
    for round in 0..2 {
        let Some(tpm) = Tpm::start(&dir.path().join(format!("tpm{round}"))) else { return };
        let mut command = uefi().unwrap();
        tpm.plug(&mut command);
        command.args(["-device", "virtio-rng-pci"]);
        command.arg("-kernel").arg(&image).args(["-append", ARGS]);
        let mut measure = kimage();
        measure.arg("measure").arg(&image).args(["--pcr", "9", "--bank", "sha256", "--cmdline"]);
        if round == 1 {
            let disk = put(dir.path(), "disk", &machine::initrd_of(&[]));
            command.arg("-initrd").arg(&disk);
            // The firmware offers it, and names it as well.
            measure.arg(format!("{ARGS} initrd=initrd")).arg("--initrd").arg(&disk);
        } else {
            measure.arg(ARGS);
        }
        // Whoever switches itself off has QEMU switch the TPM off.
        let mut machine = Machine::start("TPM", command.arg("-no-shutdown"));
        // There is no program to run: the panic says where the kernel was.
        let said = machine.wait_for("Kernel Offset: ") + &machine.wait_for("\n");
        drop(machine);
        for words in ["RNG=0x", "TPMEventLog=0x", "TPMFinalLog=0x", "ACPI 2.0=0x"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        for words in ["Kernel Offset: ", "kimage: kernel at "] {
            offsets.push(said[said.find(words).unwrap()..].lines().next().unwrap().to_owned());
        }
        // no gap: it says so
        let Some([register]) = tpm.registers([9]) else { return };
        let foretold = stdout(&run_ok(&mut measure));
        assert!(foretold.contains(&format!("9:sha256={register}\n")), "{round}, {register}: {foretold}");
    }
    assert_ne!(offsets[..2], offsets[2..], "no chance at all");
}

const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
pub(super) const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";

/// The key that the firmware below trusts, without its password.
pub(super) fn trusted_key(dir: &Path) -> Option<PathBuf> {
    if !installed(VARIABLES, "ovmf") || !installed(CERTIFICATE, "ovmf") {
        return None;
    }
    let key = dir.join("key");
    let mut command = Command::new(tool("openssl", "openssl")?);
    command.args(["rsa", "-in", "/usr/share/ovmf/PkKek-1-snakeoil.key", "-passin", "pass:snakeoil", "-out"]);
    run_ok(command.arg(&key));
    Some(key)
}

/// A PC whose firmware has Secure Boot on, and this disk.
pub(super) fn secure(dir: &Path, what: &str, disk: &Path) -> Option<Command> {
    const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
    let mut command = installed(CODE, "ovmf").then(|| pc("q35,smm=on"))??;
    let variables = dir.join(format!("{what}.fd"));
    fs::copy(VARIABLES, &variables).unwrap();
    command.args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-drive"]);
    command.arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}")).arg("-drive");
    command.arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
    drive(&mut command, disk);
    Some(command)
}

/// Signs an EFI program.
pub(super) fn sign(program: &Path, key: &Path, certificate: &Path, to: &Path) -> String {
    let mut command = kimage();
    command.arg("sign").arg(program).arg("--key").arg(key).arg("--cert").arg(certificate).arg("-o").arg(to);
    support::stderr(&run_ok(&mut command))
}

/// Firmware that starts only what is signed, by whom it trusts; `verify` says the same.
#[test]
fn under_secure_boot() {
    let dir = tempdir();
    let Some(key) = trusted_key(dir.path()) else { return };
    let Some(tree) = a_tree() else { return };
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::X86_64));
    let sbat =
        put(dir.path(), "sbat", b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n");
    let built_in = [
        ["--cmdline", ARGS],
        ["--initrd", ramdisk.to_str().unwrap()],
        ["--sbat", sbat.to_str().unwrap()],
        ["--compress", "gzip"],
    ];
    let image =
        make(dir.path(), "image", &tree.unstripped(), &[&built_in.concat()[..], &["--cmdline-override"]].concat());
    let signed = dir.path().join("signed");
    let sign = |key: &Path, certificate: &Path, to: &Path| {
        let said = sign(&image, key, certificate, to);
        assert!(!said.contains("warning"), "{said}");
    };
    sign(&key, Path::new(CERTIFICATE), &signed);
    if let Some(sbverify) = tool("sbverify", "sbsigntool") {
        run_ok(Command::new(sbverify).args(["--cert", CERTIFICATE]).arg(&signed));
    }
    // Signed by somebody else; changed after it was signed.
    let (foreign, changed) = (dir.path().join("foreign"), dir.path().join("changed"));
    sign(&support::testdata("keys/dev.key"), &support::testdata("keys/dev.pem"), &foreign);
    let mut bytes = support::read(&signed);
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&changed, bytes).unwrap();

    let mut jobs = vec![("signed", &signed), ("signed by somebody else", &foreign)];
    if full() {
        jobs.extend([("not signed", &image), ("changed", &changed)]);
    }
    for (what, image) in [("signed", &signed), ("foreign", &foreign), ("not signed", &image), ("changed", &changed)] {
        let output = run(kimage().arg("verify").arg(image).args(["--vars", VARIABLES]));
        assert_eq!(output.status.success(), what == "signed", "{what}: {}", support::stdout(&output));
    }
    each(&jobs, |(what, image)| {
        let Some(disk) = disk(dir.path(), &format!("{what}.img"), &[("/EFI/BOOT/BOOTX64.EFI", image)]) else {
            return;
        };
        let Some(mut command) = secure(dir.path(), what, &disk) else { return };
        let mut machine = Machine::start(what, &mut command);
        match *what {
            "signed" => drop(machine.finish().says(&["Secure boot enabled", EFI, USER_OK])),
            _ => drop(machine.wait_for("Access Denied")),
        }
    });
}

/// What cannot be started is said on the firmware's console, and the firmware goes on.
#[test]
fn too_little_memory() {
    let Some(mut command) = uefi() else { return };
    let dir = tempdir();
    // 512 MiB, for a machine that has half of that.
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    for word in [0x100_0000_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    for half in [0_u16, 0, 64, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(0x5_0000_0001_u64.to_le_bytes());
    for word in [120_u64, 0x100_0000, 0x100_0000, 2, 512 << 20, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0xeb, 0xfe]);
    let image = make(dir.path(), "large", &put(dir.path(), "elf", &elf), &[]);
    command.arg("-kernel").arg(image);
    let mut machine = Machine::start("too little memory", &mut command);
    let said = machine.wait_for("where it was linked\n");
    assert!(said.contains("kimage: not enough RAM: the kernel needs 0x2"), "{said}");
    machine.wait_for("BdsDxe: ");
}
