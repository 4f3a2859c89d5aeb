//! Outputs and messages under attack: links, signals, full disks, files that change, names that deceive.

use crate::support::{self, kimage, missing, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn tiny(name: &str) -> PathBuf {
    testdata("tiny").join(name)
}

/// Somebody else, where a test runs as root.
const OTHER: u32 = 4711;

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        missing("files of another owner: only root can make them (run as root)");
    }
    root
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `kimage image` of the tiny kernel to `out`.
fn image(out: &Path) -> Command {
    let mut command = kimage();
    command.arg("image").arg(tiny("vmlinux")).arg("-o").arg(out);
    command
}

/// A folder as /tmp is.
fn sticky(dir: &Path) -> PathBuf {
    let folder = dir.join("sticky");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    folder
}

#[track_caller]
fn fails(output: &Output, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in:\n{text}"));
}

/// proc_sys_fs(5), protected_symlinks: a link is followed if its owner is the follower or the owner of the folder.
#[test]
fn a_planted_link_is_not_followed() {
    if !is_root() {
        return;
    }
    let dir = tempdir();
    let (folder, victim) = (sticky(dir.path()), dir.path().join("victim"));
    fs::write(&victim, "old").unwrap();
    let link = folder.join("out");
    symlink(&victim, &link).unwrap();
    // Ours, and the folder's owner is root too.
    run_ok(image(&link).arg("-q"));
    assert_ne!(fs::read(&victim).unwrap(), b"old");
    fs::write(&victim, "old").unwrap();
    std::os::unix::fs::lchown(&link, Some(OTHER), None).unwrap();
    fails(&run(&mut image(&link)), &["is a link of user 4711", "remove it, or name another file"]);
    assert_eq!(fs::read(&victim).unwrap(), b"old");
    // By way of a link that is ours.
    let way = dir.path().join("way");
    symlink(&link, &way).unwrap();
    fails(&run(&mut image(&way)), &["is a link of user 4711"]);
    assert_eq!(fs::read(&victim).unwrap(), b"old");
    // The same link where only its owner puts files is followed.
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    run_ok(image(&link).arg("-q"));
    assert_ne!(fs::read(&victim).unwrap(), b"old");
    assert_eq!(names(&folder), ["out"]);
}

/// A file that somebody else left where everybody may put files gets no say in who may read or write the new one.
#[test]
fn a_planted_file_gives_the_output_to_nobody() {
    if !is_root() {
        return;
    }
    let dir = tempdir();
    let out = sticky(dir.path()).join("out");
    fs::write(&out, "old").unwrap();
    chown(&out, Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o666)).unwrap();
    let output = run_ok(&mut image(&out));
    assert!(stderr(&output).contains("was a file of user 4711"), "{}", stderr(&output));
    let meta = fs::metadata(&out).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7022), (0, 0));
}

#[test]
fn links_that_lead_nowhere_are_errors() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    symlink("nothing", path("dangling")).unwrap();
    symlink("round", path("about")).unwrap();
    symlink("about", path("round")).unwrap();
    symlink(".", path("folder")).unwrap();
    symlink("no/such/folder", path("deep")).unwrap();
    fails(&run(&mut image(&path("dangling"))), &["dangling: is a link to nothing, and nothing is there"]);
    fails(&run(&mut image(&path("round"))), &["round: is a link that leads back to itself"]);
    fails(&run(&mut image(&path("folder"))), &["folder: is a folder"]);
    fails(&run(&mut image(&path("deep"))), &["is a link to no/such/folder: there is no folder no/such"]);
    fails(&run(&mut image(&path("new/"))), &["is a folder; name a file"]);
    assert_eq!(names(dir.path()), ["about", "dangling", "deep", "folder", "round"]);
    // A chain of links, relative and absolute, by way of a linked folder.
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("sub/file"), "old").unwrap();
    symlink("sub", path("way")).unwrap();
    symlink(path("way/file"), path("one")).unwrap();
    symlink("one", path("two")).unwrap();
    run_ok(image(&path("two")).arg("-q"));
    assert!(fs::symlink_metadata(path("two")).unwrap().is_symlink());
    assert_ne!(fs::read(path("sub/file")).unwrap(), b"old");
    assert_eq!(names(&path("sub")), ["file"]);
}

