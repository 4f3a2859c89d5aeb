//! A software TPM's registers hold what `kimage measure` foretold, when the image has come up to its kernel.

use crate::machine::{Console, Machine};
use crate::standalone_efi::{disk, installed, pc, program};
use crate::support::{self, cache, full, kimage, missing, put, read, run_ok, tempdir, tool};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// A software TPM, which ends with it.
struct Tpm(Child);

impl Tpm {
    /// A machine's, at this socket.
    fn of(swtpm: &Path, command: &mut Command, dir: &Path, name: &str) -> Tpm {
        let (state, socket) = (dir.join(format!("{name}.tpm")), dir.join(format!("{name}.sock")));
        fs::create_dir(&state).unwrap();
        let mut swtpm = Command::new(swtpm);
        swtpm
            .args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"])
            .arg(format!("dir={}", state.display()));
        swtpm.arg("--ctrl").arg(format!("type=unixio,path={}", socket.display()));
        let tpm = Tpm(swtpm.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..200 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        command.arg("-chardev").arg(format!("socket,id=tpm,path={}", socket.display()));
        command.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"]);
        tpm
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of tests/boot, which a stub takes for a kernel: its code.
pub(super) fn kernel(dir: &Path, source: &str, options: &[&str]) -> Option<Vec<u8>> {
    let cc = tool("cc", "gcc")?;
    let flat = dir.join(source).with_extension("flat");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot").join(source);
    let mut command = Command::new(cc);
    command.args(options).args([
        "-Os",
        "-ffreestanding",
        "-fPIC",
        "-fno-stack-protector",
        "-mno-red-zone",
        "-fno-toplevel-reorder",
    ]);
    command.args([
        "-fno-asynchronous-unwind-tables",
        "-fcf-protection=none",
        "-nostdlib",
        "-static",
        "-Wl,-N,-Ttext=0",
    ]);
    run_ok(command.args(["-Wl,--oformat=binary,--build-id=none", "-o"]).arg(&flat).arg(source));
    Some(read(&flat))
}

/// The EFI program of that code.
pub(super) fn program_of(code: &[u8]) -> Vec<u8> {
    let mut code = code.to_vec();
    code.resize(code.len().next_multiple_of(0x1000), 0);
    let mut kernel = program(0x8664, &code);
    // MajorImageVersion: a kernel whose stub is to be started as a program.
    kernel[0x58 + 44] = 1;
    kernel
}

/// What kimage says of one register of a bank.
fn foretold(image: &Path, pcr: &str, bank: &str, options: &[String]) -> String {
    let mut command = kimage();
    command.arg("measure").arg(image).args(["--phase", ":", "--pcr", pcr, "--bank", bank]).args(options);
    let text = support::stdout(&run_ok(&mut command));
    text.lines().find_map(|line| line.strip_prefix(&format!("{pcr}:{bank}="))).unwrap().to_owned()
}

fn holds(console: &Console, image: &Path, options: &[String], registers: &[(&str, &str)]) {
    for bank in ["sha1", "sha256"] {
        for (pcr, shown) in registers {
            let wanted = format!("pcr {shown} {bank} {}", foretold(image, pcr, bank, options));
            console.says(&[&wanted]);
        }
    }
}

/// systemd's stub: an image of an odd length, started by the firmware, with credentials and an extension beside it; and by the
/// firmware's shell with a command line.
fn registers(stub: &Path, release: &str) {
    if !installed(CODE, "ovmf") || pc("q35").is_none() {
        return;
    }
    let Some(swtpm) = tool("swtpm", "swtpm") else { return };
    let dir = tempdir();
    let Some(kernel) = kernel(dir.path(), "registers.c", &[]).map(|code| program_of(&code)) else { return };
    let parts = [("linux", &kernel[..]), ("osrel", b"ID=tiny\n"), ("cmdline", b"quiet"), ("initrd", b"the disk")];
    let mut command = kimage();
    command
        .args(["uki", "-q", "--uname", "6.1.0-tiny", "--stub"])
        .arg(stub)
        .arg("-o")
        .arg(dir.path().join("whole.efi"));
    for (name, contents) in parts {
        let file = put(dir.path(), name, contents);
        match name {
            "osrel" => command.arg("--os-release").arg(format!("@{}", file.display())),
            "cmdline" => command.arg("--cmdline").arg(format!("@{}", file.display())),
            name => command.arg(format!("--{name}")).arg(file),
        };
    }
    run_ok(&mut command);
    let image = put(dir.path(), "image.efi", &[&read(&dir.path().join("whole.efi"))[..], b"odd"].concat());
    let mut beside = vec![("a.cred", "credential"), ("b.cred", "credential"), ("x.raw", "sysext")];
    if release.parse::<u32>().unwrap() >= 261 {
        beside.extend([("g.raw", "global-sysext"), ("c.confext.raw", "confext"), ("g.confext.raw", "global-confext")]);
    }
    let mut options = Vec::new();
    let mut files = Vec::new();
    for (name, option) in beside {
        let file = put(dir.path(), name, name.as_bytes());
        options.extend([format!("--{option}"), file.to_str().unwrap().to_owned()]);
        files.push((name, option, file));
    }
    let script = put(dir.path(), "startup.nsh", b"fs0:\\image.efi from outside\r\n");
    let ways = [("firmware", "EFI/BOOT/BOOTX64.EFI"), ("shell", "image.efi")];
    for (way, place) in if full() { &ways[..] } else { &ways[..1] } {
        let folder = format!("/{place}.extra.d");
        let mut on_disk: Vec<(String, &Path)> = vec![(format!("/{place}"), &image)];
        on_disk.extend(files.iter().map(|(name, option, file)| {
            let folder = if option.starts_with("global") { "/loader/extensions" } else { &folder };
            (format!("{folder}/{name}"), file.as_path())
        }));
        if *way == "shell" {
            on_disk.push(("/startup.nsh".to_owned(), &script));
            options.extend(["--cmdline".to_owned(), "from outside".to_owned()]);
        }
        let on_disk: Vec<_> = on_disk.iter().map(|(place, file)| (place.as_str(), *file)).collect();
        let Some(disk) = disk(dir.path(), &format!("{way}.img"), &on_disk) else { return }; // no gap: disk() says so
        let variables = dir.path().join(format!("{way}.fd"));
        fs::copy(VARIABLES, &variables).unwrap();
        let mut command = pc("q35").unwrap();
        command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}"));
        command.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        // First of all: an attempt to boot from elsewhere is measured, too.
        command.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk", disk.display()));
        command.args(["-device", "virtio-blk-pci,drive=disk,bootindex=0"]);
        let _tpm = Tpm::of(&swtpm, &mut command, dir.path(), way);
        let console = Machine::start(way, &mut command).finish();
        console.says(&["that is all"]);
        // Before its shell the firmware tries the disk, which is measured, too.
        let registers = [("11", "0b"), ("12", "0c"), ("13", "0d"), ("4", "04")];
        let registers = if *way == "shell" { &registers[..3] } else { &registers };
        holds(&console, &image, &options, registers);
        // The table of sections that is known of the release, in place of the stub's own.
        holds(&console, &image, &[&options[..], &["--stub-version", release].map(str::to_owned)].concat(), registers);
    }
}

#[test]
fn registers_of_systemds_stub() {
    if installed(STUB, "systemd-boot-efi") {
        registers(Path::new(STUB), "252");
    }
}

/// The stubs of Debian 13 and of Debian unstable, whatever release that has come to; one that kimage does not know yet counts as untested
#[test]
fn registers_of_newer_stubs() {
    for (folder, script) in [("ukify", "fetch-ukify.sh"), ("sid", "fetch-sid.sh")] {
        let stub = cache().join(folder).join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        if !stub.is_file() {
            missing(&format!("no stub of systemd (sh tests/{script})"));
            continue;
        }
        let bytes = read(&stub);
        let mark = b"LoaderInfo: systemd-stub ";
        let at = bytes.windows(mark.len()).position(|found| found == mark).unwrap() + mark.len();
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let release = std::str::from_utf8(&bytes[at..at + digits]).unwrap();
        if !(257..=262).contains(&release.parse::<u32>().unwrap()) {
            missing(&format!("the order of systemd-stub {release} is not in kimage's table"));
            continue;
        }
        registers(&stub, release);
    }
}
