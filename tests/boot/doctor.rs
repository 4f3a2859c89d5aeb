//! `doctor`: of each planted fault the console shows the words that were foretold; of what boots nothing is said.

use crate::files;
use crate::machine::{Cpu, Machine, USER_OK, archive_of, blind_pc, each, init, pc_kernel};
use crate::support::{
    cache, debian_kernel, full, image_in, kimage, missing, put, read, run, run_ok, stdout, tempdir, tool, tree,
};
use kimage::codec::Codec;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const PROGRAM: u32 = 0o100_755;
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;

/// A boot, and what is foretold of it.
struct Case {
    what: &'static str,
    initrd: Option<Vec<u8>>,
    /// Added to the command line.
    words: &'static str,
    /// The rules that are not kept, notes left out.
    rules: &'static [&'static str],
    /// What will be seen, beside all that the findings foretell; of what boots the words of its program.
    seen: &'static str,
}

fn case(
    what: &'static str,
    entries: &[(&str, u32, &[u8])],
    words: &'static str,
    rules: &'static [&'static str],
    seen: &'static str,
) -> Case {
    Case { what, initrd: Some(archive_of(entries)), words, rules, seen }
}

/// The words in quotes behind each "the console will show" of a report.
fn foretold(report: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for finding in report["findings"].as_array().unwrap() {
        let message = finding["message"].as_str().unwrap();
        for words in message.split("the console will show ").skip(1) {
            all.extend(words.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all
}

/// What `doctor` says of a boot: its report, and the rules that were not kept.
fn doctor(dir: &Path, kernel: &Path, options: &[&str]) -> (Value, Vec<String>) {
    let output = run(kimage().current_dir(dir).arg("doctor").arg(kernel).args(options).arg("--json"));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = report["findings"].as_array().unwrap();
    let told = findings.iter().filter(|finding| finding["severity"] != "note");
    let rules = told.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect();
    let has_error = findings.iter().any(|finding| finding["severity"] == "error");
    // What is not known is no success.
    let is_good = report["reaches_user_space"] == "yes" && !has_error;
    assert_eq!(output.status.code(), Some(if is_good { 0 } else { 1 }), "{output:?}");
    assert_eq!(report["reaches_user_space"] == "no", has_error, "{report:#}");
    (report, rules)
}

/// A program that needs the dynamic linker of this machine and a library; the linker, the library.
fn dynamic(dir: &Path) -> Option<[Vec<u8>; 3]> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let (assembler, linker) = (tool("as", "binutils")?, tool("ld", "binutils")?);
    let Ok(loader) = fs::read(LOADER) else {
        missing(&format!("no {LOADER}: this machine is no x86-64 with glibc"));
        return None;
    };
    // Behind the headers of the one-segment program.
    put(dir, "code", &init(Cpu::X86_64)[64 + 56..]);
    put(dir, "start.s", b".globl _start\n_start: .incbin \"code\"\n");
    put(dir, "empty.s", b".globl nothing\nnothing: ret\n");
    for name in ["start", "empty"] {
        run_ok(Command::new(&assembler).current_dir(dir).args([&format!("{name}.s"), "-o", &format!("{name}.o")]));
    }
    let link = |args: &[&str]| run_ok(Command::new(&linker).current_dir(dir).args(args));
    link(&["-shared", "-soname", "libx.so", "empty.o", "-o", "libx.so"]);
    link(&["--no-as-needed", "--dynamic-linker", LOADER, "start.o", "libx.so", "-o", "start"]);
    Some([read(&dir.join("start")), loader, read(&dir.join("libx.so"))])
}

fn cases(cpu: Cpu, dir: &Path) -> Vec<Case> {
    let good = init(cpu);
    let good = &*good;
    const INIT: &[&str] = &["doctor.init"];
    const PANIC: &str = "Kernel panic - not syncing: No working init found";
    let mut cases = vec![
        case("a program", &[("init", PROGRAM, good)], "", &[], USER_OK),
        case("a script", &[("init", PROGRAM, b"#!/run\n"), ("run", PROGRAM, good)], "", &[], USER_OK),
        case(
            "a link",
            &[("bin", FOLDER, b""), ("bin/run", PROGRAM, good), ("init", LINK, b"bin/run")],
            "",
            &[],
            USER_OK,
        ),
        case("/bin/sh in place of /init", &[("bin", FOLDER, b""), ("bin/sh", PROGRAM, good)], "", &[], USER_OK),
        case("not executable", &[("init", 0o100_644, good)], "", INIT, "Failed to execute /init (error -13)"),
        case("no /init", &[("linuxrc", PROGRAM, good)], "", INIT, PANIC),
        case("a program of ARM", &[("init", PROGRAM, &init(Cpu::Arm))], "", INIT, "Failed to execute /init (error -8)"),
        case("text", &[("init", PROGRAM, b"echo hello\n")], "", INIT, "Failed to execute /init (error -8)"),
        case("nothing", &[("init", PROGRAM, b"")], "", INIT, "Failed to execute /init (error -8)"),
        case("no shell", &[("init", PROGRAM, b"#!/bin/sh\n")], "", INIT, "Failed to execute /init (error -2)"),
        case(
            "a line end of DOS",
            &[("init", PROGRAM, b"#!/run\r\n"), ("run", PROGRAM, good)],
            "",
            INIT,
            "Failed to execute /init (error -2)",
        ),
        case(
            "a script for itself",
            &[("init", PROGRAM, b"#!/init\n")],
            "",
            INIT,
            "Failed to execute /init (error -40)",
        ),
        case("a folder", &[("init", FOLDER, b"")], "", INIT, "Failed to execute /init (error -13)"),
        case("a link to nowhere", &[("init", LINK, b"bin/run")], "", INIT, PANIC),
        case("a link to itself", &[("init", LINK, b"init")], "", INIT, PANIC),
        case("no such rdinit", &[("init", PROGRAM, good)], "rdinit=/sbin/init", INIT, PANIC),
        case(
            "no folder",
            &[("sbin/init", PROGRAM, good)],
            "rdinit=/sbin/init",
            &["doctor.init", "doctor.initrd_folder"],
            PANIC,
        ),
        case(
            "no such init",
            &[("linuxrc", PROGRAM, good)],
            "init=/bin/none",
            INIT,
            "Requested init /bin/none failed (error -2).",
        ),
        case(
            "no console",
            &[("init", PROGRAM, good), ("dev/console", LINK, b"nowhere")],
            "",
            &["doctor.console_node"],
            "unable to open an initial console",
        ),
    ];
    let program = archive_of(&[("init", PROGRAM, good)]);
    let whole = |what, initrd, rules, seen| Case { what, initrd: Some(initrd), words: "", rules, seen };
    for codec in [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Lz4Legacy] {
        cases.push(whole(codec.name(), files::packed(codec, &program), &[], USER_OK));
    }
    const UNPACKED: &[&str] = &["doctor.init", "doctor.initrd_unpack"];
    let failed = "Initramfs unpacking failed";
    cases.push(whole("lz4's newer format", files::packed(Codec::Lz4Frame, &program), UNPACKED, failed));
    let old = [&b"070707"[..], &[b'0'; 250]].concat();
    cases.push(whole("cpio's old format", old, UNPACKED, failed));
    let mut odd = archive_of(&[("etc", FOLDER, b"")]);
    odd.extend([0; 3]);
    odd.extend(files::packed(Codec::Gzip, &program));
    cases.push(whole("a stream at an odd place", odd, UNPACKED, failed));
    if cpu == Cpu::X86_64 {
        let other = init(Cpu::I386);
        cases.push(case("32 bits", &[("init", PROGRAM, &other)], "", INIT, "Failed to execute /init (error -8)"));
        if let Some([start, loader, library]) = dynamic(dir) {
            let folders: [(&str, u32, &[u8]); 2] = [("lib", FOLDER, b""), ("lib64", FOLDER, b"")];
            let files = [
                ("init", PROGRAM, &*start),
                ("lib64/ld-linux-x86-64.so.2", PROGRAM, &loader),
                ("lib/libx.so", PROGRAM, &library),
            ];
            let with = |count: usize| [&folders[..], &files[..count]].concat();
            cases.push(case("a dynamic program", &with(3), "", &[], USER_OK));
            let died = "Kernel panic - not syncing: Attempted to kill init!";
            cases.push(case("no library", &with(2), "", &["doctor.init_library"], died));
            cases.push(case("no ld.so", &with(1), "", INIT, "Failed to execute /init (error -2)"));
        }
    }
    cases
}

#[test]
fn the_console_shows_what_was_foretold() {
    let dir = tempdir();
    let dir = dir.path();
    let Some((qemu, kernel, cpu)) = pc_kernel(dir) else { return };
    let cases: Vec<_> = (0..).zip(cases(cpu, dir)).collect();
    assert!(cases.iter().filter(|(_, case)| !case.rules.is_empty()).count() >= 15);
    each(&cases, |(index, case): &(i32, Case)| {
        let line = format!("console=ttyS0 panic=-1 no_timer_check {}", case.words);
        let mut command = blind_pc(&qemu, "q35", "Nehalem-v1", 1, 256);
        command.arg("-kernel").arg(&kernel).args(["-append", &line]);
        let mut options = vec!["--cmdline", &*line];
        let name = format!("initrd{index}");
        if let Some(initrd) = &case.initrd {
            put(dir, &name, initrd);
            options.extend(["--initrd", &name]);
            command.arg("-initrd").arg(dir.join(&name));
        }
        let (report, rules) = doctor(dir, &kernel, &options);
        assert_eq!(rules, case.rules, "{}: {report:#}", case.what);
        let foretold = foretold(&report);
        assert_eq!(
            report["reaches_user_space"] == "yes",
            case.seen == USER_OK || foretold.len() == 1 && rules == ["doctor.console_node"]
        );
        let console = Machine::start(case.what, &mut command).finish();
        console.says(&[case.seen]);
        for words in &foretold {
            console.says(&[words]);
        }
        // What was shown is explained.
        let log = put(dir, &format!("log{index}"), console.text().as_bytes());
        let (report, rules) = doctor(dir, &kernel, &["--log", log.to_str().unwrap()]);
        assert_eq!(rules.iter().any(|rule| rule == "doctor.log"), !case.rules.is_empty(), "{}: {report:#}", case.what);
        assert!(
            report["findings"].as_array().unwrap().iter().all(|finding| finding["rule"] == "doctor.log"),
            "{report:#}"
        );
        if case.rules.is_empty() {
            assert!(foretold.is_empty(), "{}: {report:#}", case.what);
        } else {
            assert!(foretold.iter().any(|words| case.seen.contains(&**words)), "{}: {foretold:?}", case.what);
            console.never_says(USER_OK);
        }
    });
}

/// Programs of other CPUs and classes: what a kernel runs is its configuration's business.
#[test]
fn programs_of_other_cpus() {
    let dir = tempdir();
    let dir = dir.path();
    for (name, cpu) in [("arm", Cpu::Arm), ("x86-64", Cpu::X86_64)] {
        put(dir, name, &archive_of(&[("init", PROGRAM, &init(cpu))]));
    }
    let mut boots = Vec::new();
    if let (Some(qemu), Some(kernel)) =
        (tool("qemu-system-aarch64", "qemu-system-arm"), debian_kernel("bookworm-arm64-cloud-arm64"))
    {
        let config = image_in(kernel.parent().unwrap(), "config");
        let machine: &[&str] = &["-M", "virt", "-cpu", "cortex-a57", "-m", "512"];
        let console = "console=ttyAMA0 quiet panic=-1";
        // CONFIG_COMPAT=y.
        boots.push((qemu.clone(), machine, kernel.clone(), config.clone(), console, "arm", USER_OK));
        boots.push((qemu, machine, kernel, config, console, "x86-64", "Failed to execute /init (error -8)"));
    }
    if let (Some(qemu), Some(tree)) = (tool("qemu-system-x86_64", "qemu-system-x86"), tree("6.1-i386")) {
        let machine: &[&str] = &["-M", "q35", "-cpu", "Nehalem-v1", "-m", "256", "-nic", "none"];
        let kernel = tree.path("arch/x86/boot/bzImage");
        let console = "console=ttyS0 panic=-1 no_timer_check";
        boots.push((qemu, machine, kernel, None, console, "x86-64", "Failed to execute /init (error -8)"));
    }
    each(&boots, |(qemu, machine, kernel, config, line, initrd, seen)| {
        let mut options = vec!["--initrd", *initrd, "--cmdline", *line];
        if let Some(config) = config {
            options.extend(["--config", config.to_str().unwrap()]);
        }
        let (report, rules) = doctor(dir, kernel, &options);
        let is_good = *seen == USER_OK;
        assert_eq!(rules.is_empty(), is_good, "{initrd}: {report:#}");
        assert_eq!(report["reaches_user_space"], if is_good { "yes" } else { "no" });
        let mut command = Command::new(qemu);
        command.current_dir(dir).args(*machine).args(["-no-reboot", "-display", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(kernel).args(["-initrd", initrd, "-append", &line.replace(" quiet", "")]);
        let console = Machine::start(initrd, &mut command).finish();
        console.says(&[seen]);
        // Of a kernel with block devices the root device comes next.
        foretold(&report).iter().for_each(|words| {
            console.says(&[words]);
        });
    });
}

/// Debian's kernel: drivers of some disks are modules, NVMe and ext4 are built in.
#[test]
fn root_devices_and_consoles() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let Some(mke2fs) = tool("mke2fs", "e2fsprogs") else { return };
    let Some(kernel) = debian_kernel("bookworm-amd64-cloud-amd64") else { return };
    let config = image_in(kernel.parent().unwrap(), "config").unwrap();
    let dir = tempdir();
    let dir = dir.path();
    fs::create_dir_all(dir.join("root/sbin")).unwrap();
    fs::create_dir_all(dir.join("root/dev")).unwrap();
    let program = put(&dir.join("root/sbin"), "init", &init(Cpu::X86_64));
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    run_ok(Command::new(mke2fs).current_dir(dir).args(["-q", "-t", "ext4", "-d", "root", "disk", "8M"]));
    let panic = "VFS: Unable to mount root fs on unknown-block(";
    let early = "console=ttyAMA0 earlyprintk=ttyS0,keep root=/dev/nvme0n1";
    const ROOT: &[&str] = &["doctor.root"];
    let cases: [(&str, &[&str], &str); 8] = [
        ("root=/dev/nvme0n1", &[], USER_OK),
        ("root=/dev/nvme0n1 rootfstype=ext4 rootwait", &[], USER_OK),
        ("ro", ROOT, "unknown-block(0,0)"),
        ("root=/dev/vda", &["doctor.root", "doctor.root"], "unknown-block(0,0)"),
        ("root=/dev/vda rootwait", &["doctor.root", "doctor.root"], "Waiting for root device /dev/vda..."),
        ("root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3", ROOT, "unknown-block(0,0)"),
        ("root=/dev/nvme0n1 rootfstype=xfs", &["doctor.root_filesystem"], panic),
        (early, &["doctor.console"], "unable to open an initial console"),
    ];
    each(&cases, |(words, want, seen)| {
        let line = match words.contains("console=") {
            true => format!("{words} panic=-1 no_timer_check"),
            false => format!("console=ttyS0 quiet panic=-1 no_timer_check {words}"),
        };
        let (report, rules) = doctor(dir, &kernel, &["--config", config.to_str().unwrap(), "--cmdline", &line]);
        assert_eq!(rules, *want, "{words}: {report:#}");
        let mut command = blind_pc(&qemu, "q35", "Nehalem-v1", 1, 512);
        command.current_dir(dir).arg("-kernel").arg(&kernel).args(["-append", &line.replace(" quiet", "")]);
        command.args(["-drive", "if=none,id=disk,file=disk,format=raw,snapshot=on"]);
        command.args(["-device", "nvme,drive=disk,serial=1"]);
        let mut machine = Machine::start(words, &mut command);
        if words.contains("rootwait") && !rules.is_empty() {
            // It waits for ever.
            foretold(&report).iter().for_each(|words| assert_eq!(words, seen));
            machine.wait_for(seen);
            return;
        }
        let console = machine.finish();
        console.says(&[seen]);
        for words in foretold(&report) {
            console.says(&[&words]);
        }
        assert_eq!(rules.is_empty(), foretold(&report).is_empty());
    });
}

/// Kernels that were built to unpack nothing, or to look at no initial RAM disk.
#[test]
fn kernels_that_unpack_nothing() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let dir = dir.path();
    let program = archive_of(&[("init", PROGRAM, &init(Cpu::X86_64))]);
    let few = [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Bzip2, Codec::Lzma, Codec::Lzo, Codec::Lz4Legacy];
    let count = if full() { few.len() } else { 3 };
    let packed = few[..count].iter().map(|codec| ("codecs", *codec, &["doctor.initrd_codec", "doctor.init"][..]));
    let plain = [("codecs", Codec::None, &[][..]), ("initrd", Codec::None, &["doctor.initrd", "doctor.init"])];
    let cases: Vec<_> = packed.chain(plain).collect();
    each(&cases, |(without, codec, want)| {
        let what = format!("without {without}, {}", codec.name());
        let kernel = cache().join(format!("kernels/without-{without}-6.1-x86_64-gzip/bzImage"));
        if !kernel.is_file() {
            missing(&format!("no {} (sh tests/make-kernels.sh makes it)", kernel.display()));
            return;
        }
        let initrd =
            put(dir, &what, &if *codec == Codec::None { program.clone() } else { files::packed(*codec, &program) });
        let line = "console=ttyS0 panic=-1 no_timer_check";
        let (report, rules) = doctor(dir, &kernel, &["--initrd", initrd.to_str().unwrap(), "--cmdline", line]);
        assert_eq!(rules, *want, "{what}: {report:#}");
        let foretold = foretold(&report);
        let mut command = blind_pc(&qemu, "q35", "Nehalem-v1", 1, 256);
        command.arg("-kernel").arg(&kernel).args(["-append", line]).arg("-initrd").arg(&initrd);
        let console = Machine::start(&what, &mut command).finish();
        for words in &foretold {
            console.says(&[words]);
        }
        if want.is_empty() {
            console.says(&[USER_OK]);
            return; // no gap: it boots
        }
        console.never_says(USER_OK).says(&["Kernel panic - not syncing"]);
        let name = codec.name().split(' ').next().unwrap();
        let not_configured = format!("compression method {name} not configured");
        assert_eq!(foretold.contains(&not_configured), *without == "codecs", "{what}: {foretold:?}");
        // What was shown is explained.
        let log = put(dir, &format!("{what}.log"), console.text().as_bytes());
        let (report, rules) = doctor(dir, &kernel, &["--log", log.to_str().unwrap()]);
        assert!(rules.iter().all(|rule| rule == "doctor.log") && !rules.is_empty(), "{what}: {report:#}");
    });
}