#[test]
fn owner_and_permissions_of_the_old_file() {
    let dir = tempdir();
    let out = dir.path().join("out");
    let replaced = |mode: u32, owner: Option<u32>| {
        fs::write(&out, "old").unwrap();
        chown(&out, owner, owner).unwrap();
        fs::set_permissions(&out, Permissions::from_mode(mode)).unwrap();
        let output = run_ok(&mut image(&out));
        let meta = fs::metadata(&out).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid(), stderr(&output))
    };
    let me = fs::metadata("/proc/self").unwrap();
    for mode in [0o600, 0o640, 0o755, 0o444, 0o666] {
        let (now, uid, _, said) = replaced(mode, None);
        assert_eq!((now, uid), (mode, me.uid()));
        assert!(!said.contains("warning"), "{said}");
        fs::remove_file(&out).unwrap();
    }
    let (now, _, _, said) = replaced(0o4755, None);
    assert_eq!(now, 0o755);
    assert!(said.contains("is no longer set-user-ID, set-group-ID or sticky (mode 4755, now 755)"), "{said}");
    if !is_root() {
        return;
    }
    let (now, uid, gid, said) = replaced(0o6751, Some(OTHER));
    assert_eq!((now, uid, gid), (0o751, OTHER, OTHER), "{said}");
    // Who may not give files away says so; a group that is not the old one gets no more than everybody.
    let folder = dir.path().join("free");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let theirs = folder.join("out");
    fs::write(&theirs, "old").unwrap();
    fs::set_permissions(&theirs, Permissions::from_mode(0o660)).unwrap();
    let binary = dir.path().join("kimage");
    // Not by this process: a file that any of its children has open for writing cannot be started.
    run_ok(Command::new("cp").arg(support::kimage_path()).arg(&binary));
    let vmlinux = dir.path().join("vmlinux");
    fs::copy(tiny("vmlinux"), &vmlinux).unwrap();
    fs::set_permissions(&vmlinux, Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new(binary);
    command.arg("image").arg(&vmlinux).arg("-o").arg(&theirs).uid(OTHER).gid(OTHER);
    let said = stderr(&run_ok(&mut command));
    assert!(said.contains("belongs to user 4711 now, before to 0: only root may give files away"), "{said}");
    let meta = fs::metadata(&theirs).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o600, OTHER));
}

/// What replaces a file of 0600 is at no moment readable for others: the calls that make it say so.
#[test]
fn a_private_file_is_private_all_the_time() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let out = dir.path().join("out");
    fs::write(&out, "old").unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o600)).unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new(strace);
    command.args(["-f", "-e", "trace=openat,fchmod,fchmodat", "-o"]).arg(&log).arg(support::kimage_path());
    run_ok(command.arg("image").arg(tiny("vmlinux")).arg("-o").arg(&out));
    let log = fs::read_to_string(&log).unwrap();
    let made: Vec<&str> = log.lines().filter(|line| line.contains("O_TMPFILE") || line.contains("O_CREAT")).collect();
    assert!(!made.is_empty() && made.iter().all(|line| line.contains(", 0600)")), "{log}");
    assert!(log.lines().filter(|line| line.contains("chmod")).all(|line| line.contains("0600")), "{log}");
}

/// The status is the verdict's, whoever reads it.
#[test]
fn a_reader_that_went_away_changes_no_verdict() {
    let dir = tempdir();
    let good = dir.path().join("good");
    run_ok(kimage().arg("uimage").args(["-q", "-o"]).arg(&good).arg(tiny("vmlinux")));
    let mut bytes = fs::read(&good).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let bad = dir.path().join("bad");
    fs::write(&bad, bytes).unwrap();
    let unread = |words: &[&str], file: &Path| {
        let mut child = kimage().args(words).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap().status.code()
    };
    for words in [&["verify"][..], &["verify", "--json"]] {
        assert_eq!(unread(words, &bad), Some(1), "{words:?}");
        assert_eq!(unread(words, &good), Some(0), "{words:?}");
    }
    assert_eq!(unread(&["diff", good.to_str().unwrap()], &bad), Some(1));
    assert_eq!(unread(&["info"], &good), Some(0));
}

