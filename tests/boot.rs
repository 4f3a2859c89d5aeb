//! Images boot: on SeaBIOS and on real U-Boot, in QEMU, and the console says so.
//!
//! Real kernels get an initial RAM disk made here and must reach its program; tiny kernels end with a line of their
//! own. `KIMAGE_FULL=1` boots a matrix of machines, CPUs and counts of CPUs, and every U-Boot case twice.

mod support;

#[path = "support/boot.rs"]
mod machine;

use kimage::format::zimage::ZImage;
use machine::{Console, Cpu, Machine, USER_OK, device_tree, each, initrd, property, u_boot};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Tree, corpus, kimage, read, run_ok, stdout, tempdir, testdata, tool};

/// Asks for the long form of the tests.
fn full() -> bool {
    std::env::var_os("KIMAGE_FULL").is_some_and(|value| value == "1")
}

fn x86_trees() -> Vec<&'static Tree> {
    corpus().iter().filter(|tree| tree.is_x86()).collect()
}

fn arm_trees() -> Vec<&'static Tree> {
    corpus().iter().filter(|tree| tree.is_arm()).collect()
}

/// What that very kernel says first: "Linux version", release, builder and compiler. Number and date come after that,
/// and not all that vmlinux has is what is printed.
fn banner(tree: &Tree) -> String {
    let vmlinux = tree.read("vmlinux");
    let start = memchr::memmem::find_iter(&vmlinux, "Linux version ").find(|at| vmlinux[at + 14].is_ascii_digit());
    let text = &vmlinux[start.unwrap_or_else(|| panic!("{}: vmlinux has no banner", tree.name))..];
    let end = text.iter().position(|byte| *byte == b'#').unwrap();
    String::from_utf8(text[..end].to_vec()).unwrap()
}

/// "6.1.192", of the banner.
fn release(banner: &str) -> &str {
    banner.split(' ').nth(2).unwrap()
}

/// Writes a file beside the image under test.
fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn put_initrd(dir: &Path, tree: &Tree, cpu: Cpu) -> PathBuf {
    put(dir, &format!("{}.cpio", tree.name), &initrd(cpu))
}

/// The same once more with `KIMAGE_FULL=1`.
fn twice<T: Clone>(mut jobs: Vec<T>) -> Vec<T> {
    if full() {
        jobs.extend_from_within(..);
    }
    jobs
}

/// QEMU's options for files that lie in the memory from the start.
fn loaders(loaded: &[(&Path, u32)]) -> Vec<String> {
    let one = |(file, at): &(&Path, u32)| {
        ["-device".to_owned(), format!("loader,file={},addr={at:#x},force-raw=on", file.display())]
    };
    loaded.iter().flat_map(one).collect()
}

/// Runs kimage to make `dir/name`.
fn make(dir: &Path, name: &str, command: &str, inputs: &[&Path], options: &[&str]) -> PathBuf {
    run_ok(kimage().current_dir(dir).arg(command).args(inputs).args(options).args(["--quiet", "-o", name]));
    dir.join(name)
}

// ---- x86 ------------------------------------------------------------------------------------------------------------

/// A PC. Never `-cpu max`: with it some kernels crash at random under software emulation.
fn pc(qemu: &Path, machine: &str, cpu: &str, cpus: &str) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-M", machine, "-cpu", cpu, "-smp", cpus, "-m", "256", "-no-reboot"]);
    command.args(["-display", "none", "-serial", "stdio", "-nic", "none"]);
    command
}

fn bzimage(dir: &Path, tree: &Tree) -> PathBuf {
    let (vmlinux, setup) = (tree.path("arch/x86/boot/compressed/vmlinux"), tree.path("arch/x86/boot/setup.bin"));
    make(dir, &format!("{}.bzImage", tree.name), "bzimage", &[&vmlinux, &setup], &[])
}

/// The kernel's ELF class says what its programs are.
fn x86_cpu(tree: &Tree) -> Cpu {
    if tree.read("vmlinux")[4] == 2 { Cpu::X86_64 } else { Cpu::I386 }
}

