//! bzImages.

use super::*;

fn bzimage(dir: &Path, tree: &Tree) -> PathBuf {
    let (vmlinux, setup) = (tree.path("arch/x86/boot/compressed/vmlinux"), tree.path("arch/x86/boot/setup.bin"));
    make(dir, &format!("{}.bzImage", tree.name), "bzimage", &[&vmlinux, &setup], &[])
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
        let mut command = pc(&qemu, machine, "Nehalem-v1", 1, 256);
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
        let matrix: &[(&str, &str, usize)] = match full() {
            false => &[("q35", "Nehalem-v1", 1)],
            true => &[
                ("q35", "Nehalem-v1", 1),
                ("q35", "Nehalem-v1", 2),
                ("q35", "qemu64", 1),
                ("q35", "qemu64", 2),
                ("pc", "Nehalem-v1", 1),
                ("pc", "Nehalem-v1", 2),
                ("pc", "qemu64", 1),
                ("pc", "qemu64", 2),
            ],
        };
        jobs.extend(matrix.iter().map(|machine| (tree, image.clone(), ramdisk.clone(), *machine)));
    }
    each(&jobs, |(tree, image, ramdisk, (machine, cpu, cpus))| {
        let mut command = pc(&qemu, machine, cpu, *cpus, 256);
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk).args(["-append", "console=ttyS0 panic=-1"]);
        let console = Machine::start(&format!("{} on {machine}, {cpu}, {cpus} CPUs", tree.name), &mut command).finish();
        console.says(&[&banner(tree), USER_OK]).never_says("Kernel panic");
    });
}

/// A PC with U-Boot in its ROM, and files in its memory.
fn u_boot_pc(qemu: &Path, rom: &Path, loaded: &[(&Path, u64)]) -> Command {
    let mut command = pc(qemu, "q35", "Nehalem-v1", 1, 256);
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
