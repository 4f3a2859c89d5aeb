//! `doctor` without a machine: what a configuration, a target or a log tells. (That it comes true: tests/boot/doctor.rs.)

use crate::elf_builder::{Builder, PT_LOAD, SHF_ALLOC, SHT_PROGBITS};
use crate::files::{self, cpio_of as archive};
use crate::support::{kimage, put, read, run, stderr, tempdir, testdata, tree, wild};
use kimage::codec::Codec;
use kimage::doctor::{Diagnosis, Request, doctor};

/// A program for x86-64, of which nobody looks at more than its headers.
fn program() -> Vec<u8> {
    read(&testdata("tiny/kernel"))
}

/// A kernel for x86-64 without configuration and symbols.
fn kernel() -> Vec<u8> {
    // usr/default_cpio_list.
    kernel_with(&archive(&[("dev", 0o040_755, b""), ("dev/console", 0o020_600, b""), ("root", 0o040_700, b"")]))
}

/// The same with another built-in archive.
fn kernel_with(own: &[u8]) -> Vec<u8> {
    let mut kernel = Builder::new(true, false, 62);
    let banner = b"Linux version 6.1.0-test (root@vm) (gcc 12) #1 Sat Nov 21 00:09:40 UTC 2026\n\0";
    let text = [&[0x90; 64][..], banner, b"No working init found\0root=UUID=12\0"].concat();
    kernel.section(".text", SHT_PROGBITS, SHF_ALLOC, 0xffff_ffff_8100_0000, &text);
    kernel.section(".init.ramfs", SHT_PROGBITS, SHF_ALLOC, 0xffff_ffff_8100_1000, own);
    kernel.segment(PT_LOAD, 1..3, 0x100_0000);
    kernel.build()
}

const GOOD: &str = "CONFIG_64BIT=y\nCONFIG_BLOCK=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\nCONFIG_BINFMT_SCRIPT=y\nCONFIG_RD_GZIP=y\n\
                    CONFIG_DEVTMPFS=y\nCONFIG_EXT4_FS=y\nCONFIG_SERIAL_8250_CONSOLE=y\n";

fn diagnose(request: &Request<'_>) -> Diagnosis {
    doctor(&kernel(), request).unwrap()
}

/// The rules that are not kept, with what is said.
fn rules(request: &Request<'_>) -> Vec<(&'static str, String)> {
    diagnose(request).findings.into_iter().map(|finding| (finding.rule, finding.message)).collect()
}

#[track_caller]
fn assert_finds(request: &Request<'_>, wanted: &[(&str, &str)]) {
    let found = rules(request);
    let is_as_wanted =
        |(found, wanted): (&(&str, String), &(&str, &str))| found.0 == wanted.0 && found.1.contains(wanted.1);
    assert!(
        found.len() == wanted.len() && found.iter().zip(wanted).all(is_as_wanted),
        "{found:#?}, wanted {wanted:#?}"
    );
}

#[test]
fn what_the_configuration_tells() {
    let init = program();
    let initrd = archive(&[("init", 0o100_755, &init)]);
    let packed = files::gzip(&initrd);
    let with = |config: &'static str, cmdline: &'static str| Request {
        config: Some(config),
        cmdline: Some(cmdline),
        initrds: vec![&packed],
        ..Request::default()
    };
    let good = diagnose(&with(GOOD, "console=ttyS0,115200"));
    assert_eq!((good.reaches_user_space, good.findings.len()), ("yes", 0), "{good:#?}");
    assert_eq!(good.options["CONFIG_RD_GZIP"], "yes (the configuration given)");
    const NO_INITRD: &str =
        "CONFIG_64BIT=y\nCONFIG_BINFMT_ELF=y\nCONFIG_BLOCK=y\n# CONFIG_BLK_DEV_INITRD is not set\nCONFIG_DEVTMPFS=y\n";
    assert_finds(
        &with(NO_INITRD, ""),
        &[("doctor.initrd", "CONFIG_BLK_DEV_INITRD is not set"), ("doctor.root", "unknown-block(0,0)")],
    );
    // init/initramfs.c: "compression method %s not configured".
    const NO_GZIP: &str =
        "CONFIG_64BIT=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BLOCK=y\n# CONFIG_RD_GZIP is not set\nCONFIG_DEVTMPFS=y\n";
    assert_finds(
        &with(NO_GZIP, ""),
        &[("doctor.initrd_codec", "\"compression method gzip not configured\""), ("doctor.root", "unknown-block(0,0)")],
    );
    const NO_SCRIPT: &str =
        "CONFIG_64BIT=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\n# CONFIG_BINFMT_SCRIPT is not set\n";
    let script = archive(&[("init", 0o100_755, b"#!/run"), ("run", 0o100_755, &init)]);
    let request = Request { config: Some(NO_SCRIPT), initrds: vec![&script], ..Request::default() };
    assert!(rules(&request)[0].1.contains("CONFIG_BINFMT_SCRIPT is not set"));
    // Before there was the option, kernels had it.
    let older = "CONFIG_64BIT=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\n";
    assert_finds(&Request { config: Some(older), ..request }, &[("doctor.not_known", "CONFIG_BINFMT_SCRIPT")]);
}

