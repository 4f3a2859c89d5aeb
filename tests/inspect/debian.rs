//! Debian's own kernels, of four releases and six CPUs: recognised, taken apart as the codecs' own commands take them
//! apart, symbol tables rebuilt, and booted. `tests/fetch-debian.sh` fetches them into a cache.

use crate::support::{
    self, assert_same, debian, full, image_in, kimage, missing, read, run, run_ok, stdout, tempdir, tool,
};
use object::{Object, ObjectSegment, ObjectSymbol};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A kernel of the cache.
struct Kernel {
    /// `bookworm-amd64-cloud-amd64`: release, Debian's CPU, flavour.
    name: String,
    image: PathBuf,
    config: PathBuf,
}

impl Kernel {
    fn cpu(&self) -> &str {
        self.name.split('-').nth(1).unwrap()
    }

    fn info(&self) -> Value {
        let report: Value =
            serde_json::from_slice(&run_ok(kimage().args(["info", "--json"]).arg(&self.image)).stdout).unwrap();
        report["files"][0].clone()
    }

    fn extract(&self, args: &[&str]) -> Vec<u8> {
        run_ok(kimage().arg("extract").arg(&self.image).args(args)).stdout
    }
}

/// The cache's kernels, but those that are there for `tests/boot/boards.rs`: MIPS has an ELF file around its decompressor,
/// which says nothing of the kernel.
fn kernels() -> &'static [Kernel] {
    static KERNELS: OnceLock<Vec<Kernel>> = OnceLock::new();
    let cache = debian();
    let kernels = KERNELS.get_or_init(|| {
        let mut kernels = Vec::new();
        for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let file = |prefix: &str| image_in(&entry.path(), prefix);
            if let (Some(image), Some(config), false) = (file("vmlinu"), file("config"), name.contains("-mips")) {
                kernels.push(Kernel { name, image, config });
            }
        }
        kernels.sort_by(|a, b| a.name.cmp(&b.name));
        kernels
    });
    if kernels.is_empty() {
        missing(&format!("no Debian kernels in {} (sh tests/fetch-debian.sh)", cache.display()));
    }
    kernels
}

#[test]
fn every_kernel_is_recognised() {
    for kernel in kernels() {
        let image = kernel.info();
        let outer = &image["layers"][0];
        let (format, arch) = match kernel.cpu() {
            "amd64" => ("bzimage", "x86-64"),
            "i386" => ("bzimage", "i386"),
            "armhf" | "armel" => ("zimage", "ARM"),
            "arm64" => ("image", "arm64"),
            "riscv64" => ("image", "RISC-V"),
            "s390x" => ("s390", "S/390"),
            // Its Image is inside.
            "loong64" => continue,
            other => panic!("{other}: what is its image called?"),
        };
        assert_eq!(outer["format"], format, "{}", kernel.name);
        assert_eq!(outer["facts"]["arch"]["value"], arch, "{}", kernel.name);
        // The configuration's second line names the release: `# Linux/x86 6.1.192 Kernel Configuration`.
        let config = fs::read_to_string(&kernel.config).unwrap();
        let version = config.lines().nth(2).unwrap().split(' ').nth(2).unwrap().to_owned();
        let releases: Vec<&str> = image["layers"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|layer| layer["facts"]["release"]["value"].as_str())
            .collect();
        let series = version.rsplit_once('.').unwrap().0;
        assert!(
            !releases.is_empty() && releases.iter().all(|release| release.starts_with(series)),
            "{}: {releases:?} {version}",
            kernel.name
        );
        for layer in image["layers"].as_array().unwrap() {
            let findings = layer["findings"].as_array().unwrap();
            assert!(findings.is_empty(), "{}: {findings:?}", kernel.name);
            // Regions are in order, and inside.
            let mut at = 0;
            for region in layer["regions"].as_array().unwrap() {
                assert!(region["offset"].as_u64().unwrap() >= at, "{}: {region}", kernel.name);
                at = region["offset"].as_u64().unwrap() + region["size"].as_u64().unwrap();
            }
            assert!(at <= layer["size"].as_u64().unwrap(), "{}: {}", kernel.name, layer["path"]);
        }
    }
}