/// Words that nobody could write down are a failure.
#[test]
fn a_full_standard_output_is_a_failure() {
    let vmlinux = tiny("vmlinux");
    let vmlinux = vmlinux.to_str().unwrap();
    for words in [
        &["--help"][..],
        &["--version"],
        &["uimage", "--help"],
        &["help", "fit"],
        &["uimage", "-A", "list"],
        &["lint", "--board", "list"],
        &["info", vmlinux],
        &["info", "--json", vmlinux],
        &["info", "--field", "arch", vmlinux],
        &["verify", vmlinux],
        &["map", vmlinux],
        &["man"],
        &["completions", "bash"],
        &["image", "--plan", vmlinux],
        &["image", vmlinux, "-o", "-"],
    ] {
        let output = run(kimage().args(words).stdout(File::create("/dev/full").unwrap()));
        fails(&output, &["standard output", "No space left on device"]);
    }
}

/// A pipe that has a name is written to, and a reader that leaves before the end is not told from a full disk: failure.
#[test]
fn a_fifo_is_written_whole_or_the_command_fails() {
    let Some(mkfifo) = tool("mkfifo", "coreutils") else { return };
    let dir = tempdir();
    let fifo = dir.path().join("fifo");
    run_ok(Command::new(mkfifo).arg(&fifo));
    let whole = dir.path().join("whole");
    run_ok(image(&whole).args(["-q", "--pad-to", "0x1000000"]));
    let written = |all: bool| {
        let mut child = image(&fifo).args(["--pad-to", "0x1000000"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = File::open(&fifo).unwrap();
        let mut got = vec![0; 1000];
        reader.read_exact(&mut got).unwrap();
        if all {
            reader.read_to_end(&mut got).unwrap();
        }
        drop(reader);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), got, said)
    };
    let (status, got, _) = written(true);
    assert!(status == Some(0) && got == fs::read(&whole).unwrap());
    let (status, _, said) = written(false);
    assert!(status == Some(1) && said.contains("Broken pipe"), "{said}");
    assert_eq!(names(dir.path()), ["fifo", "whole"]);
}

/// A file that gets shorter while it is mapped is a SIGBUS: kimage says what happened, and leaves nothing.
#[test]
fn a_file_that_gets_shorter_is_said() {
    let dir = tempdir();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    let mut cut = 0;
    for attempt in 0..60 {
        let file = File::create(&input).unwrap();
        file.set_len(64 << 20).unwrap();
        let mut command = kimage();
        command.args(["compress", "xz"]).arg(&input).arg("-o").arg(&out);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(30 + 2 * attempt));
        file.set_len(if attempt % 2 == 0 { 1000 } else { 4096 }).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        if status.success() || said.contains("cannot be opened") {
            // Faster than the cut, or not there yet.
            let _ = fs::remove_file(&out);
            continue;
        }
        assert_eq!(status.code(), Some(1), "{status}: {said}");
        assert!(said.contains("in: got shorter while it was read, from 67108864"), "{said}");
        assert_eq!(names(dir.path()), ["in"]);
        cut += 1;
        if cut == 5 {
            return; // no gap: often enough
        }
    }
    assert!(cut > 0, "kimage was always done before the cut");
}