#[test]
fn root_devices() {
    let with = |config, cmdline| Request { config: Some(config), cmdline: Some(cmdline), ..Request::default() };
    let mmc: String = GOOD.to_owned() + "CONFIG_MMC_BLOCK=y\n";
    assert_finds(&with(&mmc, "root=/dev/mmcblk0p2 rootwait"), &[]);
    assert_finds(&with(&mmc, "root=/dev/mmcblk0p2"), &[("doctor.root_wait", "no rootwait")]);
    assert_finds(&with(&mmc, "root=PARTUUID=1234-02 rootwait"), &[]);
    let bare = mmc.replace("CONFIG_DEVTMPFS=y", "# CONFIG_DEVTMPFS is not set");
    assert_finds(&with(&bare, "root=/dev/mmcblk0p2 rootwait"), &[("doctor.devtmpfs", "CONFIG_DEVTMPFS")]);
    // A module is reachable where the initial RAM disk has it.
    let init = program();
    let modules = mmc.clone() + "CONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_PCI=y\n";
    let mut entries = vec![("init", 0o100_755, &init[..]), ("lib", 0o040_755, b"")];
    let without = archive(&entries);
    entries.push(("lib/virtio_blk.ko.xz", 0o100_644, b"x"));
    let carried = archive(&entries);
    let request = with(&modules, "root=/dev/vda1");
    assert_finds(&Request { initrds: vec![&carried], ..request.clone() }, &[]);
    assert_finds(
        &Request { initrds: vec![&without], ..request.clone() },
        &[("doctor.root", "which the initial RAM disk does not have")],
    );
    assert_finds(&request, &[("doctor.root", "only as a module")]);
}

/// ext4's driver mounts ext2, too: as a module where that is one (fs/ext4/Kconfig: EXT4_USE_FOR_EXT2 is no driver of its own).
#[test]
fn ext4_for_ext2() {
    let config = |ext4: &str| {
        format!(
            "CONFIG_64BIT=y\nCONFIG_BLOCK=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\nCONFIG_DEVTMPFS=y\nCONFIG_MMC_BLOCK=y\nCONFIG_EXT4_FS={ext4}\nCONFIG_EXT4_USE_FOR_EXT2=y\n"
        )
    };
    let cmdline = Some("root=/dev/mmcblk0p1 rootwait rootfstype=ext2");
    let built_in = config("y");
    assert_finds(&Request { config: Some(&built_in), cmdline, ..Request::default() }, &[]);
    let module = config("m");
    let wanted = [("doctor.root_filesystem", "only as a module")];
    assert_finds(&Request { config: Some(&module), cmdline, ..Request::default() }, &wanted);
    let init = program();
    let files = [("init", 0o100_755, &init[..]), ("lib", 0o040_755, b""), ("lib/ext4.ko", 0o100_644, b"x")];
    let initrd = archive(&files);
    let request = Request { config: Some(&module), cmdline, initrds: vec![&initrd], ..Request::default() };
    assert!(rules(&request).iter().all(|found| found.0 != "doctor.root_filesystem"));
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    let init = program();
    let initrd = archive(&[("init", 0o100_755, &init)]);
    let request =
        Request { initrds: vec![&initrd], cmdline: Some("console=ttyS0 root=/dev/vda"), ..Request::default() };
    let diagnosis = diagnose(&request);
    assert_eq!(diagnosis.reaches_user_space, "not known");
    assert!(diagnosis.findings.iter().all(|finding| finding.rule == "doctor.not_known"), "{diagnosis:#?}");
    assert!(diagnosis.options.values().all(|answer| answer.starts_with("not known")), "{diagnosis:#?}");
    // An archive that is built in and was not found may have the first program.
    let request = Request { cmdline: Some("root=UUID=12"), config: Some(GOOD), ..Request::default() };
    assert_eq!(doctor(&kernel_with(b"nothing"), &request).unwrap().findings, []);
    assert_finds(&request, &[("doctor.root", "UUID")]);
    // Without a word of what the boot loader gives.
    assert_eq!(diagnose(&Request { config: Some(GOOD), ..Request::default() }).findings, []);
}

