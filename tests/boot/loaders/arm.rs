//! zImages.

use super::*;

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