#[test]
fn tiny_bzimage_on_a_pc() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let ramdisk = put(dir.path(), "ramdisk", &[0x5a; 54321]);
    let jobs: Vec<_> =
        ["setup-5.bin", "setup.bin", "setup-7.bin"].into_iter().flat_map(|s| [(s, "q35"), (s, "pc")]).collect();
    each(&jobs, |(setup, machine)| {
        let (vmlinux, setup_path) = (testdata("tiny/vmlinux"), testdata(&format!("tiny/{setup}")));
        let image = make(dir.path(), &format!("{machine}.{setup}"), "bzimage", &[&vmlinux, &setup_path], &[]);
        let mut command = pc(&qemu, machine, "Nehalem-v1", "1");
        command.arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk).args(["-append", "kimage=1 word"]);
        let console = Machine::start(&format!("tiny {setup} on {machine}"), &mut command).finish();
        console.says(&[
            "tiny: command line: kimage=1 word\n",
            ", size 54321\n",
            "last word agrees\n",
            "TINY-BOOT-OK\n",
        ]);
    });
}

#[test]
fn bzimage_on_a_pc_to_user_space() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let image = bzimage(dir.path(), tree);
        let ramdisk = put_initrd(dir.path(), tree, x86_cpu(tree));
        let matrix: &[(&str, &str, &str)] = match full() {
            false => &[("q35", "Nehalem-v1", "1")],
            true => &[
                ("q35", "Nehalem-v1", "1"),
                ("q35", "Nehalem-v1", "2"),
                ("q35", "qemu64", "1"),
                ("q35", "qemu64", "2"),
                ("pc", "Nehalem-v1", "1"),
                ("pc", "Nehalem-v1", "2"),
                ("pc", "qemu64", "1"),
                ("pc", "qemu64", "2"),
            ],
        };
        jobs.extend(matrix.iter().map(|machine| (tree, image.clone(), ramdisk.clone(), *machine)));
    }
    each(&jobs, |(tree, image, ramdisk, (machine, cpu, cpus))| {
        let mut command = pc(&qemu, machine, cpu, cpus);
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk).args(["-append", "console=ttyS0 panic=-1"]);
        let console = Machine::start(&format!("{} on {machine}, {cpu}, {cpus} CPUs", tree.name), &mut command).finish();
        console.says(&[&banner(tree), USER_OK]).never_says("Kernel panic");
    });
}

/// A PC with U-Boot in its ROM, and files in its memory.
fn u_boot_pc(qemu: &Path, rom: &Path, loaded: &[(&Path, u32)]) -> Command {
    let mut command = pc(qemu, "q35", "Nehalem-v1", "1");
    command.arg("-bios").arg(rom).args(loaders(loaded));
    command
}

/// Another loader than QEMU's own: it reads the boot protocol's fields by itself.
#[test]
fn bzimage_by_u_boot_to_user_space() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let Some(rom) = u_boot("qemu-x86/u-boot.rom") else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        jobs.push((tree, bzimage(dir.path(), tree), put_initrd(dir.path(), tree, x86_cpu(tree))));
    }
    each(&twice(jobs), |(tree, image, ramdisk)| {
        let mut command = u_boot_pc(&qemu, &rom, &[(image, 0x0100_0000), (ramdisk, 0x0400_0000)]);
        let mut machine = Machine::start(&format!("{} by U-Boot", tree.name), &mut command);
        machine.prompt();
        machine.ask("setenv bootargs console=ttyS0 panic=-1");
        let size = fs::metadata(ramdisk).unwrap().len();
        let console = machine.leave(&format!("zboot 1000000 0 4000000 {size:x}"));
        let banner = banner(tree);
        let version = format!("Linux kernel version {} ", release(&banner));
        console.says(&["Magic signature found", &version, &banner, USER_OK]).never_says("Kernel panic");
    });
}

