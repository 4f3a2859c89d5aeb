//! The command as its users meet it: exit codes, where text and data go, and that a failure never harms a file.

use crate::support::{self, kimage, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn tiny(name: &str) -> PathBuf {
    testdata("tiny").join(name)
}

/// `kimage bzimage` of the tiny kernel, in `dir`.
fn bzimage(dir: &Path) -> Command {
    let mut command = kimage();
    command.current_dir(dir).arg("bzimage").arg(tiny("vmlinux")).arg(tiny("setup.bin"));
    command
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

/// No temporary file is left beside an output.
#[track_caller]
fn only(dir: &Path, names: &[&str]) {
    let mut found: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn help_teaches() {
    for command in ["", "bzimage", "zimage", "image", "uimage", "strip", "relocs", "voffset", "zoffset", "bench"] {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let text = stdout(&run_ok(kimage().args(words)));
        assert!(text.contains("Examples:\n  kimage "), "{command}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{command}: {text}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let dir = tempdir();
    for words in [
        &[][..],
        &["bzimage"],
        &["no-such-command"],
        &["image", "x", "--gap-fill", "256"],
        &["image", "x", "--max-size", "1X"],
        &["uimage"],
        &["uimage", "-A", "nonsense", "x"],
        &["uimage", "-a", "80g", "x"],
        &["uimage", "--time", "4294967296", "x"],
        &["bzimage", "--crc", "maybe", "x", "y"],
        &["bzimage", "x", "y", "--gap-fill", "0"],
        &["bzimage", "-", "-"],
        &["strip"],
        &["strip", "x", "--nonsense"],
        &["relocs", "x", "--lists", "4"],
        &["relocs", "x", "--realmode", "--lists", "2"],
        &["relocs", "x", "--reloc-info", "--text"],
        &["uimage", "-T", "multi", "-", "-"],
    ] {
        let output = run(kimage().current_dir(dir.path()).args(words));
        fails(&output, 2, &["--help"]);
    }
    // Both want standard output.
    fails(&run(bzimage(dir.path()).args(["-o", "-", "--json"])), 2, &["--json"]);
    only(dir.path(), &[]);
}

#[test]
fn name_lists() {
    for option in ["-A", "-O", "-T", "-C"] {
        let output = run_ok(kimage().args(["uimage", option, "list"]));
        assert!(stdout(&output).lines().count() >= 7, "{option}");
    }
}

#[test]
fn text_goes_to_stderr_and_json_to_stdout() {
    let dir = tempdir();
    let plain = run_ok(&mut bzimage(dir.path()));
    assert!(stdout(&plain).is_empty());
    assert!(stderr(&plain).ends_with("bzImage is ready\n"));
    let json = run_ok(bzimage(dir.path()).arg("--json"));
    assert!(stderr(&json).is_empty(), "{}", stderr(&json));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&report["schema"], &report["command"], &report["output"]),
        (&1.into(), &"bzimage".into(), &"bzImage".into())
    );
    let quiet = run_ok(bzimage(dir.path()).arg("--quiet"));
    assert!(stdout(&quiet).is_empty() && stderr(&quiet).is_empty());
}

#[test]
fn dash_is_standard_input_and_output() {
    let dir = tempdir();
    run_ok(&mut bzimage(dir.path()));
    let want = fs::read(dir.path().join("bzImage")).unwrap();
    let output = run_ok(bzimage(dir.path()).args(["-o", "-"]));
    assert_eq!(output.stdout, want);
    let mut command = kimage();
    command.arg("bzimage").arg("-").arg(tiny("setup.bin")).args(["-o", "-", "-q"]);
    command.stdin(fs::File::open(tiny("vmlinux")).unwrap());
    assert_eq!(run_ok(&mut command).stdout, want);
}

#[test]
fn binary_never_goes_to_a_terminal() {
    let Some(script) = tool("script", "bsdutils") else { return };
    let dir = tempdir();
    let line = format!(
        "{} bzimage {} {} -o -",
        support::kimage_path(),
        tiny("vmlinux").display(),
        tiny("setup.bin").display()
    );
    let output =
        run(Command::new(script).current_dir(dir.path()).args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("standard output is a terminal"), "{}", stdout(&output));
    assert!(output.stdout.len() < 300);
}

/// An image that its reader did not take whole is none.
#[test]
fn an_image_that_is_cut_is_a_failure() {
    let mut command = kimage();
    command.arg("image").arg(tiny("vmlinux")).args(["--pad-to", "0x1000000", "-o", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    fails(&output, 1, &["standard output: ", "Broken pipe"]);
}

#[test]
fn inputs_that_are_no_files() {
    let dir = tempdir();
    let out = ["-o", "out"];
    let image = |input: &Path| run(kimage().current_dir(dir.path()).arg("image").arg(input).args(out));
    fails(&image(dir.path()), 1, &["is a folder"]);
    fails(&image(Path::new("missing")), 1, &["missing: cannot be opened", "No such file"]);
    fails(&image(Path::new("/dev/null")), 1, &["/dev/null", "wanted an ELF file", "help: "]);
    only(dir.path(), &[]);
}

#[test]
fn wrong_inputs_name_the_file_and_the_way_out() {
    let dir = tempdir();
    let run = |words: &[&str], files: &[&PathBuf]| run(kimage().current_dir(dir.path()).args(words).args(files));
    let (vmlinux, setup, arm) = (tiny("vmlinux"), tiny("setup.bin"), tiny("arm-vmlinux"));
    fails(
        &run(&["bzimage"], &[&setup, &vmlinux]),
        1,
        &["tiny/setup.bin: this is a setup.bin", "help: the order is VMLINUX SETUP"],
    );
    fails(&run(&["bzimage"], &[&vmlinux, &vmlinux]), 1, &["tiny/vmlinux: this is an ELF file without setup header"]);
    fails(&run(&["bzimage"], &[&arm, &setup]), 1, &["is for ARM, wanted x86", "kimage zimage"]);
    fails(&run(&["zimage"], &[&vmlinux]), 1, &["is for x86-64, wanted 32-bit ARM", "kimage bzimage"]);
    fails(&run(&["zimage"], &[&setup]), 1, &["this is a setup.bin; wanted arch/arm/boot/compressed/vmlinux"]);
    fails(&run(&["image"], &[&setup]), 1, &["this is a setup.bin; wanted an ELF file"]);
    // Neither cut off nor damaged, and in the right order.
    fails(&run(&["bzimage"], &[&setup]), 1, &["this is a setup.bin; wanted a kernel", "the kernel's own vmlinux"]);
    fails(
        &run(&["bzimage"], &[&vmlinux, &arm]),
        1,
        &["without setup header", "help: give the setup of the kernel's build"],
    );
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (words, files) in [
        (&["bzimage"][..], vec![&empty]),
        (&["bzimage"], vec![&empty, &setup]),
        (&["bzimage"], vec![&vmlinux, &empty]),
        (&["zimage"], vec![&empty]),
        (&["image"], vec![&empty]),
        (&["fit", "-A", "arm", "--kernel", vmlinux.to_str().unwrap(), "--dtb"], vec![&empty]),
    ] {
        fails(&run(words, &files), 1, &["empty: this is an empty file; wanted ", "help: "]);
    }
    fs::remove_file(&empty).unwrap();
    fails(&run(&["fit"], &[&vmlinux]), 1, &["this is no device tree source", "a kernel is given with --kernel"]);
    fails(&run(&["voffset"], &[&setup]), 1, &["e_ident[EI_MAG] at offset 0x0", "help: this is not an ELF file"]);
    fails(&run(&["voffset", "--symbols", "_end,nonsense"], &[&vmlinux]), 1, &["has no nonsense"]);
    fails(&run(&["image", "--max-size", "100"], &[&vmlinux]), 1, &["more than 100", "--max-size"]);
    fails(&run(&["image", "-R", "*"], &[&vmlinux]), 1, &["nothing to load", "remove fewer sections"]);
    fails(&run(&["image", "-R", "a[b"], &[&vmlinux]), 1, &["a[b"]);
    fails(
        &run(&["zimage", "--append-dtb", setup.to_str().unwrap()], &[&arm]),
        1,
        &["tiny/setup.bin: this is an x86 bzImage; wanted the device tree blob"],
    );
    only(dir.path(), &[]);
}

/// Two sections 4 GiB apart: refused, both named, with their addresses.
#[test]
fn a_huge_gap_names_both_sections() {
    let Some(objcopy) = tool("objcopy", "binutils") else { return };
    let dir = tempdir();
    let far = dir.path().join("far");
    run_ok(Command::new(objcopy).args(["--change-section-lma", ".data=0x100000000"]).arg(tiny("vmlinux")).arg(&far));
    let output = run(kimage().current_dir(dir.path()).arg("image").arg(&far));
    fails(&output, 1, &[".head.text is at load address 0x0", ".data", "0x100000000", "--remove-section .data"]);
    only(dir.path(), &["far"]);
}

#[test]
fn mixed_builds_are_noticed() {
    let dir = tempdir();
    let mut setup = fs::read(tiny("setup.bin")).unwrap();
    setup[0x1f4] ^= 1;
    fs::write(dir.path().join("setup"), &setup).unwrap();
    let output = run(kimage().current_dir(dir.path()).arg("bzimage").arg(tiny("vmlinux")).arg("setup"));
    fails(&output, 1, &["setup and vmlinux do not belong together", "0x1f4", "same build"]);
    let mut setup = fs::read(tiny("setup.bin")).unwrap();
    setup[0x20e] = 0;
    setup[0x20f] = 0;
    fs::write(dir.path().join("setup"), &setup).unwrap();
    let mut command = kimage();
    command.current_dir(dir.path()).arg("bzimage").arg(tiny("vmlinux")).arg("setup");
    fails(&run(&mut command), 1, &["kernel_version at offset 0x20e", "--crc yes"]);
    run_ok(command.args(["--crc", "no"]));
}

#[test]
fn contradictions_name_the_option_and_can_be_forced() {
    let dir = tempdir();
    let zimage = dir.path().join("zImage");
    run_ok(kimage().arg("zimage").arg(tiny("arm-vmlinux")).arg("-o").arg(&zimage));
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let gzip = dir.path().join("gzip");
    fs::write(&gzip, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).unwrap();
    let long = "n".repeat(33);
    for (words, data, message) in [
        (&["-C", "gzip"][..], &zimage, "-C gzip, but the data is an ARM zImage"),
        (&["-A", "x86"], &zimage, "-A x86, but the ARM zImage header says ARM"),
        (&["-a", "100000000"], &zimage, "-a 0x100000000 does not fit"),
        (&["-a", "8000", "-e", "ffffffff00008000"], &zimage, "-e 0xffffffff00008000 does not fit"),
        (&["-a", "8000", "-e", "7fff"], &zimage, "-e 0x7fff is outside of the image"),
        (&["-e", "100000"], &zimage, "outside of the image (an offset into the data"),
        (&["-n", &long], &zimage, "the name has 33 bytes"),
        (&["-x"], &zimage, "not all 0xff"),
        (&["-T", "kwbimage"], &zimage, "-T"),
        (&["-A", "arm"], &empty, "the data is empty"),
        (&["-A", "arm", "-C", "none"], &gzip, "-C none, but the data is gzip data"),
        (&["-A", "arm", "-C", "lzma"], &gzip, "-C lzma, but the data is gzip data"),
    ] {
        let base = |force: bool| {
            let mut command = kimage();
            command.current_dir(dir.path()).arg("uimage").args(words).arg(data).args(["-o", "out"]);
            if force {
                command.arg("--force");
            }
            command
        };
        fails(&run(&mut base(false)), 1, &["error: ", message, "--force"]);
        assert!(!dir.path().join("out").exists(), "{words:?}");
        run_ok(&mut base(true));
        fs::remove_file(dir.path().join("out")).unwrap();
    }
    // Not contradictions: a sign-extended address, a compressed ramdisk that the kernel unpacks, a cut name.
    for (words, data) in [
        (&["-a", "ffffffff80100000"][..], &zimage),
        (&["-A", "arm", "-T", "ramdisk", "-C", "none"], &gzip),
        (&["-n", &long, "--truncate-name"], &zimage),
    ] {
        run_ok(kimage().current_dir(dir.path()).arg("uimage").args(words).arg(data).args(["-o", "out"]));
    }
}

#[test]
fn time_is_an_option_then_source_date_epoch_then_zero() {
    let dir = tempdir();
    let data = dir.path().join("data");
    fs::write(&data, "data").unwrap();
    let time = |option: Option<&str>, epoch: Option<&str>| {
        let mut command = kimage();
        command.args(["uimage", "-A", "arm", "-q"]).arg(&data).arg("-o").arg(dir.path().join("u"));
        if let Some(option) = option {
            command.args(["--time", option]);
        }
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        let output = run(&mut command);
        output.status.success().then(|| {
            let bytes = fs::read(dir.path().join("u")).unwrap();
            u32::from_be_bytes(bytes[8..12].try_into().unwrap())
        })
    };
    assert_eq!(time(None, None), Some(0));
    assert_eq!(time(None, Some("1700000000")), Some(1_700_000_000));
    assert_eq!(time(Some("5"), Some("1700000000")), Some(5));
    assert_eq!(time(None, Some("nonsense")), None);
    assert_eq!(time(None, Some("4294967296")), None);
}

#[test]
fn an_old_file_is_replaced_whole_and_keeps_its_permissions() {
    let dir = tempdir();
    let target = dir.path().join("bzImage");
    fs::write(&target, vec![1; 100_000]).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let hard_link = dir.path().join("old");
    fs::hard_link(&target, &hard_link).unwrap();
    run_ok(&mut bzimage(dir.path()));
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
    // Renamed into place, not written over: the old bytes are whole wherever else they are in use.
    assert_eq!(fs::read(&hard_link).unwrap(), vec![1; 100_000]);
    // A link stays a link.
    let link = dir.path().join("link");
    symlink("bzImage", &link).unwrap();
    run_ok(bzimage(dir.path()).args(["-o", "link"]));
    assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    only(dir.path(), &["bzImage", "link", "old"]);
}

#[test]
fn the_umask_decides_about_a_new_file() {
    let dir = tempdir();
    let line = format!(
        "umask 027; {} bzimage {} {} -q",
        support::kimage_path(),
        tiny("vmlinux").display(),
        tiny("setup.bin").display()
    );
    run_ok(Command::new("sh").current_dir(dir.path()).args(["-c", &line]));
    assert_eq!(fs::metadata(dir.path().join("bzImage")).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn a_failure_leaves_the_old_file() {
    let dir = tempdir();
    let target = dir.path().join("bzImage");
    fs::write(&target, "old").unwrap();
    let output = run(kimage().current_dir(dir.path()).arg("bzimage").arg(tiny("setup.bin")).arg(tiny("setup.bin")));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&target).unwrap(), b"old");
    // A folder in the way, and a folder that is not there.
    fails(&run(bzimage(dir.path()).args(["-o", "."])), 1, &["is a folder"]);
    fails(&run(bzimage(dir.path()).args(["-o", "no/such/bzImage"])), 1, &["there is no folder no/such"]);
    only(dir.path(), &["bzImage"]);
}

#[test]
fn a_device_is_written_to_not_replaced() {
    let dir = tempdir();
    run_ok(bzimage(dir.path()).args(["-o", "/dev/null"]));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let output = run(bzimage(dir.path()).args(["-o", "/dev/full"]));
    fails(&output, 1, &["/dev/full", "No space left on device"]);
}

/// A tmpfs of 64 KiB in a mount namespace of its own: the image does not fit, the old file stays, nothing else is left.
#[test]
fn a_full_disk_fails_cleanly() {
    let Some(unshare) = tool("unshare", "util-linux") else { return };
    let dir = tempdir();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k none {disk} || exit 77
         echo old > {disk}/out
         {kimage} image {vmlinux} --pad-to 0x100000 -o {disk}/out; echo status $?
         cat {disk}/out; ls -A {disk}",
        disk = disk.display(),
        kimage = support::kimage_path(),
        vmlinux = tiny("vmlinux").display()
    );
    // Root may mount; anybody else may in a user namespace, where the system allows them.
    let mut output = run(Command::new(&unshare).args(["-m", "sh", "-c", &script]));
    if output.status.code() != Some(0) {
        output = run(Command::new(&unshare).args(["-rm", "sh", "-c", &script]));
    }
    if output.status.code() != Some(0) {
        return support::missing(&format!("no tmpfs can be mounted here: {}", stderr(&output)));
    }
    assert_eq!(stdout(&output), "status 1\nold\nout\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", stderr(&output));
}

/// kill -9 in the middle of writing: the target has its old bytes.
#[test]
fn kill_while_writing_leaves_the_old_file() {
    let dir = tempdir();
    let target = dir.path().join("out");
    for attempt in 0..20 {
        fs::write(&target, "old").unwrap();
        let mut command = kimage();
        command.args(["image", "-q", "--pad-to", "0x20000000", "-o"]).arg(&target).arg(tiny("vmlinux"));
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // Its file has no name yet.
        let files = PathBuf::from(format!("/proc/{}/fd", child.id()));
        let started = || {
            fs::read_dir(&files).into_iter().flatten().flatten().any(|entry| {
                fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(dir.path()))
                    && fs::metadata(entry.path()).is_ok_and(|meta| meta.len() > 1 << 20)
            })
        };
        while !started() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        let killed = !child.wait().unwrap().success();
        only(dir.path(), &["out"]);
        if killed {
            assert_eq!(fs::read(&target).unwrap(), b"old", "attempt {attempt}");
            return; // no gap: this was the test
        }
    }
    panic!("kimage was always faster than the kill");
}

/// `--sync`: fsync of the file before it gets its name, and of the folder after; without it none.
#[test]
fn sync_reaches_file_and_folder() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let zimage = dir.path().join("zImage");
    run_ok(kimage().arg("zimage").arg(tiny("arm-vmlinux")).arg("-o").arg(&zimage));
    let (vmlinux, setup, arm) = (tiny("vmlinux"), tiny("setup.bin"), tiny("arm-vmlinux"));
    let commands: [(&str, Vec<&Path>); 6] = [
        ("bzimage", vec![&vmlinux, &setup]),
        ("zimage", vec![&arm]),
        ("image", vec![&vmlinux]),
        ("uimage", vec![&zimage]),
        ("zoffset", vec![&vmlinux]),
        ("voffset", vec![&vmlinux]),
    ];
    for (command, inputs) in commands {
        for (sync, fresh) in [(true, true), (true, false), (false, true), (false, false)] {
            let out = dir.path().join("out");
            if fresh {
                let _ = fs::remove_file(&out);
            }
            let log = dir.path().join("log");
            let mut traced = Command::new(&strace);
            traced.args(["-f", "-e", "trace=fsync,fdatasync,linkat,rename,renameat,renameat2", "-o"]).arg(&log);
            traced.arg(support::kimage_path()).arg(command).args(&inputs).arg("-o").arg(&out);
            if sync {
                traced.arg("--sync");
            }
            let output = run(&mut traced);
            if !output.status.success() && stderr(&output).contains("ptrace") {
                return support::missing(&format!("strace may not trace here: {}", stderr(&output)));
            }
            assert!(output.status.success(), "{}", stderr(&output));
            let calls: Vec<String> = fs::read_to_string(&log)
                .unwrap()
                .lines()
                .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
                // What makes no file whole is no matter here.
                .filter(|(_, rest)| !rest.contains("EEXIST"))
                .map(|(name, _)| name.trim_end_matches("at2").trim_end_matches("at").to_owned())
                .filter(|name| name.chars().all(char::is_alphanumeric))
                .collect();
            let want: &[&str] = match (sync, fresh) {
                (true, true) => &["fsync", "link", "fsync"],
                (true, false) => &["fsync", "link", "rename", "fsync"],
                (false, true) => &["link"],
                (false, false) => &["link", "rename"],
            };
            assert_eq!(calls, want, "{command}");
        }
    }
}

/// The same inputs give the same bytes, whatever folder, locale, time zone, umask or clock.
#[test]
fn nothing_of_the_host_reaches_the_bytes() {
    let first = tempdir();
    let second = tempdir();
    let zimage = first.path().join("zImage");
    run_ok(kimage().arg("zimage").arg(tiny("arm-vmlinux")).arg("-o").arg(&zimage));
    for dir in [&first, &second] {
        let mut command = kimage();
        command.current_dir(dir.path()).arg("uimage").arg(&zimage);
        if dir.path() == second.path() {
            std::thread::sleep(Duration::from_millis(1100));
            command.env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").env("HOME", "/nonexistent");
        }
        run_ok(&mut command);
    }
    assert_eq!(fs::read(first.path().join("uImage")).unwrap(), fs::read(second.path().join("uImage")).unwrap());
}

#[test]
fn colour_only_on_a_terminal_and_never_with_no_color() {
    let Some(script) = tool("script", "bsdutils") else { return };
    let line = format!("{} image /dev/null -o /dev/null", support::kimage_path());
    let on_terminal = |no_color: bool| {
        let mut command = Command::new(&script);
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        run(&mut command).stdout
    };
    assert!(on_terminal(false).contains(&0x1b));
    assert!(!on_terminal(true).contains(&0x1b));
    assert!(!run(kimage().args(["image", "/dev/null"])).stderr.contains(&0x1b));
}

/// A reader that goes away while standard error is still written to is no failure: the image is there.
#[test]
fn a_closed_stderr_is_no_failure() {
    let dir = tempdir();
    let mut child = bzimage(dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert!(dir.path().join("bzImage").is_file());
}

#[test]
fn standard_input_can_be_a_pipe() {
    let dir = tempdir();
    let mut command = kimage();
    command.current_dir(dir.path()).args(["uimage", "-A", "arm", "-", "-o", "u"]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through a pipe").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(&fs::read(dir.path().join("u")).unwrap()[64..], b"through a pipe");
}