/// What the real command makes of the stream that the header names, cut where readelf says that the ELF file ends.
#[test]
fn vmlinux_and_relocs_are_those_of_the_codecs_command() {
    for kernel in kernels().iter().filter(|kernel| matches!(kernel.cpu(), "amd64" | "i386")) {
        let bytes = read(&kernel.image);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let start = (usize::from(bytes[0x1f1]) + 1) * 512 + word(0x248);
        let packed = &bytes[start..start + word(0x24c)];
        let (name, package, args) = match packed {
            [0x1f, 0x8b, ..] => ("gzip", "gzip", &["-dc"][..]),
            [0xfd, b'7', ..] => ("xz", "xz-utils", &["-dc"][..]),
            [2, 0x21, ..] => ("lz4", "lz4", &["-dc"][..]),
            [0x28, 0xb5, ..] => ("zstd", "zstd", &["-dc", "--long=31"][..]),
            other => panic!("{}: {:02x?}", kernel.name, &other[..4]),
        };
        let Some(command) = tool(name, package) else { return };
        let whole = pipe(Command::new(command).args(args), &packed[..packed.len() - 4]);
        assert_eq!(whole.len(), word(start - word(0x248) + word(0x248) + word(0x24c) - 4), "{}", kernel.name);
        let Some(readelf) = tool("readelf", "binutils") else { return };
        let dir = tempdir();
        let path = dir.path().join("whole");
        fs::write(&path, &whole).unwrap();
        let header = stdout(&run_ok(Command::new(readelf).arg("-hW").arg(&path)));
        let number = |field: &str| {
            let rest = header.split(field).nth(1).unwrap_or_else(|| panic!("{field}\n{header}"));
            rest.split_whitespace().next().unwrap().parse::<usize>().unwrap()
        };
        // objcopy writes the section table last.
        let end = number("Start of section headers:")
            + number("Number of section headers:") * number("Size of section headers:");
        assert_same(&kernel.name, &kernel.extract(&["vmlinux"]), &whole[..end]);
        // Into a file it goes straight from the decoder.
        run_ok(kimage().arg("extract").arg(&kernel.image).args(["vmlinux", "-o"]).arg(&path));
        assert_same(&kernel.name, &read(&path), &whole[..end]);
        assert_same(&kernel.name, &kernel.extract(&["relocs"]), &whole[end..]);
        extract_vmlinux(kernel, &whole);
    }
}

/// The kernel's own script, where there is one: it comes with kernel sources, and `KIMAGE_LINUX` names those.
fn extract_vmlinux(kernel: &Kernel, want: &[u8]) {
    let Some(script) = support::extract_vmlinux() else { return };
    let output = run_ok(Command::new("sh").arg(script).arg(&kernel.image));
    assert_same(&kernel.name, &output.stdout, want);
}

/// Runs a filter; a codec's command may complain of the size behind the stream, but must write all.
fn pipe(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap().stdout
    })
}

/// A signature holds the digest of what it signs: ours must be in it.
#[test]
fn signatures_sign_the_digest() {
    let mut signed = 0;
    for kernel in kernels() {
        let image = kernel.info();
        let facts = &image["layers"][0]["facts"];
        let Some(table) = facts["signature_table"]["value"].as_array() else { continue }; // no gap: not signed
        let digest = facts["authenticode_sha256"]["value"].as_str().unwrap();
        let digest: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).unwrap()).collect();
        let bytes = read(&kernel.image);
        for row in table {
            let at = usize::from_str_radix(row["offset"].as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap();
            let len = row["size"].as_u64().unwrap() as usize;
            let found = memchr::memmem::find(&bytes[at..at + 8 + len], &digest);
            assert!(found.is_some(), "{}: the signature signs another digest", kernel.name);
            signed += 1;
        }
    }
    assert!(kernels().is_empty() || signed > 0, "no kernel of the cache is signed");
}