/// The protected-mode part is cut out by this loader, which also enters it by itself. (Debian's 64-bit U-Boot resets
/// the machine on the kernels tried at `zboot`.)
#[test]
fn tiny_bzimage_by_u_boot() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let Some(rom) = u_boot("qemu-x86/u-boot.rom") else { return };
    let dir = tempdir();
    let jobs = ["setup-5.bin", "setup.bin", "setup-7.bin"].map(|setup| {
        let setup_path = testdata(&format!("tiny/{setup}"));
        make(dir.path(), setup, "bzimage", &[&testdata("tiny/vmlinux"), &setup_path], &[])
    });
    each(&twice(jobs.to_vec()), |image| {
        let mut command = u_boot_pc(&qemu, &rom, &[(image, 0x0100_0000)]);
        let mut machine = Machine::start(&format!("{} by U-Boot", image.display()), &mut command);
        machine.prompt();
        machine.ask("setenv bootargs kimage=1");
        machine.type_keys("zboot 1000000\r");
        // This U-Boot leaves ACPI off, so that the kernel cannot switch the machine off.
        for line in ["tiny: command line: kimage=1\n", "last word agrees\n", "TINY-BOOT-OK\n"] {
            machine.wait_for(line);
        }
    });
}

/// As an EFI application, by U-Boot's EFI: the PE header and its sections are what counts. The kernel finds no program
/// to run, for U-Boot gives it no RAM disk this way, and restarts.
#[test]
fn bzimage_by_efi() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let image = bzimage(dir.path(), tree);
        if read(&image).starts_with(b"MZ") {
            let board = if x86_cpu(tree) == Cpu::X86_64 { "qemu-x86_64" } else { "qemu-x86" };
            let Some(rom) = u_boot(&format!("{board}/u-boot.rom")) else { return };
            jobs.push((tree, image, rom));
        }
    }
    each(&twice(jobs), |(tree, image, rom)| {
        let mut command = u_boot_pc(&qemu, rom, &[(image, 0x0400_0000)]);
        let mut machine = Machine::start(&format!("{} by EFI", tree.name), &mut command);
        machine.prompt();
        // U-Boot's runtime services crash a 32-bit kernel that calls them.
        machine.ask("setenv bootargs console=ttyS0 panic=-1 efi=noruntime");
        let console = machine.leave(&format!("bootefi 4000000:{:x}", fs::metadata(image).unwrap().len()));
        console.says(&[&banner(tree), "by Das U-Boot", "Run /sbin/init as init process"]);
    });
}

/// What others make of the image.
#[test]
fn file_and_grub_know_the_bzimage() {
    let (file, grub_file) = (tool("file", "file"), tool("grub-file", "grub-common"));
    let dir = tempdir();
    let mut images = Vec::new();
    for tree in x86_trees() {
        images.push((bzimage(dir.path(), tree), release(&banner(tree)).to_owned()));
    }
    for (setup, release) in [("setup-5", "5.10.0-tiny"), ("setup", "6.12.0-tiny"), ("setup-7", "7.2.0-tiny")] {
        let setup_path = testdata(&format!("tiny/{setup}.bin"));
        let image = make(dir.path(), setup, "bzimage", &[&testdata("tiny/vmlinux"), &setup_path], &[]);
        images.push((image, release.to_owned()));
    }
    for (image, release) in images {
        if let Some(file) = &file {
            let said = stdout(&run_ok(Command::new(file).arg("-b").arg(&image)));
            // Newer ones have a comma before "bzImage".
            for words in ["Linux kernel x86 boot executable", "bzImage, version ", &format!("version {release} ")] {
                assert!(said.contains(words), "{}: {said}", image.display());
            }
        }
        if let Some(grub_file) = &grub_file {
            run_ok(Command::new(grub_file).arg("--is-x86-linux").arg(&image));
        }
    }
}

// ---- ARM ------------------------------------------------------------------------------------------------------------

const VIRT: [&str; 2] = ["-m", "256"];
const ARM_ARGS: &str = "console=ttyAMA0 panic=-1";

/// QEMU's own ARM board.
fn virt(qemu: &Path) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-M", "virt"]).args(VIRT).args(["-no-reboot", "-display", "none", "-serial", "stdio"]);
    command
}

fn zimage(dir: &Path, tree: &Tree) -> PathBuf {
    make(dir, &format!("{}.zImage", tree.name), "zimage", &[&tree.path("arch/arm/boot/compressed/vmlinux")], &[])
}

/// The zImage says in which byte order its programs are.
fn arm_cpu(zimage: &Path) -> Cpu {
    if ZImage::parse(&read(zimage)).unwrap().is_big_endian() { Cpu::ArmBe8 } else { Cpu::Arm }
}

