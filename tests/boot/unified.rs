//! Unified kernel images around kimage's own boot stub: OVMF starts them, the stub takes its own sections, and a TPM (swtpm) has
//! measured what `kimage measure` foretells.

use crate::machine::{Cpu, Machine, USER_OK, each, initrd};
use crate::standalone_efi::{self as efi, CERTIFICATE, disk, drive, noise, program, tiny_says, uefi};
use crate::support::{full, kimage, put, read, run_ok, stdout, tempdir, testdata, tool};
use kimage::codec::Codec;
use kimage::internals::unified_program;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A TPM of software, which outlives the machine that it is plugged into.
pub(super) struct Tpm {
    swtpm: Child,
    dir: PathBuf,
}

impl Tpm {
    pub(super) fn start(dir: &Path) -> Option<Tpm> {
        let mut command = Command::new(tool("swtpm", "swtpm")?);
        fs::create_dir(dir).unwrap();
        command.args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", dir.display())]);
        command.args(["--ctrl", &format!("type=unixio,path={}", dir.join("control").display())]);
        let tpm = Tpm { swtpm: command.spawn().unwrap(), dir: dir.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !dir.join("control").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(tpm)
    }

    /// Gives it to a machine.
    pub(super) fn plug(&self, command: &mut Command) {
        command.arg("-chardev").arg(format!("socket,id=c,path={}", self.dir.join("control").display()));
        command.args(["-tpmdev", "emulator,id=t,chardev=c", "-device", "tpm-tis,tpmdev=t"]);
    }

    /// The SHA-256 values of these registers, when no machine has it any more; `None` without Python.
    pub(super) fn registers<const COUNT: usize>(&self, numbers: [u32; COUNT]) -> Option<[String; COUNT]> {
        // CMD_SET_DATAFD hands over one end of a pair of sockets; then TPM2_PCR_Read of one register of one bank.
        const SCRIPT: &str = "
import socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
ours, theirs = socket.socketpair()
socket.send_fds(control, [bytes.fromhex('00000010')], [theirs.fileno()])
assert control.recv(4) == bytes(4)
for number in sys.argv[2:]:
    bits = (1 << int(number)).to_bytes(3, 'little')
    ours.sendall(bytes.fromhex('8001000000140000017e00000001000b03') + bits)
    answer = ours.recv(4096)
    assert answer[6:10] == bytes(4), answer
    print(answer[30:62].hex())
";
        let mut command = Command::new(tool("python3", "python3")?);
        let said = stdout(&run_ok(
            command.args(["-c", SCRIPT]).arg(self.dir.join("control")).args(numbers.map(|number| number.to_string())),
        ));
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        Some(lines.try_into().unwrap())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.swtpm.kill();
        let _ = self.swtpm.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a register that was extended by the digests of all of these.
pub(super) fn extended(events: &[Vec<u8>]) -> String {
    let extend = |value: Vec<u8>, data: &Vec<u8>| {
        Sha256::new().chain_update(value).chain_update(Sha256::digest(data)).finalize().to_vec()
    };
    hex(&events.iter().fold(vec![0; 32], extend))
}

/// As a stub measures a text from outside.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A program with further sections.
pub(super) fn with(mut image: Vec<u8>, sections: &[(&str, &[u8])]) -> Vec<u8> {
    for (name, contents) in sections {
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let pe = word(0x3c) as usize;
        let count = image[pe + 6];
        let at = pe + 24 + usize::from(image[pe + 20]) + 40 * usize::from(count);
        let memory = (word(at - 40 + 12) + word(at - 40 + 8)).next_multiple_of(0x1000);
        image.resize(image.len().next_multiple_of(0x200), 0);
        let (len, raw) = (contents.len() as u32, image.len() as u32);
        image.extend(*contents);
        image.resize(image.len().next_multiple_of(0x200), 0);
        image[pe + 6] = count + 1;
        image[at..at + name.len()].copy_from_slice(name.as_bytes());
        let values = [(8, len), (12, memory), (16, len.next_multiple_of(0x200)), (20, raw), (36, 0x4000_0040)];
        for (field, value) in
            values.map(|(field, value)| (at + field, value)).into_iter().chain([(pe + 80, memory + len)])
        {
            image[field..field + 4]
                .copy_from_slice(&value.next_multiple_of(if field == pe + 80 { 0x1000 } else { 1 }).to_le_bytes());
        }
    }
    image
}

fn tiny(codec: Codec) -> Vec<u8> {
    unified_program(&read(&testdata("tiny/kernel")), codec).unwrap()
}

/// A file of `/.extra`, or of a folder in it, as systemd-stub puts it into a RAM disk.
fn extra(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let path = format!(".extra/{name}");
    let folders = path.match_indices('/').map(|(end, _)| (0o40555, &path[..end], &[][..]));
    let entries = folders.chain([(0o100_444, &path[..], contents)]);
    let numbered = entries.zip(1..).map(|((mode, name, data), inode)| (inode, mode, name, data));
    for (inode, mode, name, data) in numbered.chain([(0, 0, "TRAILER!!!", &[][..])]) {
        archive.extend(b"070701");
        let fields = [inode, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        archive.extend(if inode == 0 { fields.to_uppercase() } else { fields }.into_bytes());
        archive.extend([name.as_bytes(), b"\0"].concat());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// A profile chosen by its number, a command line from outside, RAM disk and microcode, files for user space; all of it is in the
/// TPM's registers as `measure` foretells, and as arithmetic has it.
#[test]
fn a_profile_with_a_tpm() {
    // no gap: it says so
    let Some(_) = uefi() else { return };
    let dir = tempdir();
    let Some(tpm) = Tpm::start(&dir.path().join("tpm")) else { return };
    let (disk, _) = noise(11, 1_001);
    let (offered, _) = noise(12, 703);
    let offered_file = put(dir.path(), "offered", &offered);
    let base = tiny(Codec::Zstd);
    let image = with(
        base.clone(),
        &[
            (".osrel", b"ID=test\n"),
            (".cmdline", b"of all"),
            (".initrd", &disk),
            (".uname", b"6.1.0"),
            (".ucode", b"microcode"),
            (".pcrpkey", b"key"),
            (".profile", b"ID=main\n"),
            (".profile", b"ID=other\n"),
            (".cmdline", b"of the other"),
            (".pcrsig", b"{}"),
        ],
    );
    let image = put(dir.path(), "uki.efi", &image);
    let beside = [
        ("/loader/extensions/g.raw", extra("global_sysext/g.raw", b"system")),
        ("/loader/extensions/g.confext.raw", extra("global_confext/g.confext.raw", b"configuration")),
    ];
    let mut whole = b"microcode\0\0\0".to_vec();
    whole.extend([&offered[..], &[0], &disk[..], &[0; 3]].concat());
    beside.iter().for_each(|(_, archive)| whole.extend(archive));
    for (name, contents) in [
        ("tpm2-pcr-signature.json", &b"{}"[..]),
        ("tpm2-pcr-public-key.pem", b"key"),
        ("os-release", b"ID=test\n"),
        ("profile", b"ID=other\n"),
    ] {
        whole.extend(extra(name, contents));
    }
    let sum: u64 = whole.iter().map(|byte| u64::from(*byte)).sum();

    let mut command = uefi().unwrap();
    tpm.plug(&mut command);
    // The firmware's shell offers a RAM disk by LoadFile2.
    let script = put(dir.path(), "startup.nsh", b"fs0:\r\ninitrd \\offered\r\nuki.efi @1  from outside \r\n");
    let system = put(dir.path(), "g.raw", b"system");
    let configuration = put(dir.path(), "g.confext.raw", b"configuration");
    let files: [(&str, &Path); 5] = [
        ("/startup.nsh", &script),
        ("/uki.efi", &image),
        ("/offered", &offered_file),
        (beside[0].0, &system),
        (beside[1].0, &configuration),
    ];
    // no gap: it says so
    let Some(disk_file) = self::disk(dir.path(), "disk.img", &files) else { return };
    drive(&mut command, &disk_file);
    // The machine stays, and the TPM with it.
    command.arg("-no-shutdown");
    let mut machine = Machine::start("profile", &mut command);
    let said = machine.wait_for("TINY-BOOT-OK\n");
    drop(machine);
    for words in
        ["tiny: command line: from outside\n".to_owned(), format!(", size {}, sum of bytes {sum}\n", whole.len())]
    {
        assert!(said.contains(&words), "no {words:?}: {said}");
    }

    // What is measured of `.linux` is the kernel as it is in the file, padding aside.
    let kernel = {
        let word = |at: usize| u32::from_le_bytes(base[at..at + 4].try_into().unwrap()) as usize;
        let table = word(0x3c) + 24 + usize::from(base[word(0x3c) + 20]);
        let header = (0..8).map(|index| table + 40 * index).find(|at| base[*at..].starts_with(b".linux\0")).unwrap();
        base[word(header + 20)..][..word(header + 8)].to_vec()
    };
    let mut events = Vec::new();
    for (name, contents) in [
        (".linux", &kernel[..]),
        (".osrel", b"ID=test\n"),
        (".cmdline", b"of the other"),
        (".initrd", &disk),
        (".ucode", b"microcode"),
        (".uname", b"6.1.0"),
        (".pcrpkey", b"key"),
        (".profile", b"ID=other\n"),
    ] {
        events.push([name.as_bytes(), b"\0"].concat());
        events.push(contents.to_vec());
    }
    let Some([disk_register, image_register, outside_register, extensions]) = tpm.registers([9, 11, 12, 13]) else {
        return;
    };
    let [system_archive, configuration_archive] = beside.map(|(_, archive)| archive);
    assert_eq!(disk_register, extended(&[offered]), "PCR 9");
    assert_eq!(image_register, extended(&events), "PCR 11");
    assert_eq!(outside_register, extended(&[wide("1"), wide("from outside"), configuration_archive]), "PCR 12");
    assert_eq!(extensions, extended(&[system_archive]), "PCR 13");
    let mut command = kimage();
    command.arg("measure").arg(&image).args(["--bank", "sha256", "--phase", "", "--initrd"]).arg(&offered_file);
    command.arg("--global-sysext").arg(&system).arg("--global-confext").arg(&configuration);
    let foretold = stdout(&run_ok(command.args(["--cmdline", "@1 from outside"])));
    for (number, value) in [(9, disk_register), (11, image_register), (12, outside_register), (13, extensions)] {
        assert!(foretold.contains(&format!("\n{number}:sha256={value}\n")), "{number}, {value}: {foretold}");
    }
}

/// The only program of a disk, with addons for all images and for this one: Linux gets all of their words, and its RAM disk.
#[test]
fn linux_from_a_disk_with_addons() {
    // no gap: it says so
    let Some(_) = uefi() else { return };
    // no gap: it says so
    let Some(tree) = efi::a_tree() else { return };
    let dir = tempdir();
    let linux = unified_program(&tree.read("vmlinux"), Codec::Lz4Legacy).unwrap();
    let sections = [(".cmdline", efi::ARGS.as_bytes()), (".initrd", &initrd(Cpu::X86_64)), (".uname", b"6.1\n")];
    let image = put(dir.path(), "uki", &with(linux, &sections));
    let addon =
        |name: &str, sections: &[(&str, &[u8])]| put(dir.path(), name, &with(program(0x8664, b"\xc3"), sections));
    let global = dir.path().join("global");
    run_ok(kimage().args(["uki", "--cmdline= global=1 ", "-o"]).arg(&global));
    let second = addon("second", &[(".cmdline", b"second=1"), (".uname", b"6.1\n")]);
    let first = addon("first", &[(".cmdline", b"first=1")]);
    let foreign = addon("foreign", &[(".cmdline", b"foreign=1"), (".uname", b"6.2\n")]);
    let own = "/EFI/BOOT/BOOTX64.EFI.extra.d";
    let files = [
        ("/EFI/BOOT/BOOTX64.EFI".to_owned(), &image),
        ("/loader/addons/x.addon.efi".to_owned(), &global),
        (format!("{own}/b.addon.efi"), &second),
        (format!("{own}/A.ADDON.EFI"), &first),
        (format!("{own}/c.addon.efi"), &foreign),
        (format!("{own}/d.efi"), &foreign),
    ];
    let files: Vec<(&str, &Path)> = files.iter().map(|(path, file)| (&path[..], &***file)).collect();
    // no gap: it says so
    let Some(disk) = disk(dir.path(), "disk", &files) else { return };
    let mut command = uefi().unwrap();
    drive(&mut command, &disk);
    let console = Machine::start("addons", &mut command).finish();
    let all = format!("Command line: {} global=1 first=1 second=1\n", efi::ARGS);
    console.says(&["kimage: this addon is left out: c.addon.efi: error 0x8000000000000019\n", &all, efi::EFI, USER_OK]);
    console.never_says("Kernel panic");
}

/// Under Secure Boot no command line from outside takes the place of the image's own, and no addon counts that nobody has signed.
/// With `KIMAGE_FULL=1` also: an image without a command line takes one; a profile that is not there.
#[test]
fn under_secure_boot() {
    let dir = tempdir();
    // no gap: it says so
    let Some(key) = efi::trusted_key(dir.path()) else { return };
    let make = |name: &str, sections: &[(&str, &[u8])], is_signed: bool, base: Vec<u8>| {
        let plain = put(dir.path(), name, &with(base, sections));
        let signed = dir.path().join(format!("{name}.signed"));
        if is_signed {
            efi::sign(&plain, &key, Path::new(CERTIFICATE), &signed);
        }
        if is_signed { signed } else { plain }
    };
    let locked = make("locked", &[(".cmdline", b"built in"), (".initrd", b"disk")], true, tiny(Codec::Lz4Legacy));
    let open = make("open", &[(".initrd", b"disk")], true, tiny(Codec::None));
    let empty = || program(0x8664, b"\xc3");
    let unsigned = make("unsigned", &[(".cmdline", b"unsigned")], false, empty());
    let signed = make("signed", &[(".cmdline", b"signed")], true, empty());
    // The firmware's shell does not run then: systemd-boot passes options.
    const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    // no gap: it says so
    if !efi::installed(LOADER, "systemd-boot-efi") {
        return;
    }
    let loader = dir.path().join("loader");
    efi::sign(Path::new(LOADER), &key, Path::new(CERTIFICATE), &loader);
    let mut jobs = vec![("locked", &locked, "from outside")];
    if full() {
        jobs.extend([("open", &open, "from outside"), ("missing", &locked, "@1")]);
    }
    let sum: u64 = b"disk".iter().map(|byte| u64::from(*byte)).sum();
    each(&jobs, |(what, image, options)| {
        let entry = format!("title {what}\nefi /uki.efi\noptions {options}\n");
        let entry = put(dir.path(), &format!("{what}.conf"), entry.as_bytes());
        let files = [
            ("/uki.efi", &***image),
            ("/EFI/BOOT/BOOTX64.EFI", &loader),
            ("/loader/entries/a.conf", &entry),
            ("/uki.efi.extra.d/a.addon.efi", &unsigned),
            ("/uki.efi.extra.d/b.addon.efi", &signed),
        ];
        // no gap: it says so
        let Some(disk) = disk(dir.path(), &format!("{what}.img"), &files) else { return };
        // no gap: it says so
        let Some(mut command) = efi::secure(dir.path(), what, &disk) else { return };
        let mut machine = Machine::start(what, &mut command);
        if *what == "missing" {
            machine.wait_for("kimage: there is no profile 0x1\n");
            // no gap: that is all
            return;
        }
        let console = machine.finish();
        let refused = "kimage: this addon is left out: a.addon.efi: error 0x80000000000000";
        match *what {
            "locked" => {
                console.says(&["kimage: Secure Boot: the command line from outside is left out\n", refused]);
                tiny_says(&console, "built in signed", 4, sum);
            }
            _ => {
                console.says(&[refused]);
                tiny_says(&console, "from outside signed", 4, sum);
            }
        }
    });
}