/// The rebuilt table says where things are: the banner's symbol leads to the banner, and readelf has nothing to say.
#[test]
fn symbols_lead_to_what_they_name() {
    let dir = tempdir();
    for kernel in kernels().iter().filter(|kernel| matches!(kernel.cpu(), "amd64" | "i386")) {
        let path = dir.path().join("vmlinux");
        run_ok(kimage().arg("extract").arg(&kernel.image).args(["vmlinux", "--symbols", "-o"]).arg(&path));
        let bytes = read(&path);
        let plain = kernel.extract(&["vmlinux"]);
        // Nothing of the kernel moved; only the header's three fields of the section table are new.
        assert_same(&kernel.name, &bytes[64..plain.len()], &plain[64..]);
        let elf = object::File::parse(&*bytes).unwrap();
        let all: std::collections::HashMap<&str, u64> =
            elf.symbols().filter_map(|symbol| Some((symbol.name().ok()?, symbol.address()))).collect();
        assert!(all.len() > 20_000, "{}: {} symbols", kernel.name, all.len());
        let config = fs::read_to_string(&kernel.config).unwrap();
        if config.contains("CONFIG_KALLSYMS_ALL=y") {
            let data = elf.segments().find_map(|segment| segment.data_range(all["linux_banner"], 14).ok()?);
            assert_eq!(data, Some(&b"Linux version "[..]), "{}", kernel.name);
        }
        // The first byte of the kernel proper, and the entry that every kernel has.
        let text = elf.segments().map(|segment| segment.address()).filter(|address| *address != 0).min();
        assert_eq!(Some(all["_text"]), text, "{}", kernel.name);
        assert!(all.contains_key("start_kernel") && all.contains_key("kallsyms_lookup_name"), "{}", kernel.name);
        if let Some(readelf) = tool("readelf", "binutils") {
            let output = run_ok(Command::new(readelf).args(["-SsW"]).arg(&path));
            assert!(output.stderr.is_empty(), "{}: {}", kernel.name, support::stderr(&output));
        }
    }
}

/// The same of flat kernels, of which the ELF file is made: the banner's symbol leads to the banner.
#[test]
fn symbols_of_flat_kernels_lead_to_what_they_name() {
    let dir = tempdir();
    let mut seen = std::collections::HashSet::from(["amd64", "i386"]);
    // Each CPU's oldest one, unless there is time.
    for kernel in kernels() {
        if !seen.insert(kernel.cpu()) && (!full() || matches!(kernel.cpu(), "amd64" | "i386")) {
            continue;
        }
        let path = dir.path().join("vmlinux");
        run_ok(kimage().arg("extract").arg(&kernel.image).args(["vmlinux", "--symbols", "-o"]).arg(&path));
        let bytes = read(&path);
        let elf = object::File::parse(&*bytes).unwrap();
        let all: std::collections::HashMap<&str, u64> =
            elf.symbols().filter_map(|symbol| Some((symbol.name().ok()?, symbol.address()))).collect();
        assert!(all.len() > 10_000, "{}: {} symbols", kernel.name, all.len());
        assert!(all.contains_key("start_kernel") && all.contains_key("kallsyms_lookup_name"), "{}", kernel.name);
        let config = fs::read_to_string(&kernel.config).unwrap();
        if config.contains("CONFIG_KALLSYMS_ALL=y") {
            let banner = all["linux_banner"];
            let data = elf.segments().find_map(|segment| segment.data_range(banner, 14).ok()?);
            assert_eq!(data, Some(&b"Linux version "[..]), "{}", kernel.name);
        }
        // All code is in the file.
        let is_there =
            |name: &str| elf.segments().any(|segment| matches!(segment.data_range(all[name], 4), Ok(Some(_))));
        assert!(["_stext", "start_kernel", "kallsyms_lookup_name"].into_iter().all(is_there), "{}", kernel.name);
    }
}

/// A kernel with the PVH note is entered by QEMU as the ELF file that it is.
#[test]
fn extracted_kernels_boot() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let mut booted = 0;
    for kernel in kernels().iter().filter(|kernel| kernel.cpu() == "amd64") {
        let path = dir.path().join("vmlinux");
        run_ok(kimage().arg("extract").arg(&kernel.image).args(["vmlinux", "-o"]).arg(&path));
        let entry = run(kimage().args(["info", "--field", "pvh_entry"]).arg(&path));
        if !entry.status.success() {
            continue;
        }
        // Without a root file system it goes as far as looking for one. Under QEMU's software emulation 6.12 takes an
        // oops at random now and then, started from its own bzImage too: then it is started again.
        let mut text = console(&qemu, &path);
        for _ in 0..3 {
            if text.contains("Oops") {
                text = console(&qemu, &path);
            }
        }
        let release = stdout(&run_ok(kimage().args(["info", "--field", "release"]).arg(&path)));
        assert!(text.contains(&format!("Linux version {}", release.trim())), "{}\n{text}", kernel.name);
        assert!(text.contains("Unable to mount root fs"), "{}\n{text}", kernel.name);
        booted += 1;
    }
    assert!(kernels().is_empty() || booted > 0, "no kernel of the cache has the PVH note");
}