#[test]
fn targets() {
    let with = |config, target| Request { config: Some(config), targets: vec![target], ..Request::default() };
    let mptspi = "CONFIG_64BIT=y\nCONFIG_PCI=y\nCONFIG_SCSI=y\nCONFIG_BLK_DEV_SD=y\n# CONFIG_FUSION is not set\n";
    assert_finds(&with(mptspi, "mptspi"), &[("doctor.root", "CONFIG_FUSION_SPI, which the kernel has not at all")]);
    let request = Request { cmdline: Some("root=/dev/sda1"), ..with(mptspi, "mptspi") };
    assert!(
        rules(&request).iter().any(|found| found.0 == "doctor.root" && found.1.contains("Unable to mount root fs"))
    );
    assert_finds(
        &with("CONFIG_64BIT=y\nCONFIG_MMC_BLOCK=y\nCONFIG_MMC_BCM2835=y\nCONFIG_VT_CONSOLE=y", "raspberry-pi"),
        &[("doctor.target_cpu", "the kernel is for x86-64, raspberry-pi is ARM or arm64")],
    );
    let firecracker = "CONFIG_64BIT=y\nCONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_VIRTIO_NET=y\n";
    assert_finds(&with(firecracker, "firecracker"), &[]);
    let found = doctor(&files::bzimage(), &with(firecracker, "firecracker")).unwrap().findings;
    assert!(found.iter().any(|finding| finding.rule == "doctor.target_format"), "{found:?}");
    for name in ["systemd", "container"] {
        let found = diagnose(&with("CONFIG_64BIT=y\n", name));
        assert!(found.reaches_user_space == "not known" && found.findings.len() > 10, "{found:?}");
    }
    let own = "[[target]]\nname = \"mine\"\nabout = \"my board\"\nneed = [{ what = \"my disk\", any = [\"MY_DISK\"], level = \"must\" }]\n";
    let request = Request { target_files: vec![own], config: Some(GOOD), ..Request::default() };
    assert_finds(&request, &[("doctor.target", "mine (my disk) needs CONFIG_MY_DISK")]);
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    put(dir.path(), "own.toml", b"[[target]]\nname = 1\n");
    for (target, words) in [("moon", "no such target; there are qemu-virtio (QEMU"), ("own.toml", "line 2")] {
        let output = run(kimage().current_dir(dir.path()).arg("doctor").arg(&kernel).args(["--target", target]));
        assert!(output.status.code() == Some(1) && stderr(&output).contains(words), "{output:?}");
    }
}

