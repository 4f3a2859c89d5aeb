//! What the boot tests share: machines with a console, and an initial RAM disk whose only program says that it runs.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use super::support::{self, Tree, cache, make, missing, read, run_ok, tempdir, tool, tree};
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The line that [`initrd`]'s program prints.
pub const USER_OK: &str = "KIMAGE-USER-OK";

/// A boot takes a second or two; a machine under load may need very many times that, and no time limit is to fail there.
const PATIENCE: Duration = Duration::from_secs(300);

/// At most this many machines run at a time, however many threads the tests have.
const MACHINES: usize = 2;

static FREE: Mutex<usize> = Mutex::new(MACHINES);
static FREED: Condvar = Condvar::new();

/// The right to run a machine.
struct Slot;

impl Slot {
    fn take() -> Slot {
        // A test that fails gives its slot back while it unwinds; the count is right all the same.
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = FREED.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

/// A running QEMU. Dropped, it is gone.
pub struct Machine {
    what: String,
    qemu: Child,
    keyboard: ChildStdin,
    console: Receiver<Vec<u8>>,
    text: String,
    /// How much of the text has been waited for.
    seen: usize,
    deadline: Instant,
    _slot: Slot,
}

impl Machine {
    /// Starts a QEMU that has the serial line on its standard input and output.
    pub fn start(what: &str, qemu: &mut Command) -> Machine {
        let slot = Slot::take();
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = qemu.spawn().unwrap_or_else(|error| panic!("{qemu:?}: {error}"));
        let (sender, console) = channel();
        // QEMU's own complaints belong to the story that a failure prints.
        listen(child.stderr.take().unwrap(), sender.clone());
        listen(child.stdout.take().unwrap(), sender);
        Machine {
            what: what.to_owned(),
            keyboard: child.stdin.take().unwrap(),
            qemu: child,
            console,
            text: String::new(),
            seen: 0,
            deadline: Instant::now() + PATIENCE,
            _slot: slot,
        }
    }

    /// Waits until the console shows these words, behind all that was waited for before; gives what came up to them.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        loop {
            if let Some(at) = self.text[self.seen..].find(words) {
                let start = self.seen;
                self.seen += at + words.len();
                return self.text[start..self.seen].to_owned();
            }
            if !self.hear() {
                panic!("{}: the machine ended without {words:?}; console:\n{}", self.what, self.text);
            }
            self.hurry(&format!("for {words:?}"));
        }
    }

    /// Types at the console.
    #[track_caller]
    pub fn type_keys(&mut self, keys: &str) {
        let typed = self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush());
        assert!(typed.is_ok(), "{}: {typed:?} while typing {keys:?}; console:\n{}", self.what, self.text);
    }

    /// Stops U-Boot before it boots by itself.
    #[track_caller]
    pub fn prompt(&mut self) {
        self.wait_for("Hit any key to stop autoboot");
        self.type_keys(" ");
        self.wait_for("=> ");
    }

    /// Has U-Boot run a command; gives what it answered, the echo of the command included.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.type_keys(&format!("{command}\r"));
        self.wait_for("=> ")
    }

    /// Has U-Boot run a command that does not come back.
    #[track_caller]
    pub fn leave(mut self, command: &str) -> Console {
        self.type_keys(&format!("{command}\r"));
        self.finish()
    }

    /// Waits until the machine has switched itself off; gives all that the console showed.
    #[track_caller]
    pub fn finish(mut self) -> Console {
        while self.hear() {
            self.hurry("for the machine to switch itself off");
        }
        let status = self.qemu.wait().unwrap();
        assert!(status.success(), "{}: QEMU {status}; console:\n{}", self.what, self.text);
        Console { what: std::mem::take(&mut self.what), text: std::mem::take(&mut self.text) }
    }

    /// Fails when all patience is gone, and says what it was waiting for.
    #[track_caller]
    fn hurry(&self, what: &str) {
        let seconds = PATIENCE.as_secs();
        let console = &self.text;
        assert!(Instant::now() < self.deadline, "{}: waited {seconds} s {what}; console:\n{console}", self.what);
    }

    /// Takes in what the console showed next, if anything; false at its end.
    fn hear(&mut self) -> bool {
        match self.console.recv_timeout(Duration::from_millis(200)) {
            // A boot log is ASCII: nothing is lost where a piece parts a character. How lines end is of no interest.
            Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Of a machine that has ended by itself nothing is left to kill.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn listen(mut from: impl Read + Send + 'static, to: Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if to.send(buffer[..len].to_vec()).is_err() {
                return;
            }
        }
    });
}