/// SIGTERM, SIGINT and kill -9 in the middle: the old file is whole and nothing is beside it.
#[test]
fn a_signal_leaves_nothing() {
    let dir = tempdir();
    let out = dir.path().join("out");
    for attempt in 0..100_u64 {
        fs::write(&out, "old").unwrap();
        let mut child = image(&out).args(["-q", "--pad-to", "0x4000000"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(150 * attempt));
        let signal = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP][attempt as usize % 4];
        kill(child.id(), signal);
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(signal), "{status}");
        assert_eq!(names(dir.path()), ["out"], "attempt {attempt}, signal {signal}");
        let len = fs::metadata(&out).unwrap().len();
        assert!(len == 3 || len > 0x100_0000, "{len}");
        assert!(!status.success() || len > 3);
    }
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a call without pointers.
    #[allow(unsafe_code, reason = "there is no other way to send a signal but a program")]
    unsafe {
        libc::kill(pid.try_into().unwrap(), signal)
    };
}

/// Without /proc no file can get its name later: it has one from the beginning, and a signal removes it. `nohup` and
/// background jobs, which ignore signals, go on doing so.
#[test]
fn a_named_temporary_file_goes_with_a_signal() {
    let Some(unshare) = tool("unshare", "util-linux") else { return };
    let dir = tempdir();
    let script = format!(
        "umount -l /proc || exit 77; cd {}; echo old > out
         {kimage} image -q --pad-to 0x40000000 {vmlinux} -o out & PID=$!
         while ! ls -A | grep -q tmp; do :; done; kill $1 $PID; wait $PID; echo status $?; ls -A; cat out",
        dir.path().display(),
        kimage = support::kimage_path(),
        vmlinux = tiny("vmlinux").display()
    );
    for (signal, status) in [("-TERM", 143), ("-HUP", 129)] {
        let mut command = Command::new(&unshare);
        let output = run(command.args(["-m", "sh", "-c", &script, "sh", signal]));
        if output.status.code() == Some(77) || stderr(&output).contains("unshare") {
            return missing(&format!("/proc cannot be unmounted here: {}", stderr(&output)));
        }
        assert_eq!(stdout(&output), format!("status {status}\nout\nold\n"), "{}", stderr(&output));
    }
}