#[test]
fn tiny_zimage() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    let dtb = put(dir.path(), "virt.dtb", &device_tree(&qemu, "virt", &VIRT));
    let dtb_option = format!("--append-dtb={}", dtb.display());
    for (name, options, says) in [
        ("plain", &[][..], "tiny arm: no device tree appended"),
        ("dtb", &[&*dtb_option], "tiny arm: device tree appended"),
    ] {
        let image = make(dir.path(), name, "zimage", &[&testdata("tiny/arm-vmlinux")], options);
        let console = Machine::start(&format!("tiny zImage, {name}"), virt(&qemu).arg("-kernel").arg(&image)).finish();
        console.says(&["tiny arm: device tree from the loader\n", says, "TINY-BOOT-OK\n"]);
    }
}

#[test]
fn zimage_to_user_space() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let image = zimage(dir.path(), tree);
        let ramdisk = put_initrd(dir.path(), tree, arm_cpu(&image));
        let mut command = virt(&qemu);
        command.arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk).args(["-append", ARM_ARGS]);
        let console = Machine::start(&tree.name, &mut command).finish();
        console.says(&[&banner(tree), USER_OK]).never_says("Kernel panic");
    }
}

/// Nobody passes a device tree: the processor begins at the image with all registers zero. The appended one has the
/// command line and the place of the RAM disk.
#[test]
fn zimage_with_only_the_appended_device_tree() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let kernel = Appended::new(&qemu, dir.path(), tree);
        let image = make(dir.path(), "with-dtb", "zimage", &[&kernel.zimage], &[&kernel.option()]);
        let mut command = virt(&qemu);
        command.args(loaders(&[(&image, 0x4400_0000), (&kernel.ramdisk, kernel.ramdisk_at)]));
        command.args(["-device", "loader,addr=0x44000000,cpu-num=0"]);
        let console = Machine::start(&format!("{} with its own device tree", tree.name), &mut command).finish();
        kernel.check(&console);
    }
}

/// A kernel whose device tree is to be appended, with a command line that only that tree has.
struct Appended {
    banner: String,
    zimage: PathBuf,
    ramdisk: PathBuf,
    ramdisk_at: u32,
    dtb: PathBuf,
}

impl Appended {
    const ARGS: &str = "console=ttyAMA0 panic=-1 appended";

    fn new(qemu: &Path, dir: &Path, tree: &Tree) -> Appended {
        let zimage = zimage(dir, tree);
        let ramdisk = put_initrd(dir, tree, arm_cpu(&zimage));
        let files = [&zimage, &ramdisk].map(|path| path.to_str().unwrap());
        let options = [&VIRT[..], &["-kernel", files[0], "-initrd", files[1], "-append", Self::ARGS]].concat();
        let dtb = device_tree(qemu, "virt", &options);
        let ramdisk_at = property(&dtb, "linux,initrd-start").unwrap().try_into().unwrap();
        Appended { banner: banner(tree), zimage, ramdisk, ramdisk_at, dtb: put(dir, "virt.dtb", &dtb) }
    }

    fn option(&self) -> String {
        format!("--append-dtb={}", self.dtb.display())
    }

    #[track_caller]
    fn check(&self, console: &Console) {
        let args = format!("Kernel command line: {}\n", Self::ARGS);
        console.says(&[&self.banner, &args, USER_OK]).never_says("Kernel panic");
    }
}

// ---- uImage, by U-Boot ----------------------------------------------------------------------------------------------

const IMAGE: u32 = 0x4400_0000;
const RAMDISK: u32 = 0x4800_0000;
const OTHER: u32 = 0x4900_0000;
/// Where a kernel wants to be on this board: the RAM's start and TEXT_OFFSET.
const LOAD: &str = "0x40008000";

/// QEMU's own ARM board with U-Boot, and files in its memory.
struct Board {
    qemu: PathBuf,
    u_boot: PathBuf,
}

impl Board {
    fn new() -> Option<Board> {
        let qemu = tool("qemu-system-arm", "qemu-system-arm")?;
        Some(Board { qemu, u_boot: u_boot("qemu_arm/u-boot.bin")? })
    }

