//! `verify --kernel` says of modules what the kernel says when it is to load them: Debian's own is taken, also stripped, and one with
//! another vermagic, another checksum or for another CPU is refused.

use crate::machine::{self, Machine, archive_of};
use crate::support::{debian_kernel, kimage, missing, put, read, run, run_ok, stdout, tempdir, tool};

const INIT: &str = "#!/busybox sh
/busybox mkdir /t
/busybox mount -t devtmpfs none /t
for module in good stripped magic crc cpu; do
    echo \"trying $module\" > /t/kmsg
    /busybox insmod /$module.ko && echo \"loaded $module\" > /t/kmsg && /busybox rmmod nls_utf8
done
/busybox sleep 1
/busybox reboot -f
";

#[test]
fn what_the_kernel_says() {
    let (Some(qemu), Some(busybox)) =
        (tool("qemu-system-x86_64", "qemu-system-x86"), tool("busybox", "busybox-static"))
    else {
        return;
    };
    let Some(kernel) = debian_kernel("bookworm-amd64-cloud-amd64") else { return };
    let module = kernel.with_file_name("modules").join("nls_utf8.ko");
    if !module.is_file() {
        return missing(&format!("no {} (sh tests/fetch-debian.sh)", module.display()));
    }
    let good = read(&module);
    // Without its signature, which would be looked at first.
    let stripped = run_ok(kimage().args(["strip", "--strip-debug"]).arg(&module)).stdout;
    // The flag SMP; the checksum, which stands 8 bytes in front of the name; e_machine.
    let mut magic = stripped.clone();
    let flag = magic.windows(5).position(|window| window == b" SMP ").unwrap();
    magic[flag + 1] ^= 1;
    let mut crc = stripped.clone();
    let name = crc.windows(14).position(|window| window == b"module_layout\0").unwrap();
    crc[name - 8] ^= 1;
    let mut cpu = stripped.clone();
    cpu[18] = 183;
    let dir = tempdir();
    let modules = [
        ("good", &good, None),
        ("stripped", &stripped, None),
        ("magic", &magic, Some("module.vermagic")),
        ("crc", &crc, Some("module.crc")),
        ("cpu", &cpu, Some("module.cpu")),
    ];
    for (name, bytes, rule) in &modules {
        let file = put(dir.path(), &format!("{name}.ko"), bytes);
        let output = run(kimage().arg("verify").arg(file).arg("--kernel").arg(&kernel));
        assert_eq!(output.status.success(), rule.is_none(), "{}", stdout(&output));
        assert!(rule.is_none_or(|rule| stdout(&output).contains(rule)), "{}", stdout(&output));
    }
    let busybox = read(&busybox);
    let mut files: Vec<(String, u32, &[u8])> =
        vec![("init".into(), 0o100_755, INIT.as_bytes()), ("busybox".into(), 0o100_755, &busybox)];
    files.extend(modules.iter().map(|(name, bytes, _)| (format!("{name}.ko"), 0o100_644, &bytes[..])));
    let files: Vec<(&str, u32, &[u8])> = files.iter().map(|(name, mode, bytes)| (&**name, *mode, *bytes)).collect();
    put(dir.path(), "initrd", &archive_of(&files));
    let mut command = machine::pc(&qemu, "q35", "qemu64", 1, 512);
    command.current_dir(dir.path()).args(["-initrd", "initrd", "-kernel"]).arg(&kernel);
    command.args(["-append", "console=ttyS0 panic=-1"]);
    let console = Machine::start("modules", &mut command).finish();
    console.says(&[
        "loaded good",
        "loaded stripped",
        "version magic '",
        "' should be '",
        "disagrees about version of symbol module_layout",
    ]);
    for name in ["magic", "crc", "cpu"] {
        console.never_says(&format!("loaded {name}"));
    }
}