#[test]
fn eight_writers_of_one_output() {
    let dir = tempdir();
    let out = dir.path().join("out");
    let writers: Vec<_> = (0..8_u64)
        .map(|number| {
            let size = format!("{:#x}", 0x100_0000 + number * 0x1000);
            image(&out).args(["-q", "--pad-to", &size]).spawn().unwrap()
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(names(dir.path()), ["out"]);
    let len = fs::metadata(&out).unwrap().len();
    assert_eq!(len % 0x1000, image_len() % 0x1000, "one of them, whole");
}

/// The address of the tiny kernel's first byte decides what `--pad-to` pads to.
fn image_len() -> u64 {
    let dir = tempdir();
    let out = dir.path().join("out");
    run_ok(image(&out).args(["-q", "--pad-to", "0x1000000"]));
    fs::metadata(&out).unwrap().len()
}

/// What the system refuses, each once: the old file stays, nothing is beside it, and the message says what failed.
#[test]
fn failing_calls_harm_nothing() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let out = dir.path().join("out");
    for (inject, options, word) in [
        ("write:error=EIO:when=1", &[][..], "Input/output error"),
        ("write:error=ENOSPC:when=2", &[], "No space left"),
        ("linkat:error=EIO", &[], "cannot be put in place"),
        ("renameat:error=EIO", &[], "cannot be put in place"),
        ("renameat:error=EPERM", &[], "cannot be put in place"),
        ("fsync:error=EIO", &["--sync"], "cannot be written through to the disk"),
        ("fchmod:error=EPERM", &[], "permissions of the old file"),
        ("write:error=EINTR:when=1..5", &[], ""),
    ] {
        fs::write(&out, "old").unwrap();
        let mut command = Command::new(&strace);
        command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={inject}")]);
        let traced = inject.split(':').next().unwrap();
        command.args(["-e", &format!("trace={traced}")]).arg(support::kimage_path()).args([
            "image",
            "-q",
            "--pad-to",
            "0x1000000",
        ]);
        let output = run(command.arg(tiny("vmlinux")).arg("-o").arg(&out).args(options));
        assert_eq!(names(dir.path()), ["out"], "{inject}");
        if word.is_empty() {
            assert!(output.status.success(), "{inject}: {}", stderr(&output));
        } else {
            fails(&output, &[word]);
            assert_eq!(fs::read(&out).unwrap(), b"old", "{inject}");
        }
    }
}

#[test]
fn an_output_may_be_the_input() {
    let dir = tempdir();
    let file = dir.path().join("file");
    let mut kernel = vec![7; 300_000];
    kernel[..4].copy_from_slice(b"data");
    fs::write(&file, &kernel).unwrap();
    run_ok(kimage().args(["uimage", "-q", "-A", "arm"]).arg(&file).arg("-o").arg(&file));
    assert_eq!(&fs::read(&file).unwrap()[64..], &kernel[..]);
    assert_eq!(names(dir.path()), ["file"]);
}

/// Orders to a terminal, line breaks and text that runs the other way round: in names of files, in what is in them.
#[test]
fn nothing_deceives_a_terminal() {
    let dir = tempdir();
    let bad = "\u{1b}[2J\u{1b}]0;x\u{7}a\u{202e}b\u{2066}c\u{200b}\nerror: fake\u{9b}1m";
    let deceives = |text: &str| {
        text.lines().any(|line| line.starts_with("error: fake"))
            || text.chars().any(|c| c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{2066}' | '\u{200b}')))
    };
    let file = dir.path().join(format!("x{bad}"));
    fs::copy(tiny("vmlinux"), &file).unwrap();
    let gone = dir.path().join(format!("y{bad}"));
    let uimage = dir.path().join("uimage");
    run_ok(kimage().args(["uimage", "-q", "-n", "\u{1b}[2J\u{202e}x", "-o"]).arg(&uimage).arg(&file));
    let mut runs: Vec<(Vec<&str>, &Path)> = Vec::new();
    for path in [&*file, &*gone, &*uimage] {
        for words in [
            &["info"][..],
            &["info", "--json"],
            &["verify"],
            &["verify", "--json"],
            &["map"],
            &["map", "--svg", "-"],
            &["extract"],
            &["extract", "--json"],
            &["image", "--plan"],
            &["image", "--plan", "--json"],
            &["image", "-o"],
            &["bzimage", "--plan"],
            &["zimage", "--plan"],
            &["uimage", "--plan", "-A", "arm"],
            &["fit", "--plan", "-A", "arm", "-a", "0", "--kernel"],
            &["fit", "--plan"],
            &["lint", "--board"],
            &["strip", "-o", "-"],
            &["relocs", "--no-such-option"],
            &["decompress", "-o", "-"],
            &["diff", uimage.to_str().unwrap()],
            &["voffset"],
        ] {
            runs.push((words.to_vec(), path));
        }
    }
    for (words, path) in runs {
        let output = run(kimage().current_dir(dir.path()).args(&words).arg(path));
        assert!(!deceives(&stderr(&output)), "{words:?}: {:?}", stderr(&output));
        // An image is no text.
        if words[0] != "strip" {
            assert!(!deceives(&stdout(&output)), "{words:?}: {:?}", stdout(&output));
        }
    }
}

/// Options pasted from a page that made `-` a dash.
#[test]
fn a_typographic_dash_is_recognised() {
    let dir = tempdir();
    for (words, dash, wanted) in [
        (&["uimage", "–A", "arm", "x"][..], "U+2013", "-A"),
        (&["uimage", "-A", "arm", "—force", "x"], "U+2014", "--force"),
        (&["image", "x", "−o", "y"], "U+2212", "-o"),
        (&["info", "‐‐json", "x"], "U+2010", "--json"),
        (&["image", "x", "--gap–fill", "0"], "U+2013", "--gap-fill"),
    ] {
        let output = run(kimage().current_dir(dir.path()).args(words));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains(dash) && text.contains(&format!("`{wanted}`")), "{words:?}: {text}");
    }
    // A file may be called so, and a name.
    fs::write(dir.path().join("–A"), "data").unwrap();
    run_ok(kimage().current_dir(dir.path()).args(["uimage", "-q", "-A", "arm", "-n", "–x", "–A"]));
    assert!(dir.path().join("uImage").is_file());
}

/// What is behind whole pages of an input in whole pages of the output is copied by the kernel, and the same bytes come out
/// when it will not: the counting is strace's.
#[test]
fn the_kernel_copies_what_passes_through() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    let bytes: Vec<u8> = (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&data, &bytes).unwrap();
    let fit = |inject: Option<&str>| {
        let out = dir.path().join("out");
        let log = dir.path().join("log");
        let mut command = Command::new(&strace);
        command.args(["-f", "-e", "trace=copy_file_range,write", "-o"]).arg(&log);
        command.args(inject.map(|inject| format!("-einject=copy_file_range:{inject}")));
        command.arg(support::kimage_path()).args(["fit", "-q", "-E", "-B", "1000", "--hash", "none", "-A", "arm"]);
        command.args(["-a", "8000", "-e", "8000", "-o"]).arg(&out).arg("--kernel").arg(&data);
        run_ok(&mut command);
        let log = fs::read_to_string(&log).unwrap();
        let count = |name: &str| log.lines().filter(|line| line.contains(&format!(" {name}("))).count();
        (fs::read(&out).unwrap(), count("copy_file_range"), count("write"))
    };
    let (by_kernel, copies, writes) = fit(None);
    // One up to the next 64 KiB of the output, and one for the rest.
    assert!(copies == 2 && writes <= 3, "{copies} copies, {writes} writes");
    assert!(by_kernel.ends_with(&bytes));
    for refused in ["error=EXDEV", "error=EINVAL", "error=ENOSYS", "error=EPERM", "retval=0", "error=EINTR:when=1"] {
        assert!(fit(Some(refused)).0 == by_kernel, "{refused}");
    }
}