/// Lines as Linux, ld.so, musl, initramfs-tools and systemd print them (which files: src/doctor/targets.toml).
#[test]
fn a_log_is_explained() {
    for (line, words) in [
        ("VFS: Cannot open root device \"vda1\" or unknown-block(0,0): error -6", "no device of that name"),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "UUID="),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(254,1)", "file system could not"),
        ("Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.", "/sbin/init"),
        ("Kernel panic - not syncing: Requested init /bin/x failed (error -2).", "no such program"),
        ("Failed to execute /init (error -8)", "another CPU"),
        ("Failed to execute /init (error -13)", "not executable"),
        ("Failed to execute /init (error -2)", "interpreter"),
        ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00", "127"),
        ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", "ended"),
        ("Initramfs unpacking failed: compression method zstd not configured", "built without"),
        (
            "init: error while loading shared libraries: libc.so.6: cannot open shared object file: No such file or directory",
            "is missing",
        ),
        ("init: error while loading shared libraries: libc.so.6: wrong ELF class: ELFCLASS32", "could not be loaded"),
        ("Error loading shared library libz.so.1: No such file or directory (needed by /init)", "is missing"),
        ("Error loading shared library libz.so.1: Exec format error (needed by /init)", "could not be loaded"),
        ("Gave up waiting for root file system device.  Common problems:", "no root device"),
        ("[!!!!!!] Failed to mount early API filesystems.", "systemd could not mount"),
        ("[!!!!!!] Failed to mount API filesystems.", "systemd could not mount"),
        ("EXT4-fs (vda): Couldn't mount because of unsupported optional features (10000)", "too old"),
        ("Error: invalid dtb and unrecognized/unsupported machine ID", "no support for this board"),
        ("Kernel panic - not syncing: Fatal exception", "not known"),
    ] {
        let log = format!("[    0.000000] Linux version 6.1.0\n[    1.000000] {line}\n---[ end {line} ]---\n");
        let request = Request { log: Some(&log), config: Some(GOOD), ..Request::default() };
        assert_finds(&request, &[("doctor.log", words)]);
        assert_eq!(diagnose(&request).reaches_user_space, "no");
        assert!(rules(&request)[0].1.starts_with("line 2 of the log"));
    }
    let log = "[    0.0] Kernel command line: console=ttyS0 root=UUID=12 ro\n[    1.0] Warning: unable to open an initial console.\n";
    let diagnosis = diagnose(&Request { log: Some(log), config: Some(GOOD), ..Request::default() });
    assert_eq!(diagnosis.cmdline.as_deref(), Some("console=ttyS0 root=UUID=12 ro"));
    // Whether there was an initial RAM disk is not told.
    assert_eq!(diagnosis.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["doctor.log"]);
    // Nor is it by a command line that is built in; a UKI has all.
    let built_in = GOOD.to_owned() + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"root=UUID=12\"\n";
    let diagnosis = diagnose(&Request { config: Some(&built_in), ..Request::default() });
    assert_eq!((diagnosis.cmdline.as_deref(), diagnosis.findings.len()), (Some("root=UUID=12"), 0));
    let diagnosis = doctor(&files::uki(), &Request::default()).unwrap();
    assert!(diagnosis.cmdline.is_some(), "{diagnosis:#?}");
}

#[test]
fn consoles() {
    let bare = "CONFIG_64BIT=y\nCONFIG_SERIAL_CORE_CONSOLE=y\n".to_owned();
    let other = bare.clone() + "CONFIG_SERIAL_MXS_DUART_CONSOLE=y\n";
    for (config, line, rules) in [
        (&bare, "console=ttyS0 root=PARTUUID=1", &["doctor.console"][..]),
        // One that is not known may have the name.
        (&other, "console=ttyS0 root=PARTUUID=1", &[]),
        (&other, "console=ttyAM0 root=PARTUUID=1", &[]),
    ] {
        let config = config.clone() + "CONFIG_BLOCK=y\nCONFIG_EXT4_FS=y\nCONFIG_DEVTMPFS=y\n";
        let found = diagnose(&Request { config: Some(&config), cmdline: Some(line), ..Request::default() }).findings;
        assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), rules, "{line}: {found:?}");
    }
}

/// Of a kernel that has its own configuration, the one given counts for nothing; a stranger's is told.
#[test]
fn configurations() {
    let Some(tree) = tree("6.1-x86_64") else { return };
    let vmlinux = tree.read("vmlinux");
    let own = doctor(
        &vmlinux,
        &Request { config: Some("# CONFIG_BLK_DEV_INITRD is not set\n"), initrds: vec![b"x"], ..Request::default() },
    );
    assert_eq!(own.unwrap().options["CONFIG_BLK_DEV_INITRD"], "yes (its own configuration)");
    let text = "# Linux/x86 5.10.1 Kernel Configuration\n";
    let found = doctor(&vmlinux, &Request { config: Some(text), ..Request::default() }).unwrap().findings;
    assert!(
        found.iter().any(|finding| finding.rule == "doctor.config" && finding.message.contains("5.10")),
        "{found:?}"
    );
    // Codecs of archives of each kind are told apart.
    let initrd = archive(&[("init", 0o100_755, &program())]);
    for codec in [Codec::Gzip, Codec::Bzip2, Codec::Lzma, Codec::Xz, Codec::Lzo, Codec::Lz4Legacy, Codec::Zstd] {
        let packed = files::packed(codec, &initrd);
        let found = doctor(&vmlinux, &Request { initrds: vec![&packed], ..Request::default() }).unwrap();
        assert_eq!(found.reaches_user_space, "yes", "{codec:?}: {found:?}");
        let name = codec.name().split(' ').next().unwrap().to_uppercase();
        assert_eq!(found.options[&format!("CONFIG_RD_{name}")], "yes (its own configuration)");
    }
}

