//! uImages, by U-Boot.

use super::*;

const IMAGE: u64 = 0x4400_0000;
const RAMDISK: u64 = 0x4800_0000;
const OTHER: u64 = 0x4900_0000;
/// Where a kernel wants to be on this board: the RAM's start and TEXT_OFFSET.
const LOAD: &str = "0x40008000";

/// A kernel with its RAM disk, which is a uImage too, and U-Boot's device tree; to user space.
fn boot(board: &Board, what: &str, image: &Path, ramdisk: &Path) -> Console {
    let mut machine = board.start(what, &[(image, IMAGE), (ramdisk, RAMDISK)]);
    machine.ask(&format!("setenv bootargs {ARM_ARGS}"));
    machine.leave("bootm 0x44000000 0x48000000 ${fdtcontroladdr}")
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
    let Some(board) = Board::arm() else { return };
    each_arm_tree(
        |dir, tree| {
            let zimage = zimage(dir, tree);
            (make(dir, "uImage", "uimage", &[&zimage], &[]), ramdisk_image(dir, tree, arm_cpu(&zimage)))
        },
        |tree, (image, ramdisk)| {
            let console = boot(&board, &format!("{}, uImage all derived", tree.name), image, ramdisk);
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
    let Some(board) = Board::arm() else { return };
    let options = ["-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none", "-a", LOAD, "-e", LOAD, "-n", "my-board"];
    each_arm_tree(
        |dir, tree| {
            let zimage = zimage(dir, tree);
            (make(dir, "uImage", "uimage", &[&zimage], &options), ramdisk_image(dir, tree, arm_cpu(&zimage)))
        },
        |tree, (image, ramdisk)| {
            let console = boot(&board, &format!("{}, uImage with addresses", tree.name), image, ramdisk);
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
    let Some(board) = Board::arm() else { return };
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
            let console = boot(&board, &format!("{}, uImage of Image.gz", tree.name), image, ramdisk);
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
    let Some(board) = Board::arm() else { return };
    each_arm_tree(
        |dir, tree| {
            let kernel = Appended::new(&board.qemu, dir, tree);
            (make(dir, "uImage", "uimage", &[&kernel.zimage], &[&kernel.option()]), kernel)
        },
        |tree, (image, kernel)| {
            let loaded: [(&Path, u64); 2] = [(image, IMAGE), (&kernel.ramdisk, kernel.ramdisk_at)];
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
    let Some(board) = Board::arm() else { return };
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
    let Some(board) = Board::arm() else { return };
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
    let Some(board) = Board::arm() else { return };
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
    let Some(board) = Board::arm() else { return };
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
        loaded.push((path, IMAGE + 0x1_0000 * (number as u64 + 1)));
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
