//! `extract --symbols` of kernels that relocate themselves: what kimage reads is what the running kernel says in
//! /proc/kallsyms.

use crate::machine::{self, Machine, initrd_of};
use crate::support::{debian_kernel, kimage, put, read, run_ok, stdout, tempdir, tool};
use std::process::Command;

/// Prints /proc/kallsyms and restarts: mount, openat, read, write, ioctl (TCSBRK), reboot.
const INIT: &str = r#"
.globl _start
_start:
    adr x0, proc; adr x1, folder; adr x2, proc; mov x3, #0; mov x4, #0; mov x8, #40; svc #0
    mov x0, #-100; adr x1, file; mov x2, #0; mov x8, #56; svc #0
    mov x19, x0
    sub sp, sp, #4096
1:  mov x0, x19; mov x1, sp; mov x2, #4096; mov x8, #63; svc #0
    cmp x0, #0
    ble 3f
    mov x20, x0
    mov x21, sp
2:  mov x0, #1; mov x1, x21; mov x2, x20; mov x8, #64; svc #0
    add x21, x21, x0
    subs x20, x20, x0
    bgt 2b
    b 1b
3:  mov x0, #1; mov x1, #0x5409; mov x2, #1; mov x8, #29; svc #0
    mov x0, #0xdead; movk x0, #0xfee1, lsl #16
    mov x1, #0x1969; movk x1, #0x2812, lsl #16
    mov x2, #0x4567; movk x2, #0x0123, lsl #16
    mov x8, #142; svc #0
    udf #0
proc: .asciz "proc"
folder: .asciz "/dev"
file: .asciz "/dev/kallsyms"
"#;

/// Address and name in each line of nm's or the kernel's, sorted. Classes differ: the ELF file has one section.
fn symbols(text: &str) -> Vec<(u64, &str)> {
    let line = |line: &'_ str| -> Option<(u64, usize)> {
        let mut words = line.split([' ', '\t']);
        let address = words.next().filter(|word| word.len() == 16)?;
        let class = words.next().filter(|word| word.len() == 1)?;
        Some((u64::from_str_radix(address, 16).ok()?, address.len() + class.len() + 2))
    };
    let lines = text.lines().filter(|line| !line.ends_with(']'));
    let mut all: Vec<_> =
        lines.filter_map(|text| line(text).map(|(address, at)| (address, text[at..].trim()))).collect();
    all.sort_unstable();
    all
}

/// Debian's 6.1 has its base in a RELA table alone; 7.2 counts from each place, and has RELR.
#[test]
fn the_running_kernel_says_the_same() {
    let Some(qemu) = tool("qemu-system-aarch64", "qemu-system-arm") else { return };
    let tools = ["as", "ld"].map(|name| tool(&format!("aarch64-linux-gnu-{name}"), "binutils-aarch64-linux-gnu"));
    let ([Some(assembler), Some(linker)], Some(nm)) = (tools, tool("nm", "binutils")) else { return };
    let dir = tempdir();
    let dir = dir.path();
    put(dir, "init.s", INIT.as_bytes());
    run_ok(Command::new(assembler).current_dir(dir).args(["init.s", "-o", "init.o"]));
    run_ok(Command::new(linker).current_dir(dir).args(["-s", "init.o", "-o", "init"]));
    let init = read(&dir.join("init"));
    for name in ["bookworm-arm64-cloud-arm64", "sid-arm64-cloud-arm64"] {
        let Some(kernel) = debian_kernel(name) else { continue };
        run_ok(kimage().current_dir(dir).arg("extract").arg(&kernel).args(["vmlinux", "--symbols", "-o", "vmlinux"]));
        let ours = stdout(&run_ok(Command::new(&nm).current_dir(dir).arg("vmlinux")));
        put(dir, "initrd", &initrd_of(&[("init", &init)]));
        let mut command = machine::qemu(&qemu, "virt");
        command.current_dir(dir).args(["-cpu", "cortex-a57", "-m", "512"]);
        command.args(["-initrd", "initrd", "-kernel"]).arg(&kernel);
        command.args(["-append", "console=ttyAMA0 quiet nokaslr panic=-1"]);
        let console = Machine::start(name, &mut command).finish();
        let (ours, theirs) = (symbols(&ours), symbols(console.text()));
        assert!(ours.len() > 40_000, "{name}: {}", ours.len());
        let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "{name}");
        assert_eq!(ours.len(), theirs.len(), "{name}");
    }
}