/// Where files can share blocks, an output shares those of its input: no room is taken, whatever the size.
#[test]
fn blocks_are_shared_where_the_file_system_can() {
    for (make, package) in [("mkfs.xfs", "xfsprogs"), ("mkfs.btrfs", "btrfs-progs")] {
        let sbin = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(make));
        let Some(make) = sbin.into_iter().find(|path| path.is_file()) else {
            missing(&format!("{make} is not installed (apt-get install {package})"));
            continue;
        };
        let Some(unshare) = tool("unshare", "util-linux") else { return };
        let dir = tempdir();
        let script = format!(
            "cd {dir} && truncate -s 400M disk && {make} -q disk >&2 && mkdir m && mount -o loop disk m || exit 77
             head -c 100M /dev/urandom > m/data; sync; before=$(df --output=used m | tail -1)
             {kimage} fit -q -E -B 1000 --hash none -A arm -a 8000 -e 8000 --kernel m/data -o m/out || exit 1
             sync; after=$(df --output=used m | tail -1); echo KiB $((after - before))
             tail -c 104857600 m/out | cmp - m/data; umount m",
            dir = dir.path().display(),
            make = make.display(),
            kimage = support::kimage_path()
        );
        let output = run(Command::new(unshare).args(["-m", "sh", "-c", &script]));
        if output.status.code() == Some(77) || stderr(&output).contains("unshare") {
            missing(&format!("no loop mount of {}: {}", make.display(), stderr(&output)));
            continue;
        }
        let kib: i64 =
            stdout(&output).trim().trim_start_matches("KiB ").parse().unwrap_or_else(|_| panic!("{}", stderr(&output)));
        assert!(output.status.success() && kib < 1024, "{kib} KiB more for 100 MiB: {}", stderr(&output));
    }
}