/// What a machine's console showed from first to last.
pub struct Console {
    what: String,
    text: String,
}

impl Console {
    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fails unless all of these stand there.
    #[track_caller]
    pub fn says(&self, all: &[&str]) -> &Console {
        for words in all {
            assert!(self.text.contains(words), "{}: no {words:?}; console:\n{}", self.what, self.text);
        }
        self
    }

    /// The line that begins so.
    #[track_caller]
    pub fn line(&self, start: &str) -> &str {
        // In front of it may stand what firmware tells the terminal to do.
        let found = self.text.lines().find_map(|line| line.find(start).map(|at| &line[at..]));
        found.unwrap_or_else(|| panic!("{}: no line {start:?}; console:\n{}", self.what, self.text))
    }

    /// Fails if this stands there.
    #[track_caller]
    pub fn never_says(&self, words: &str) -> &Console {
        assert!(!self.text.contains(words), "{}: {words:?}; console:\n{}", self.what, self.text);
        self
    }
}

/// Runs the same for each job: as many at a time as machines may run, and as many more that make their files meanwhile.
pub fn each<T: Sync>(jobs: &[T], run: impl Fn(&T) + Sync) {
    support::each(jobs, 2 * MACHINES, run);
}

/// Debian's U-Boot for a QEMU board, or a loud word and `None`.
pub fn u_boot(file: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/lib/u-boot").join(file);
    if !path.is_file() {
        missing(&format!("no {} (apt-get install u-boot-qemu)", path.display()));
        return None;
    }
    Some(path)
}

/// A machine with nothing to see but its serial line, which is QEMU's standard input and output.
pub fn qemu(program: &Path, machine: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-M", machine, "-no-reboot", "-display", "none", "-serial", "stdio"]);
    command
}

/// A PC without a network. Never `-cpu max`: with it some kernels crash at random under software emulation.
pub fn pc(program: &Path, machine: &str, cpu: &str, cpus: usize, megabytes: usize) -> Command {
    let mut command = qemu(program, machine);
    command.args(["-cpu", cpu, "-nic", "none", "-smp", &cpus.to_string(), "-m", &megabytes.to_string()]);
    command
}

/// The same without a screen, whose ROM takes a sixth of a small kernel's boot.
pub fn blind_pc(program: &Path, machine: &str, cpu: &str, cpus: usize, megabytes: usize) -> Command {
    let mut command = pc(program, machine, cpu, cpus, megabytes);
    command.args(["-vga", "none"]);
    command
}

/// QEMU's options for files that lie in the memory from the start.
pub fn loaders(loaded: &[(&Path, u64)]) -> Vec<String> {
    let one = |(file, at): &(&Path, u64)| {
        ["-device".to_owned(), format!("loader,file={},addr={at:#x},force-raw=on", file.display())]
    };
    loaded.iter().flat_map(one).collect()
}

/// QEMU's board `virt` with Debian's U-Boot for it.
#[derive(Clone)]
pub struct Board {
    pub qemu: PathBuf,
    options: Vec<String>,
}

impl Board {
    pub fn arm() -> Option<Board> {
        let qemu = tool("qemu-system-arm", "qemu-system-arm")?;
        Board::new(qemu, &["-m", "256", "-bios"], "qemu_arm/u-boot.bin")
    }

    pub fn arm64(megabytes: usize) -> Option<Board> {
        let qemu = tool("qemu-system-aarch64", "qemu-system-arm")?;
        let options = ["-cpu", "cortex-a57", "-m", &megabytes.to_string(), "-bios"];
        Board::new(qemu, &options, "qemu_arm64/u-boot.bin")
    }

    /// OpenSBI, QEMU's default firmware here, starts U-Boot.
    pub fn riscv64(megabytes: usize) -> Option<Board> {
        let qemu = tool("qemu-system-riscv64", "qemu-system-misc")?;
        Board::new(qemu, &["-m", &megabytes.to_string(), "-kernel"], "qemu-riscv64_smode/u-boot.bin")
    }