/// Firecracker and Cloud Hypervisor load an ELF file by linux-loader, and enter it where it says.
#[test]
fn linux_loader_loads_extracted_kernels() {
    use linux_loader::loader::{
        KernelLoader,
        elf::{Elf, PvhBootCapability},
    };
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    let dir = tempdir();
    let path = dir.path().join("vmlinux");
    for kernel in kernels().iter().filter(|kernel| kernel.cpu() == "amd64") {
        let vmlinux = kernel.extract(&["vmlinux"]);
        let memory: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 256 << 20)]).unwrap();
        let mut file = std::io::Cursor::new(&vmlinux);
        let loaded = Elf::load(&memory, None, &mut file, Some(GuestAddress(0x10_0000))).unwrap();
        let object = object::File::parse(&*vmlinux).unwrap();
        assert_eq!(loaded.kernel_load.0, object.entry(), "{}", kernel.name);
        // The text is where the entry point is, whatever its virtual address.
        let mut there = vec![0; 4096];
        memory.read_slice(&mut there, loaded.kernel_load).unwrap();
        assert!(memchr::memmem::find(&vmlinux, &there).is_some(), "{}", kernel.name);
        fs::write(&path, &vmlinux).unwrap();
        let told = stdout(&run(kimage().args(["info", "--field", "pvh_entry"]).arg(&path)));
        let entry = match loaded.pvh_boot_cap {
            PvhBootCapability::PvhEntryPresent(entry) => format!("{:#x}\n", entry.0),
            _ => String::new(),
        };
        assert_eq!(told, entry, "{}", kernel.name);
    }
}

/// Boots an ELF file by its PVH entry; gives all that the console showed.
fn console(qemu: &Path, kernel: &Path) -> String {
    let mut command = Command::new("timeout");
    command.arg("120").arg(qemu).args(["-M", "q35", "-cpu", "Nehalem-v1", "-m", "512", "-nographic", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=-1 nokaslr"]).stdin(Stdio::null());
    String::from_utf8_lossy(&run(&mut command).stdout).into_owned()
}

/// A 32-bit ARM kernel goes without its decompressor to where that would have put it: by a uImage, which QEMU takes, too.
#[test]
fn an_extracted_arm_kernel_boots() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(image) = support::debian_kernel("bookworm-armhf-armmp") else { return };
    let dir = tempdir();
    let [flat, uimage] = ["Image", "uImage"].map(|name| dir.path().join(name));
    run_ok(kimage().arg("extract").arg(image).args(["vmlinux", "-o"]).arg(&flat));
    // The RAM of the machine, and TEXT_OFFSET of a kernel that is also for Qualcomm's first chips (arch/arm/Makefile).
    run_ok(kimage().arg("uimage").arg(&flat).args(["-A", "arm", "-a", "0x40208000", "-o"]).arg(&uimage));
    let mut command = Command::new("timeout");
    command.arg("300").arg(qemu).args(["-M", "virt", "-cpu", "cortex-a15", "-m", "512", "-nographic", "-no-reboot"]);
    command.arg("-kernel").arg(uimage).args(["-append", "console=ttyAMA0 panic=-1"]).stdin(Stdio::null());
    let text = String::from_utf8_lossy(&run(&mut command).stdout).into_owned();
    let release = stdout(&run_ok(kimage().args(["info", "--field", "release"]).arg(&flat)));
    assert!(text.contains(&format!("Linux version {}", release.trim())), "{text}");
    assert!(text.contains("Unable to mount root fs"), "{text}");
}

/// Adds up what [`hashed`] makes of each line of /proc/kallsyms that is of no module, prints sum and count, and restarts: mount,
/// open, read, write, ioctl (TCSBRK), reboot. A shell's awk and sort take an emulated machine half a minute for the same.
const ADDS_UP: &str = r#"
.intel_syntax noprefix
.globl _start
_start:
    lea rdi, [rip + proc]; lea rsi, [rip + folder]; mov rdx, rdi; xor r10d, r10d; xor r8d, r8d; mov eax, 165; syscall
    lea rdi, [rip + file]; xor esi, esi; mov eax, 2; syscall
    mov r12d, eax
    movabs r8, 0xcbf29ce484222325
    movabs r9, 0x100000001b3
    xor r13d, r13d
    xor r14d, r14d
fresh:
    mov rbx, r8
    xor r15d, r15d
    xor ebp, ebp
    test rsi, rsi
    jnz next
more:
    mov edi, r12d; lea rsi, [rip + buffer]; mov edx, 65536; xor eax, eax; syscall
    test rax, rax
    jle done
    lea rdi, [rsi + rax]
next:
    cmp rsi, rdi
    je more
    movzx eax, byte ptr [rsi]
    inc rsi
    cmp al, 10; je line
    cmp al, 32; je field
    cmp al, 9; je next
    cmp al, 91; je module
    cmp r15d, 1; je next
    xor rbx, rax
    imul rbx, r9
    jmp next
field:
    inc r15d
    jmp next
module:
    inc ebp
    jmp next
line:
    test ebp, ebp
    jnz fresh
    mov rax, rbx
    shr rax, 32
    xor rbx, rax
    imul rbx, r9
    add r13, rbx
    inc r14
    jmp fresh
done:
    lea rsi, [rip + sum]; mov rax, r13; call digits
    lea rsi, [rip + count]; mov rax, r14; call digits
    mov edi, 1; lea rsi, [rip + said]; mov edx, 38; mov eax, 1; syscall
    mov edi, 1; mov esi, 0x5409; mov edx, 1; mov eax, 16; syscall
    mov edi, 0xfee1dead; mov esi, 0x28121969; mov edx, 0x1234567; mov eax, 169; syscall
    ud2
digits:
    mov ecx, 16
1:  rol rax, 4
    mov edx, eax
    and edx, 15
    lea edi, [rdx + 48]
    lea edx, [rdx + 87]
    cmp edi, 58
    cmovae edi, edx
    mov [rsi], dil
    inc rsi
    dec ecx
    jnz 1b
    ret
proc: .asciz "proc"
folder: .asciz "/proc"
file: .asciz "/proc/kallsyms"
.data
said: .ascii "SUM="
sum: .ascii "0000000000000000 "
count: .ascii "0000000000000000\n"
.bss
buffer: .skip 65536
"#;

/// FNV-1a of an address and a name, and mixed once more, since such are added up.
fn hashed(address: &str, name: &str) -> u64 {
    const PRIME: u64 = 0x100_0000_01b3;
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let hash = address.bytes().chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, add);
    (hash ^ hash >> 32).wrapping_mul(PRIME)
}