/// Names in a depfile are right for GNU Make and for Ninja, or refused: both are asked whether the output is up to date,
/// after it was made, and after the input changed.
#[test]
fn depfile_names_are_what_make_and_ninja_read() {
    let (Some(make), Some(ninja)) = (tool("make", "make"), tool("ninja", "ninja-build")) else { return };
    let (mut said, mut refused) = (0, Vec::new());
    for name in [
        "plain", "a b", "a#b", "a:b", "a$b", "a\\b", "a\\\\b", "a\\ b", "a\\#b", "a=b", "~a", "include", "define",
        "export", "a%b", "a@b", "a,b", "(a)", "a+b", "a{b}", "ü", "a!b", "[a]", "a;b", "a|b", "a\\", "a\\:b", "a:",
        "a: b",
    ] {
        let dir = tempdir();
        let input = dir.path().join(name);
        fs::write(&input, "data").unwrap();
        fs::write(dir.path().join("other"), "more").unwrap();
        let built = |args: &[&str]| {
            let mut command = kimage();
            command.current_dir(dir.path()).args(["uimage", "-q", "-A", "arm", "-o", "out"]).arg(name).arg("other");
            run(command.args(["-T", "multi"]).args(args))
        };
        let output = built(&["--depfile", "deps.d"]);
        if !output.status.success() {
            assert!(stderr(&output).contains("--depfile cannot name"), "{name:?}: {}", stderr(&output));
            refused.push(name);
            continue;
        }
        said += 1;
        let old = std::time::SystemTime::now() - Duration::from_secs(100);
        let set = |path: &Path, age: u64| {
            File::open(path).unwrap().set_modified(old - Duration::from_secs(age)).unwrap();
        };
        fs::write(dir.path().join("Makefile"), "all: out\n.SUFFIXES:\nout: ; false\n-include deps.d\n").unwrap();
        let rule = "rule r\n  command = cp deps.d out.d && touch out\n  depfile = out.d\n  deps = gcc\nbuild out: r\n";
        fs::write(dir.path().join("build.ninja"), rule).unwrap();
        let is_new = |by_make: bool| {
            if by_make {
                let output = run(Command::new(&make).current_dir(dir.path()).args(["-q", "-R", "out"]));
                assert!(matches!(output.status.code(), Some(0 | 1)), "{name:?}: {}", stderr(&output));
                return output.status.success();
            }
            let output = run_ok(Command::new(&ninja).current_dir(dir.path()).args(["-n", "out"]));
            stdout(&output).contains("no work to do")
        };
        set(&input, 10);
        set(&dir.path().join("other"), 10);
        assert!(
            is_new(true),
            "{name:?}: Make does not know it: {}",
            fs::read_to_string(dir.path().join("deps.d")).unwrap()
        );
        run_ok(Command::new(&ninja).current_dir(dir.path()).arg("out"));
        assert!(is_new(false), "{name:?}: Ninja does not know it");
        File::open(&input).unwrap().set_modified(std::time::SystemTime::now() + Duration::from_secs(100)).unwrap();
        assert!(!is_new(true) && !is_new(false), "{name:?}: a change is not seen");
        // A phony rule: that it went away is no error for Make.
        if !name.contains(['%', '=']) {
            fs::remove_file(&input).unwrap();
            assert!(!is_new(true), "{name:?}");
        }
    }
    assert_eq!(refused, [r"a\#b", "a;b", "a|b", "a\\", "a\\:b", "a:", "a: b"]);
    assert!(said > 20);
}