    /// Of ARM, with the U-Boot that tests/make-uboot.sh makes: it decrypts, and knows PSS.
    pub fn decrypting() -> Option<Board> {
        let rom = cache().join("u-boot/qemu_arm/u-boot.bin");
        if !rom.is_file() {
            missing(&format!("no {} (sh tests/make-uboot.sh makes it)", rom.display()));
            return None;
        }
        let qemu = tool("qemu-system-arm", "qemu-system-arm")?;
        let options = ["-m", "256", "-bios"].map(str::to_owned);
        Some(Board { qemu, options: options.into_iter().chain([rom.display().to_string()]).collect() })
    }

    fn new(qemu: PathBuf, options: &[&str], rom: &str) -> Option<Board> {
        let rom = u_boot(rom)?.display().to_string();
        Some(Board { qemu, options: options.iter().copied().chain([&*rom]).map(str::to_owned).collect() })
    }

    /// The board with these files in its memory, at U-Boot's prompt.
    #[track_caller]
    pub fn start(&self, what: &str, loaded: &[(&Path, u64)]) -> Machine {
        let mut machine = Machine::start(what, qemu(&self.qemu, "virt").args(&self.options).args(loaders(loaded)));
        machine.prompt();
        machine
    }

    /// The same board, which gives U-Boot this device tree: with the keys in it.
    pub fn with_tree(&self, dtb: &Path) -> Board {
        let more = ["-dtb".to_owned(), dtb.display().to_string()];
        Board { qemu: self.qemu.clone(), options: self.options.iter().cloned().chain(more).collect() }
    }

    /// The board's own device tree, with another model and for other boards.
    pub fn tree(&self, model: &str, compatible: &[&str]) -> Vec<u8> {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let bytes = device_tree(&self.qemu, "virt", &options);
        let tree = Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
        let mut root = Node::from(tree.root());
        root.set(Property::string("model", model));
        root.set(Property::strings("compatible", compatible.iter().copied()));
        let mut out = Vec::new();
        Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
        out
    }
}

/// Whose programs an x86 kernel of the corpus runs: its ELF class says it.
pub fn x86_cpu(tree: &Tree) -> Cpu {
    if tree.read("vmlinux")[4] == 2 { Cpu::X86_64 } else { Cpu::I386 }
}

/// QEMU for PCs, and the image that kimage makes of a 6.1 kernel, with whose programs it runs. Of all codecs an emulated machine
/// unpacks lz4 soonest: the kernel's own xz takes it a third of a boot.
pub fn pc_kernel(dir: &Path) -> Option<(PathBuf, PathBuf, Cpu)> {
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86")?;
    let tree = tree("6.1-x86_64")?;
    let image = make(dir, "bzImage", "bzimage", &[&tree.unstripped()], &["--compress", "lz4"]);
    Some((qemu, image, x86_cpu(tree)))
}

/// The device tree that QEMU gives a kernel on this machine; `qemu` has all options but the machine.
pub fn device_tree(qemu: &Path, machine: &str, options: &[&str]) -> Vec<u8> {
    let dir = tempdir();
    let file = dir.path().join("dtb");
    let mut command = Command::new(qemu);
    command.args(["-M", &format!("{machine},dumpdtb={}", file.display())]).args(options);
    run_ok(command.args(["-display", "none"]));
    read(&file)
}

/// A number of a device tree, by its name.
pub fn property(dtb: &[u8], name: &str) -> Option<u64> {
    let word = |at: usize| Some(u32::from_be_bytes(dtb.get(at..at + 4)?.try_into().unwrap()));
    let strings = word(12)? as usize;
    let key = format!("{name}\0");
    let name_at = memchr::memmem::find(dtb.get(strings..)?, key.as_bytes())? as u32;
    // FDT_PROP, length, name, value; every token is aligned to four bytes.
    (0..strings).step_by(4).find_map(|at| match (word(at)?, word(at + 4)?, word(at + 8)? == name_at) {
        (3, 4, true) => Some(word(at + 12)?.into()),
        (3, 8, true) => Some(u64::from(word(at + 12)?) << 32 | u64::from(word(at + 16)?)),
        _ => None,
    })
}

/// Who runs the program in the initial RAM disk. 64-bit kernels of the corpus have no 32-bit emulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    I386,
    X86_64,
    Arm,
    /// Big-endian data, little-endian instructions.
    ArmBe8,
    Arm64,
    Riscv64,
    LoongArch64,
}