    /// Up to U-Boot's prompt.
    fn start(&self, what: &str, loaded: &[(&Path, u32)]) -> Machine {
        let mut command = virt(&self.qemu);
        command.arg("-bios").arg(&self.u_boot).args(loaders(loaded));
        let mut machine = Machine::start(what, &mut command);
        machine.prompt();
        machine
    }

    /// A kernel with its RAM disk, which is a uImage too, and U-Boot's device tree; to user space.
    fn boot(&self, what: &str, image: &Path, ramdisk: &Path) -> Console {
        let mut machine = self.start(what, &[(image, IMAGE), (ramdisk, RAMDISK)]);
        machine.ask(&format!("setenv bootargs {ARM_ARGS}"));
        machine.leave("bootm 0x44000000 0x48000000 ${fdtcontroladdr}")
    }
}

/// Runs `make` for every ARM tree, then `check`; that twice with `KIMAGE_FULL=1`.
fn each_arm_tree<T: Sync>(make: impl Fn(&Path, &'static Tree) -> T, check: impl Fn(&'static Tree, &T) + Sync) {
    let dirs: Vec<_> = arm_trees().into_iter().map(|tree| (tempdir(), tree)).collect();
    let jobs: Vec<_> = dirs.iter().map(|(dir, tree)| (*tree, make(dir.path(), tree))).collect();
    each(&twice(jobs.iter().collect()), |(tree, made)| check(tree, made));
}

/// The RAM disk as a uImage of its own.
fn ramdisk_image(dir: &Path, tree: &Tree, cpu: Cpu) -> PathBuf {
    let ramdisk = put_initrd(dir, tree, cpu);
    make(dir, "uInitrd", "uimage", &[&ramdisk], &["-A", "arm", "-T", "ramdisk", "-C", "none", "-n", "kimage ramdisk"])
}

#[test]
fn uimage_all_derived() {
    let Some(board) = Board::new() else { return };
    each_arm_tree(
        |dir, tree| {
            let zimage = zimage(dir, tree);
            (make(dir, "uImage", "uimage", &[&zimage], &[]), ramdisk_image(dir, tree, arm_cpu(&zimage)))
        },
        |tree, (image, ramdisk)| {
            let console = board.boot(&format!("{}, uImage all derived", tree.name), image, ramdisk);
            let banner = banner(tree);
            let name = format!("Linux-{}", release(&banner));
            console.says(&[
                "## Booting kernel from Legacy Image at 44000000",
                &format!("Image Name:   {name}\n"),
                "Image Type:   ARM Linux Kernel Image (no loading done) (uncompressed)\n",
                "## Loading init Ramdisk from Legacy Image at 48000000",
                "Image Name:   kimage ramdisk\n",
                "Image Type:   ARM Linux RAMDisk Image (uncompressed)\n",
                "Verifying Checksum ... OK\n",
                &banner,
                USER_OK,
            ]);
            console.never_says("Kernel panic");
        },
    );
}

/// Load address and entry point, as the kernel's own `make uImage` has them: U-Boot copies the zImage there.
#[test]
fn uimage_with_addresses() {
    let Some(board) = Board::new() else { return };
    let options = ["-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none", "-a", LOAD, "-e", LOAD, "-n", "my-board"];
    each_arm_tree(
        |dir, tree| {
            let zimage = zimage(dir, tree);
            (make(dir, "uImage", "uimage", &[&zimage], &options), ramdisk_image(dir, tree, arm_cpu(&zimage)))
        },
        |tree, (image, ramdisk)| {
            let console = board.boot(&format!("{}, uImage with addresses", tree.name), image, ramdisk);
            console.says(&[
                "Image Name:   my-board\n",
                "Image Type:   ARM Linux Kernel Image (uncompressed)\n",
                "Load Address: 40008000\n",
                "Entry Point:  40008000\n",
                "Verifying Checksum ... OK\n",
                "Loading Kernel Image\n",
                &banner(tree),
                USER_OK,
            ]);
            console.never_says("Kernel panic");
        },
    );
}