/// A wrong file for each argument: the message names the file, what it is or is not, and the way out; it never blames order,
/// damage or a cut for what is simply another file.
#[test]
fn wrong_files_are_called_what_they_are() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let made = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    made("empty", b"");
    made("text", b"hello, world\n");
    made("noise", &(0..5000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect::<Vec<_>>());
    fs::create_dir(dir.path().join("dir")).unwrap();
    let (vmlinux, setup, arm) = (tiny("vmlinux"), tiny("setup.bin"), tiny("arm-vmlinux"));
    for (name, file) in [("vmlinux", &vmlinux), ("setup.bin", &setup), ("arm-vmlinux", &arm)] {
        fs::copy(file, dir.path().join(name)).unwrap();
    }
    run_ok(kimage().args(["zimage", "-q", &path("arm-vmlinux"), "-o", &path("zImage")]));
    run_ok(kimage().args(["uimage", "-q", &path("zImage"), "-o", &path("uImage")]));
    // The argument, and what suits it.
    let arguments: &[(&[&str], &[&str])] = &[
        (&["bzimage", "@", "setup.bin"], &["vmlinux"]),
        (&["bzimage", "vmlinux", "@"], &["setup.bin"]),
        (&["bzimage", "@"], &[]),
        (&["zimage", "@"], &["arm-vmlinux", "zImage"]),
        (&["zimage", "zImage", "--append-dtb", "@"], &[]),
        (&["image", "@"], &["vmlinux", "arm-vmlinux"]),
        (&["fit", "@"], &[]),
        (&["sign", "@", "--key", "noise"], &[]),
        (&["fit", "-a", "8000", "--kernel", "zImage", "--dtb", "@"], &[]),
        (&["strip", "@"], &["vmlinux", "arm-vmlinux"]),
        (&["relocs", "@"], &[]),
        (&["voffset", "@"], &["vmlinux"]),
        (&["piggy", "--object", "noise", "--like", "@"], &["vmlinux", "arm-vmlinux"]),
        (&["decompress", "@"], &[]),
    ];
    for (words, right) in arguments {
        for name in ["empty", "dir", "text", "noise", "vmlinux", "setup.bin", "arm-vmlinux", "zImage", "uImage"] {
            if right.contains(&name) {
                continue;
            }
            let words: Vec<&str> = words.iter().map(|word| if *word == "@" { name } else { word }).collect();
            let output = run(kimage().current_dir(dir.path()).args(&words).args(["-o", "out"]));
            let text = stderr(&output);
            if output.status.success() {
                // Tools that look for nothing in a file of the right kind.
                assert!(words[0] == "voffset" || words[0] == "relocs", "{words:?} succeeds");
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{words:?}: {text}");
            assert!(text.starts_with(&format!("error: {name}:")), "{words:?}: {text}");
            assert!(
                text.contains("help: ") || text.contains("; give a file") || text.contains("symbols"),
                "{words:?}: {text}"
            );
            for blame in ["cut off", "truncated", "damaged", "copy it again"] {
                assert!(!text.contains(blame), "{words:?} blames: {text}");
            }
            let is_swapped = words[..] == ["bzimage", "setup.bin", "setup.bin"];
            assert!(
                !text.contains("the order is") || is_swapped || text.contains("where it is the first file"),
                "{words:?}: {text}"
            );
        }
    }
    for name in ["empty", "text", "noise", "vmlinux", "zImage"] {
        let output =
            run(kimage().current_dir(dir.path()).args(["lint", "zImage", "--board"]).arg(dir.path().join(name)));
        fails(&output, &[name, "is no board file", "--board list"]);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    assert!(!dir.path().join("out").exists() || fs::metadata(dir.path().join("out")).unwrap().is_file());
}

/// Writes that take a part only, and calls that a signal interrupts: all bytes arrive, in order.
#[test]
fn short_writes_are_gone_on_with() {
    let dir = tempdir();
    let Some(mkfifo) = tool("mkfifo", "coreutils") else { return };
    let fifo = dir.path().join("fifo");
    run_ok(Command::new(mkfifo).arg(&fifo));
    let data: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 22) as u8).collect();
    fs::write(dir.path().join("data"), &data).unwrap();
    let mut command = kimage();
    command.current_dir(dir.path()).args(["uimage", "-q", "-A", "arm", "data", "-o", "fifo"]);
    let mut child = command.spawn().unwrap();
    let mut reader = File::open(&fifo).unwrap();
    // A pipe of a page, emptied slowly: each write of a MiB is many.
    let mut got = Vec::new();
    let mut piece = vec![0; 70_001];
    for turn in 0.. {
        let count = reader.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        got.extend_from_slice(&piece[..count]);
        if turn < 20 {
            // SIGCONT interrupts a blocked write and does nothing else.
            kill(child.id(), libc::SIGSTOP);
            kill(child.id(), libc::SIGCONT);
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(got[64..] == data[..]);
}