/// The kernel that runs reads its own tables: /proc/kallsyms has the same addresses and names, every one.
#[test]
fn symbols_are_those_of_the_running_kernel() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let tools = ["as", "ld", "nm"].map(|name| tool(name, "binutils"));
    let ([Some(assembler), Some(linker), Some(nm)], Some(_)) = (tools, tool("cpio", "cpio")) else { return };
    let dir = tempdir();
    let sh = |script: &str| stdout(&run_ok(Command::new("sh").current_dir(dir.path()).args(["-c", script])));
    fs::write(dir.path().join("init.s"), ADDS_UP).unwrap();
    run_ok(Command::new(assembler).current_dir(dir.path()).args(["--64", "init.s", "-o", "init.o"]));
    fs::create_dir_all(dir.path().join("root/proc")).unwrap();
    run_ok(Command::new(linker).current_dir(dir.path()).args(["-m", "elf_x86_64", "-s", "init.o", "-o", "root/init"]));
    sh("cd root; find . | cpio -o -H newc 2>/dev/null > ../rd");
    for kernel in kernels().iter().filter(|kernel| kernel.name.contains("cloud-amd64")) {
        let path = dir.path().join("vmlinux");
        run_ok(kimage().arg("extract").arg(&kernel.image).args(["vmlinux", "--symbols", "-o"]).arg(&path));
        let listed = stdout(&run_ok(Command::new(&nm).arg("-p").arg(&path)));
        let lines = listed.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            hashed(words[0], words[2])
        });
        let (sum, count) = lines.fold((0_u64, 0_u64), |(sum, count), hash| (sum.wrapping_add(hash), count + 1));
        let ours = format!("SUM={sum:016x} {count:016x}");
        assert!(count > 20_000, "{}: {count} symbols", kernel.name);
        // Without root file system it would stop; a random oops of the emulation is no answer either.
        let append = "console=ttyS0 panic=-1 nokaslr quiet no_timer_check";
        let mut answers = (0..3).map(|_| {
            let mut command = Command::new("timeout");
            command.arg("300").arg(&qemu).args(["-M", "q35", "-cpu", "Nehalem-v1", "-m", "512", "-nographic"]);
            command.arg("-no-reboot").arg("-kernel").arg(&kernel.image).args(["-append", append, "-initrd"]);
            let output = run(command.arg(dir.path().join("rd")).stdin(Stdio::null()));
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        let answer = answers.find(|text| text.contains("SUM=")).unwrap_or_else(|| panic!("{}: no answer", kernel.name));
        assert!(answer.contains(&ours), "{}: wanted {ours}\n{answer}", kernel.name);
    }
}