/// An initial RAM disk: a console, and a first program that prints [`USER_OK`] and restarts the machine.
pub fn initrd(cpu: Cpu) -> Vec<u8> {
    initrd_of(&[("init", &init(cpu))])
}

/// An initial RAM disk: a console, and these programs and other files.
pub fn initrd_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<(&str, u32, &[u8])> = files.iter().map(|(name, data)| (*name, 0o100_755, *data)).collect();
    archive_of(&entries)
}

/// An initial RAM disk: a console, and what is named with its mode.
pub fn archive_of(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    entry(&mut archive, 1, "dev", 0o040_755, (0, 0), &[]);
    entry(&mut archive, 2, "dev/console", 0o020_600, (5, 1), &[]);
    for (inode, (name, mode, data)) in (3..).zip(entries) {
        entry(&mut archive, inode, name, *mode, (0, 0), data);
    }
    entry(&mut archive, 0, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

/// Adds one file to a cpio archive of the newc format.
fn entry(archive: &mut Vec<u8>, inode: u32, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
    let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
    archive.extend_from_slice(b"070701");
    // inode, mode, uid, gid, links, mtime, size, device of the file system (2), device of the node (2), name, check
    for field in [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    for part in [name.as_bytes(), &[0]] {
        archive.extend_from_slice(part);
    }
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Where the program is loaded.
const BASE: u32 = 0x40_0000;

/// A static ELF program of one segment.
pub fn init(cpu: Cpu) -> Vec<u8> {
    let (wide, big) = (matches!(cpu, Cpu::X86_64 | Cpu::Arm64 | Cpu::Riscv64 | Cpu::LoongArch64), cpu == Cpu::ArmBe8);
    let (machine, flags) = match cpu {
        Cpu::I386 => (3, 0),
        Cpu::X86_64 => (62, 0),
        Cpu::Arm64 => (183, 0),
        Cpu::Riscv64 => (243, 0),
        // The ABI with floating point of 64 bits, object files of version 1.
        Cpu::LoongArch64 => (258, 0x43),
        // EABI version 5; with BE8 the kernel reads the header big-endian and runs the code little-endian.
        Cpu::Arm => (40, 0x0500_0000),
        Cpu::ArmBe8 => (40, 0x0580_0000),
    };
    let (header, segment, section) = if wide { (64, 56, 64) } else { (52, 32, 40) };
    let entry = BASE + header + segment;
    let code = code(cpu, entry);
    let size = header + segment + code.len() as u32;

    let mut file = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 1 + u8::from(big), 1];
    file.resize(16, 0);
    let mut put = |value: u32, width: usize| {
        let bytes = u64::from(value).to_le_bytes()[..width].to_vec();
        file.extend(if big { bytes.into_iter().rev().collect() } else { bytes });
    };
    let word = if wide { 8 } else { 4 };
    // type EXEC, machine, version, entry, program headers' offset, section headers' offset, flags
    for (value, width) in [(2, 2), (machine, 2), (1, 4), (entry, word), (header, word), (0, word), (flags, 4)] {
        put(value, width);
    }
    // sizes and counts: this header, one program header, no section headers
    for value in [header, segment, 1, section, 0, 0] {
        put(value, 2);
    }
    // PT_LOAD of the whole file, readable and executable; 64-bit ELF has the permissions earlier
    put(1, 4);
    if wide {
        put(5, 4);
    }
    for value in [0, BASE, BASE, size, size] {
        put(value, word);
    }
    if !wide {
        put(5, 4);
    }
    put(0x1000, word);
    file.extend(code);
    assert_eq!(file.len(), size as usize);
    file
}

/// write(1, "KIMAGE-USER-OK\n"); ioctl(1, TCSBRK, 1), which waits until the line has left the serial port, or the
/// restart would cut it off; reboot(RESTART). An illegal instruction at the end kills init, should that fail: the
/// kernel panics and `panic=-1` ends the machine.
fn code(cpu: Cpu, entry: u32) -> Vec<u8> {
    let message = format!("{USER_OK}\n");
    let len = u8::try_from(message.len()).unwrap();
    // The numbers are the kernel's: LINUX_REBOOT_MAGIC1 fee1dead, MAGIC2 28121969, CMD_RESTART 01234567, TCSBRK 5409.
    let mut code = match cpu {
        Cpu::I386 => {
            #[rustfmt::skip]
            let mut code = vec![
                0xb8, 4, 0, 0, 0,             // mov eax, 4 (write)
                0xbb, 1, 0, 0, 0,             // mov ebx, 1
                0xb9, 0, 0, 0, 0,             // mov ecx, message (filled in below)
                0xba, len, 0, 0, 0,           // mov edx, len
                0xcd, 0x80,                   // int 0x80
                0xb8, 54, 0, 0, 0,            // mov eax, 54 (ioctl); ebx is 1 still
                0xb9, 0x09, 0x54, 0, 0,       // mov ecx, TCSBRK
                0xba, 1, 0, 0, 0,             // mov edx, 1
                0xcd, 0x80,                   // int 0x80
                0xb8, 88, 0, 0, 0,            // mov eax, 88 (reboot)
                0xbb, 0xad, 0xde, 0xe1, 0xfe, // mov ebx, MAGIC1
                0xb9, 0x69, 0x19, 0x12, 0x28, // mov ecx, MAGIC2
                0xba, 0x67, 0x45, 0x23, 0x01, // mov edx, CMD_RESTART
                0xcd, 0x80,                   // int 0x80
                0x0f, 0x0b,                   // ud2
            ];
            let at = entry + code.len() as u32;
            code[11..15].copy_from_slice(&at.to_le_bytes());
            code
        }
        Cpu::X86_64 => {
            #[rustfmt::skip]
            let mut code = vec![
                0xb8, 1, 0, 0, 0,             // mov eax, 1 (write)
                0xbf, 1, 0, 0, 0,             // mov edi, 1
                0x48, 0x8d, 0x35, 0, 0, 0, 0, // lea rsi, [rip + distance to message] (filled in below)
                0xba, len, 0, 0, 0,           // mov edx, len
                0x0f, 0x05,                   // syscall
                0xb8, 16, 0, 0, 0,            // mov eax, 16 (ioctl); edi is 1 still
                0xbe, 0x09, 0x54, 0, 0,       // mov esi, TCSBRK
                0xba, 1, 0, 0, 0,             // mov edx, 1
                0x0f, 0x05,                   // syscall
                0xb8, 169, 0, 0, 0,           // mov eax, 169 (reboot)
                0xbf, 0xad, 0xde, 0xe1, 0xfe, // mov edi, MAGIC1
                0xbe, 0x69, 0x19, 0x12, 0x28, // mov esi, MAGIC2
                0xba, 0x67, 0x45, 0x23, 0x01, // mov edx, CMD_RESTART
                0x0f, 0x05,                   // syscall
                0x0f, 0x0b,                   // ud2
            ];
            // rip is that of the next instruction, at 17.
            let distance = code.len() as u32 - 17;
            code[13..17].copy_from_slice(&distance.to_le_bytes());
            code
        }
        // The number in x8, arguments from x0.
        Cpu::Arm64 => [
            0xd280_0808,                         // mov x8, #64 (write)
            0xd280_0020,                         // mov x0, #1
            0x1000_0001 + ((20 - 2) << 5),       // adr x1, message: word 20, from word 2
            0xd280_0002 + (u32::from(len) << 5), // mov x2, #len
            0xd400_0001,                         // svc #0
            0xd280_03a8,                         // mov x8, #29 (ioctl)
            0xd280_0020,                         // mov x0, #1
            0xd28a_8121,                         // mov x1, #0x5409 (TCSBRK)
            0xd280_0022,                         // mov x2, #1
            0xd400_0001,                         // svc #0
            0xd280_11c8,                         // mov x8, #142 (reboot)
            0xd29b_d5a0,                         // mov x0, #0xdead
            0xf2bf_dc20,                         // movk x0, #0xfee1, lsl #16 (MAGIC1)
            0xd283_2d21,                         // mov x1, #0x1969
            0xf2a5_0241,                         // movk x1, #0x2812, lsl #16 (MAGIC2)
            0xd288_ace2,                         // mov x2, #0x4567
            0xf2a0_2462,                         // movk x2, #0x0123, lsl #16 (CMD_RESTART)
            0xd400_0001,                         // svc #0
            0x0000_0000,                         // udf #0
            0xd503_201f,                         // nop: an even count of words
        ]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect(),
        // The same registers. ori rd, zero, number; lu12i.w and ori for longer ones.
        Cpu::LoongArch64 => [
            0x0381_000b,                          // li a7, 64 (write)
            0x0380_0404,                          // li a0, 1
            0x1800_0005 + ((20 - 2) << 5),        // pcaddi a1, distance: message is word 20
            0x0380_0006 + (u32::from(len) << 10), // li a2, len
            0x002b_0000,                          // syscall 0
            0x0380_740b,                          // li a7, 29 (ioctl)
            0x0380_0404,                          // li a0, 1
            0x1400_00a5,                          // lu12i.w a1, 5
            0x0390_24a5,                          // ori a1, a1, 0x409 (TCSBRK)
            0x0380_0406,                          // li a2, 1
            0x002b_0000,                          // syscall 0
            0x0382_380b,                          // li a7, 142 (reboot)
            0x15fd_c3a4,                          // lu12i.w a0, 0xfee1d
            0x03ba_b484,                          // ori a0, a0, 0xead (MAGIC1)
            0x1450_2425,                          // lu12i.w a1, 0x28121
            0x03a5_a4a5,                          // ori a1, a1, 0x969 (MAGIC2)
            0x1402_4686,                          // lu12i.w a2, 0x1234
            0x0395_9cc6,                          // ori a2, a2, 0x567 (CMD_RESTART)
            0x002b_0000,                          // syscall 0
            0x002a_0000,                          // break 0
        ]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect(),
        // The number in a7, arguments from a0.
        Cpu::Riscv64 => [
            0x0400_0893,                          // li a7, 64 (write)
            0x0010_0513,                          // li a0, 1
            0x0000_0597,                          // auipc a1, 0
            0x0005_8593 + (((22 - 2) * 4) << 20), // addi a1, a1, distance: message is word 22, auipc word 2
            0x0000_0613 + (u32::from(len) << 20), // li a2, len
            0x0000_0073,                          // ecall
            0x01d0_0893,                          // li a7, 29 (ioctl)
            0x0010_0513,                          // li a0, 1
            0x0000_55b7,                          // lui a1, 5
            0x4095_8593,                          // addi a1, a1, 0x409 (TCSBRK)
            0x0010_0613,                          // li a2, 1
            0x0000_0073,                          // ecall
            0x08e0_0893,                          // li a7, 142 (reboot)
            0xfee1_e537,                          // lui a0, 0xfee1e
            0xead5_0513,                          // addi a0, a0, -0x153 (MAGIC1)
            0x2812_25b7,                          // lui a1, 0x28122
            0x9695_8593,                          // addi a1, a1, -0x697 (MAGIC2)
            0x0123_4637,                          // lui a2, 0x1234
            0x5676_0613,                          // addi a2, a2, 0x567 (CMD_RESTART)
            0x0000_0073,                          // ecall
            0xc000_1073,                          // unimp
            0x0000_0013,                          // nop: an even count of words
        ]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect(),
        // EABI: the number in r7, arguments from r0. ARMv7 has movw and movt for 16 bits each.
        Cpu::Arm | Cpu::ArmBe8 => [
            0xe3a0_7004,                    // mov r7, #4 (write)
            0xe3a0_0001,                    // mov r0, #1
            0xe28f_1000 + (20 - 2 - 2) * 4, // add r1, pc, #distance: message is word 20, pc is two ahead of word 2
            0xe3a0_2000 + u32::from(len),   // mov r2, #len
            0xef00_0000,                    // svc #0
            0xe3a0_7036,                    // mov r7, #54 (ioctl)
            0xe3a0_0001,                    // mov r0, #1
            0xe305_1409,                    // movw r1, #0x5409 (TCSBRK)
            0xe3a0_2001,                    // mov r2, #1
            0xef00_0000,                    // svc #0
            0xe3a0_7058,                    // mov r7, #88 (reboot)
            0xe30d_0ead,                    // movw r0, #0xdead
            0xe34f_0ee1,                    // movt r0, #0xfee1 (MAGIC1)
            0xe301_1969,                    // movw r1, #0x1969
            0xe342_1812,                    // movt r1, #0x2812 (MAGIC2)
            0xe304_2567,                    // movw r2, #0x4567
            0xe340_2123,                    // movt r2, #0x0123 (CMD_RESTART)
            0xef00_0000,                    // svc #0
            0xe7f0_00f0,                    // udf #0
            0xe1a0_0000,                    // nop: an even count of words
        ]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect(),
    };
    code.extend(message.bytes());
    code
}