/// No decompressor in between: the flat kernel, packed, unpacked by U-Boot and entered at its first byte.
#[test]
fn uimage_of_the_packed_image() {
    let Some(board) = Board::new() else { return };
    each_arm_tree(
        |dir, tree| {
            let cpu = arm_cpu(&zimage(dir, tree));
            let flat = make(dir, "Image", "image", &[&tree.path("vmlinux")], &["-R", ".comment"]);
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&read(&flat)).unwrap();
            let packed = put(dir, "Image.gz", &packer.finish().unwrap());
            let options = ["-A", "arm", "-a", LOAD, "-e", LOAD];
            (make(dir, "uImage", "uimage", &[&packed], &options), ramdisk_image(dir, tree, cpu))
        },
        |tree, (image, ramdisk)| {
            let console = board.boot(&format!("{}, uImage of Image.gz", tree.name), image, ramdisk);
            let banner = banner(tree);
            console.says(&[
                &format!("Image Name:   Linux-{}\n", release(&banner)),
                "Image Type:   ARM Linux Kernel Image (gzip compressed)\n",
                "Verifying Checksum ... OK\n",
                "Uncompressing Kernel Image\n",
                &banner,
                USER_OK,
            ]);
            console.never_says("Kernel panic");
        },
    );
}

/// The kernel takes the appended tree in place of the one that U-Boot passes.
#[test]
fn uimage_with_appended_device_tree() {
    let Some(board) = Board::new() else { return };
    each_arm_tree(
        |dir, tree| {
            let kernel = Appended::new(&board.qemu, dir, tree);
            (make(dir, "uImage", "uimage", &[&kernel.zimage], &[&kernel.option()]), kernel)
        },
        |tree, (image, kernel)| {
            let loaded: [(&Path, u32); 2] = [(image, IMAGE), (&kernel.ramdisk, kernel.ramdisk_at)];
            let mut machine = board.start(&format!("{}, uImage with appended device tree", tree.name), &loaded);
            machine.ask("setenv bootargs from U-Boot");
            let console = machine.leave("bootm 0x44000000 - ${fdtcontroladdr}");
            console.says(&["Verifying Checksum ... OK\n"]);
            kernel.check(&console);
        },
    );
}

/// Kernel, RAM disk and device tree in one file: U-Boot finds the parts by the table of sizes.
#[test]
fn uimage_of_several_files() {
    let Some(board) = Board::new() else { return };
    let dtb = device_tree(&board.qemu, "virt", &VIRT);
    each_arm_tree(
        |dir, tree| {
            let zimage = zimage(dir, tree);
            let ramdisk = put_initrd(dir, tree, arm_cpu(&zimage));
            let dtb = put(dir, "virt.dtb", &dtb);
            let options = ["-A", "arm", "-T", "multi", "-C", "none", "-a", LOAD, "-e", LOAD, "-n", "all in one"];
            (
                make(dir, "uImage", "uimage", &[&zimage, &ramdisk, &dtb], &options),
                read(&zimage).len(),
                read(&ramdisk).len(),
            )
        },
        |tree, (image, zimage_len, ramdisk_len)| {
            let mut machine = board.start(&format!("{}, uImage of several files", tree.name), &[(image, IMAGE)]);
            machine.ask(&format!("setenv bootargs {ARM_ARGS}"));
            // This board's U-Boot uses the parts where they lie if not told otherwise. But Linux wants a device tree on
            // 8 bytes, and a RAM disk whose pages nobody shares.
            machine.ask("setenv fdt_high; setenv initrd_high");
            let console = machine.leave("bootm 0x44000000");
            console.says(&[
                "Image Name:   all in one\n",
                "Image Type:   ARM Linux Multi-File Image (uncompressed)\n",
                &format!("   Image 0: {zimage_len} Bytes = "),
                &format!("   Image 1: {ramdisk_len} Bytes = "),
                &format!("   Image 2: {} Bytes = ", dtb.len()),
                "Verifying Checksum ... OK\n",
                &banner(tree),
                USER_OK,
            ]);
            console.never_says("Kernel panic");
        },
    );
}