/// Their owners booted them: no error is found, and of those that have their first program with them it is found to run.
/// A name whose data the kernel does not write, as it makes no link in a folder that is not there (init/initramfs.c, `do_name`);
/// zeros, which it passes over; scripts for scripts.
#[test]
fn ram_disks_are_unpacked_as_the_kernel_does() {
    let init = program();
    let linked = |first: &str, second: &str| {
        let (none, data) = (archive(&[(first, 0o100_755, b"")]), archive(&[(second, 0o100_755, &init)]));
        let entry = |archive: &[u8], number: &[u8]| {
            let end = archive.windows(6).rposition(|window| window == b"070701").unwrap();
            let mut entry = archive[..end].to_vec();
            entry[6..14].copy_from_slice(number);
            entry[38..46].copy_from_slice(b"00000002");
            entry
        };
        let folder = archive(&[("late", 0o040_755, b"")]);
        [entry(&none, b"00000777"), entry(&data, b"00000777"), folder].concat()
    };
    fn with(initrd: &[u8]) -> Request<'_> {
        Request { config: Some(GOOD), cmdline: Some(""), initrds: vec![initrd], ..Request::default() }
    }
    assert_finds(&with(&linked("init", "other")), &[]);
    let empty = "/init is neither a program nor a script";
    assert_finds(&with(&linked("init", "late/name")), &[("doctor.init", empty), ("doctor.initrd_folder", "late/name")]);
    let good = archive(&[("init", 0o100_755, &init)]);
    for zeros in [4, 512] {
        assert_finds(&with(&[vec![0; zeros], good.clone()].concat()), &[]);
    }
    assert_finds(&with(&[vec![0; 3], files::gzip(&good)].concat()), &[]);
    let [empty, zeros, unaligned] =
        [vec![], vec![0; 512], [vec![0; 6], good].concat()].map(|initrd| rules(&with(&initrd)));
    assert!(empty.len() == 1 && empty[0].0 == "doctor.root" && zeros == empty, "{empty:?} {zeros:?}");
    assert!(unaligned.iter().any(|it| it.0 == "initramfs.junk" || it.0 == "doctor.initrd_unpack"), "{unaligned:?}");
    // The sixth is still started, the seventh not (fs/exec.c, `exec_binprm`).
    for (scripts, is_started) in [(5, true), (6, false)] {
        let names: Vec<String> =
            (0..=scripts).map(|at| if at == 0 { "init".into() } else { format!("s{at}") }).collect();
        let texts: Vec<String> = (0..scripts).map(|at| format!("#!/s{}\n", at + 1)).collect();
        let mut files: Vec<(&str, usize, &[u8])> =
            names.iter().zip(&texts).map(|(name, text)| (&**name, 0o100_755, text.as_bytes())).collect();
        files.push((&names[scripts], 0o100_755, &init));
        let found = rules(&with(&archive(&files)));
        assert_eq!(found.is_empty(), is_started, "{found:?}");
        assert!(is_started || found[0].1.contains("scripts for scripts"), "{found:?}");
    }
}

/// What the configuration says is no longer so where another command line has been built in.
#[test]
fn a_command_line_that_is_not_there_is_not_believed() {
    const CONFIG: &str = "CONFIG_CMDLINE=\"root=\\\"a b\\\"\"\nCONFIG_CMDLINE_BOOL=y\n";
    let line = |text: &[u8]| {
        let image = [kernel(), text.to_vec()].concat();
        doctor(&image, &Request { config: Some(CONFIG), ..Request::default() }).unwrap().cmdline
    };
    assert_eq!(line(b"root=\"a b\"\0").as_deref(), Some("root=\"a b\""));
    assert_eq!(line(b"root=\"a c\"\0"), None);
}

#[test]
fn published_images() {
    let Some(folder) = wild() else { return };
    let (mut looked, mut reached) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let Ok(diagnosis) = doctor(&read(&entry.path()), &Request::default()) else { continue }; // no gap: no kernel
        assert_ne!(diagnosis.reaches_user_space, "no", "{name}: {diagnosis:#?}");
        looked += 1;
        if diagnosis.reaches_user_space == "yes" {
            reached.push(name);
        }
    }
    assert!(looked > 30, "{looked}");
    for number in ["005", "007", "044", "072", "102"] {
        assert!(reached.iter().any(|name| name.starts_with(number)), "{number}: {reached:?}");
    }
}