#[test]
fn uimage_of_the_tiny_zimage() {
    let Some(board) = Board::new() else { return };
    let dir = tempdir();
    let zimage = make(dir.path(), "zImage", "zimage", &[&testdata("tiny/arm-vmlinux")], &[]);
    let image = make(dir.path(), "uImage", "uimage", &[&zimage], &["-n", "tiny"]);
    each(&twice(vec![()]), |()| {
        let machine = board.start("tiny uImage", &[(&image, IMAGE)]);
        let console = machine.leave("bootm 0x44000000 - ${fdtcontroladdr}");
        console.says(&[
            "Image Name:   tiny\n",
            "Image Type:   ARM Linux Kernel Image (no loading done) (uncompressed)\n",
            "Verifying Checksum ... OK\n",
            "tiny arm: device tree from the loader\n",
            "tiny arm: no device tree appended\n",
            "TINY-BOOT-OK\n",
        ]);
    });
}

/// A script, which boots the tiny kernel.
#[test]
fn uimage_of_a_script() {
    let Some(board) = Board::new() else { return };
    let dir = tempdir();
    let zimage = make(dir.path(), "zImage", "zimage", &[&testdata("tiny/arm-vmlinux")], &[]);
    let image = make(dir.path(), "uImage", "uimage", &[&zimage], &[]);
    let text = put(dir.path(), "boot.cmd", b"echo KIMAGE-SCRIPT-OK\nbootm 0x44000000 - ${fdtcontroladdr}\n");
    let script = make(dir.path(), "boot.scr", "uimage", &[&text], &["-A", "arm", "-T", "script", "-C", "none"]);
    each(&twice(vec![()]), |()| {
        let mut machine = board.start("script", &[(&image, IMAGE), (&script, OTHER)]);
        let info = machine.ask("iminfo 0x49000000");
        assert!(info.contains("Image Type:   ARM Linux Script (uncompressed)\n"), "{info}");
        assert!(info.contains("Verifying Checksum ... OK\n"), "{info}");
        let console = machine.leave("source 0x49000000");
        console.says(&["## Executing script at 49000000\n", "KIMAGE-SCRIPT-OK\n", "TINY-BOOT-OK\n"]);
    });
}

/// The two checksums are those that U-Boot computes: one changed byte anywhere is refused.
#[test]
fn u_boot_refuses_a_damaged_uimage() {
    let Some(board) = Board::new() else { return };
    let dir = tempdir();
    let zimage = make(dir.path(), "zImage", "zimage", &[&testdata("tiny/arm-vmlinux")], &[]);
    let image = make(dir.path(), "uImage", "uimage", &[&zimage], &[]);
    let good = read(&image);
    // Magic, its own checksum, time, name; the data's checksum, first byte and last byte.
    let cases = [
        (0, "Wrong Image Format for bootm command\n"),
        (4, "Bad Header Checksum\n"),
        (8, "Bad Header Checksum\n"),
        (63, "Bad Header Checksum\n"),
        (24, "Bad Header Checksum\n"),
        (64, "Verifying Checksum ... Bad Data CRC\n"),
        (good.len() - 1, "Verifying Checksum ... Bad Data CRC\n"),
    ];
    run_ok(kimage().arg("verify").arg(&image));
    let mut loaded = vec![(image.clone(), IMAGE)];
    for (number, (at, _)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        bad[*at] ^= 0x10;
        let path = put(dir.path(), &format!("bad-{at}"), &bad);
        // kimage refuses the same bytes.
        let verified = support::run(kimage().arg("verify").arg(&path));
        assert_eq!(verified.status.code(), Some(1), "byte {at}: {}", support::stdout(&verified));
        loaded.push((path, IMAGE + 0x1_0000 * (number as u32 + 1)));
    }
    let loaded: Vec<_> = loaded.iter().map(|(path, at)| (path.as_path(), *at)).collect();
    each(&twice(vec![()]), |()| {
        let mut machine = board.start("damaged uImages", &loaded);
        let info = machine.ask("iminfo 0x44000000");
        assert!(info.contains("Verifying Checksum ... OK\n"), "{info}");
        for ((at, want), (_, address)) in cases.iter().zip(&loaded[1..]) {
            let said = machine.ask(&format!("bootm {address:#x} - ${{fdtcontroladdr}}"));
            assert!(said.contains(want), "byte {at}: {said}");
            assert!(said.contains("can't get kernel image"), "byte {at}: {said}");
        }
        machine.leave("reset");
    });
}
