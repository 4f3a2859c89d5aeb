//! Outputs when the system fails, when the command is killed, and when others are at work in the same folder.

use crate::support::{self, kimage, missing, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use crate::{elf_builder, files};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn tiny(name: &str) -> PathBuf {
    testdata("tiny").join(name)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `kimage image` of the tiny kernel, padded, to `out`.
fn image(out: &Path, pad_to: &str) -> Command {
    let mut command = kimage();
    command.args(["image", "-q", "--pad-to", pad_to]).arg(tiny("vmlinux")).arg("-o").arg(out);
    command
}

/// The command under strace, which lets calls fail as `inject` says.
fn injected(strace: &Path, inject: &str, command: &Command) -> Command {
    let mut traced = Command::new(strace);
    traced.args(["-f", "-o", "/dev/null", "-e", &format!("trace={}", inject.split(':').next().unwrap())]);
    traced.args(["-e", &format!("inject={inject}")]).arg(command.get_program()).args(command.get_args());
    traced
}

#[track_caller]
fn fails(output: &Output, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in:\n{text}"));
}

fn noise(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The one moment in which a kill -9 leaves something: between the name and its renaming. The next one who writes the same
/// output removes it, and nothing else.
#[test]
fn what_a_kill_left_goes_with_the_next_run() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let out = dir.path().join("out");
    fs::write(&out, "old").unwrap();
    let small = image(&out, "0x1000000");
    assert!(!run(&mut injected(&strace, "linkat:signal=KILL", &small)).status.success());
    assert_eq!(names(dir.path()), ["out"], "before it has a name");
    assert!(!run(&mut injected(&strace, "renameat:signal=KILL", &small)).status.success());
    let left = names(dir.path());
    assert_eq!(left, [".kimage-out-0.tmp", "out"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
    // Another output is none of its business, nor is what only looks so.
    run_ok(&mut image(&dir.path().join("other"), "0x1000000"));
    assert_eq!(names(dir.path()), [".kimage-out-0.tmp", "other", "out"]);
    symlink("other", dir.path().join(".kimage-out-1.tmp")).unwrap();
    fs::create_dir(dir.path().join(".kimage-out-2.tmp")).unwrap();
    run_ok(&mut image(&out, "0x1000000"));
    assert_eq!(names(dir.path()), [".kimage-out-1.tmp", ".kimage-out-2.tmp", "other", "out"]);
    assert!(fs::read(&out).unwrap() == fs::read(dir.path().join("other")).unwrap());
}

/// A hundred moments while a file is replaced: the old one or the new one, whole, and nothing beside it after the next run.
#[test]
fn killed_while_it_replaces() {
    let dir = tempdir();
    let (out, new) = (dir.path().join("out"), dir.path().join("new"));
    let started = std::time::Instant::now();
    run_ok(&mut image(&new, "0x2000000"));
    let long = started.elapsed();
    let (old, new) = (noise(1 << 20), fs::read(&new).unwrap());
    fs::remove_file(dir.path().join("new")).unwrap();
    let mut killed = 0;
    for moment in 0..100 {
        fs::write(&out, &old).unwrap();
        let mut child = image(&out, "0x2000000").spawn().unwrap();
        std::thread::sleep(long * moment / 90);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let now = fs::read(&out).unwrap();
        assert!(now == old || now == new, "moment {moment}: {} bytes", now.len());
        let left = names(dir.path());
        assert!(left.iter().all(|name| name == "out" || name == ".kimage-out-0.tmp"), "{left:?}");
    }
    assert!(killed > 10, "{killed} of 100 were killed in time");
    run_ok(&mut image(&out, "0x2000000"));
    assert_eq!(names(dir.path()), ["out"]);
}

/// Where a file has a name from the beginning: what a kill -9 left goes, what somebody is at work on stays.
#[test]
fn a_file_at_work_on_is_not_taken_for_one_left() {
    let Some(unshare) = tool("unshare", "util-linux") else { return };
    let dir = tempdir();
    // A writer may be done before it is hit: then once more. One that is stopped stays as it was found.
    let script = format!(
        "umount -l /proc || exit 77; cd {}; echo old > out
         big() {{ {kimage} image -q --pad-to 0x20000000 {vmlinux} -o out & PID=$!; }}
         hit() {{
             for try in 1 2 3 4 5 6 7 8 9; do
                 touch mark; sleep 0.1; big
                 while ! [ .kimage-out-0.tmp -nt mark ] && kill -0 $PID 2>&-; do :; done
                 kill -STOP $PID 2>&-; sleep 0.1; [ -e .kimage-out-0.tmp ] && return
                 kill -CONT $PID 2>&-; wait $PID; echo old > out
             done
         }}
         hit; kill -9 $PID; wait $PID; ls -A
         hit; {kimage} image -q {vmlinux} -o out; echo status $?; ls -A
         kill -CONT $PID; wait $PID; echo status $?; ls -A
         for i in 1 2 3 4 5 6 7 8; do {kimage} image -q --pad-to 0x2000000 {vmlinux} -o out || echo failed $? & done
         wait; ls -A",
        dir.path().display(),
        kimage = support::kimage_path(),
        vmlinux = tiny("vmlinux").display()
    );
    let output = run(Command::new(unshare).args(["-m", "bash", "-c", &script]));
    if output.status.code() == Some(77) || stderr(&output).contains("unshare") {
        return missing(&format!("/proc cannot be unmounted here: {}", stderr(&output)));
    }
    let left = ".kimage-out-0.tmp\nmark\nout\n";
    let told = format!("{left}status 0\n{left}status 0\nmark\nout\nmark\nout\n");
    assert_eq!(stdout(&output), told, "{}", stderr(&output));
}

/// close(2) is the last to tell that bytes did not arrive. Which call it is, a good run tells: it closes a descriptor that was
/// made for that.
#[test]
fn errors_of_close_are_failures() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let (out, log) = (dir.path().join("out"), dir.path().join("log"));
    let number_of_close = |command: &Command| {
        let mut traced = Command::new(&strace);
        traced.args(["-o".as_ref(), log.as_os_str()]).args(["-e", "trace=close,fcntl"]);
        run_ok(traced.arg(command.get_program()).args(command.get_args()));
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let is_dup = |line: &&str| line.contains("F_DUPFD_CLOEXEC");
        let at = lines.iter().rposition(is_dup).unwrap();
        lines[..at].iter().filter(|line| line.starts_with("close(")).count() + 1
    };
    let command = image(&out, "0x1000000");
    fs::write(&out, "old").unwrap();
    let last = number_of_close(&command);
    let mut failed = 0;
    for (error, words) in [("EDQUOT", "Disk quota exceeded"), ("EIO", "Input/output error"), ("ENOSPC", "No space")] {
        // The last of all is that of standard output, with nothing written to it.
        for number in 1..last {
            fs::write(&out, "old").unwrap();
            let output = run(&mut injected(&strace, &format!("close:error={error}:when={number}"), &command));
            if matches!(output.status.code(), Some(0 | 127)) {
                continue; // no gap: what was only read, or the loader's, which fails by itself
            }
            fails(&output, &["out: cannot be written", words]);
            assert_eq!(fs::read(&out).unwrap(), b"old");
            assert_eq!(names(dir.path()), ["out"]);
            failed += 1;
        }
    }
    assert_eq!(failed, 3, "one close counts");
    // Bytes and text to standard output.
    for command in [image(Path::new("-"), "0x1000000"), {
        let mut command = kimage();
        command.arg("info").arg(tiny("vmlinux"));
        command
    }] {
        let number = number_of_close(&command);
        let output = run(&mut injected(&strace, &format!("close:error=EDQUOT:when={number}"), &command));
        fails(&output, &["standard output cannot be written", "Disk quota exceeded"]);
    }
}

/// Who closes standard output gets nothing, and is told; a command that has nothing to write there does not mind.
#[test]
fn a_closed_standard_output_is_a_failure() {
    let Some(sh) = tool("sh", "dash") else { return };
    let dir = tempdir();
    let vmlinux = tiny("vmlinux").display().to_string();
    let shell = |line: &str| {
        let line = line.replace("kimage", support::kimage_path()).replace("vmlinux", &vmlinux);
        run(Command::new(&sh).current_dir(dir.path()).args(["-c", &line]))
    };
    for words in [
        "info vmlinux",
        "info --json vmlinux",
        "info --field arch vmlinux",
        "verify vmlinux",
        "map vmlinux",
        "image --plan vmlinux",
        "image vmlinux -o -",
        "--help",
        "--version",
        "completions bash",
    ] {
        fails(&shell(&format!("kimage {words} >&-")), &["standard output", "is closed"]);
        let output = shell(&format!("kimage {words} >/dev/null"));
        assert_eq!(output.status.code(), Some(0), "{words}: {}", stderr(&output));
        let output = shell(&format!("kimage {words} 1<>/dev/null"));
        assert_eq!(output.status.code(), Some(0), "{words}: {}", stderr(&output));
    }
    for line in ["kimage image vmlinux -o out >&-", "kimage image vmlinux -o out >&- 2>&- <&-"] {
        assert_eq!(shell(line).status.code(), Some(0), "{line}");
    }
    fails(&shell("kimage info - <&-"), &["standard input is closed"]);
    fails(&shell("kimage info nothing >&-"), &["nothing: cannot be opened"]);
    assert_eq!(shell("kimage verify nothing >&- 2>&-").status.code(), Some(1));
}

/// A file with several parts.
fn parts(dir: &Path) -> PathBuf {
    let path = dir.join("multi");
    for name in ["one", "two"] {
        fs::write(dir.join(name), name.repeat(1000)).unwrap();
    }
    let mut command = kimage();
    command.current_dir(dir).args(["uimage", "-q", "-A", "arm", "-T", "multi", "one", "two", "-o"]);
    run_ok(command.arg(&path));
    path
}

/// The folder of `extract --all` is held: who puts another in its place meanwhile does not get the parts, and a link in it is
/// in the way.
#[test]
fn all_parts_go_to_the_one_folder() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let multi = parts(dir.path());
    let path = |name: &str| dir.path().join(name);
    let extract = |folder: &Path| {
        let mut command = kimage();
        command.arg("extract").arg(&multi).arg("--all").arg(folder);
        command
    };
    let folder = path("folder");
    fs::create_dir(path("victim")).unwrap();
    let mut child =
        injected(&strace, "linkat:delay_enter=1s:when=1", &extract(&folder)).stderr(Stdio::null()).spawn().unwrap();
    while !folder.is_dir() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The first part is on its way, for a second.
    std::thread::sleep(Duration::from_millis(200));
    fs::rename(&folder, path("moved")).unwrap();
    symlink("victim", &folder).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&path("victim")), [""; 0]);
    let all = names(&path("moved"));
    assert!(all.len() >= 2, "{all:?}");
    assert!(all.iter().any(|name| fs::read(path("moved").join(name)).unwrap() == "two".repeat(1000).as_bytes()));
    // Links, whosever they are.
    fs::write(path("mine"), "mine").unwrap();
    for name in &all {
        let folder = path(&format!("with-{name}"));
        fs::create_dir(&folder).unwrap();
        symlink(path("mine"), folder.join(name)).unwrap();
        fails(&run(&mut extract(&folder)), &[name, "is in the way and is not a file"]);
        assert_eq!(fs::read(path("mine")).unwrap(), b"mine");
    }
    // By way of a link of one's own, and into folders that are there already.
    symlink("moved", path("way")).unwrap();
    run_ok(&mut extract(&path("way")));
    run_ok(extract(Path::new(".")).current_dir(path("victim")));
    run_ok(extract(Path::new("../deep/er/")).current_dir(path("victim")));
    assert_eq!(names(&path("victim")), all);
    assert_eq!(names(&path("deep/er")), all);
    fails(&run(&mut extract(&path("mine"))), &["mine"]);
}

/// Two that extract into one folder at a time, and a link that somebody else put where the folder is to be.
#[test]
fn others_in_the_folder_of_all_parts() {
    let dir = tempdir();
    let multi = parts(dir.path());
    let extract = |folder: &Path| {
        let mut command = kimage();
        command.arg("extract").arg(&multi).arg("--all").arg(folder);
        command
    };
    let both = dir.path().join("both");
    let mut writers: Vec<_> = (0..4).map(|_| extract(&both).stderr(Stdio::null()).spawn().unwrap()).collect();
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    let alone = dir.path().join("alone");
    run_ok(&mut extract(&alone));
    assert_eq!(names(&both), names(&alone));
    for name in names(&both) {
        assert!(fs::read(both.join(&name)).unwrap() == fs::read(alone.join(&name)).unwrap(), "{name}");
    }
    let sticky = dir.path().join("sticky");
    fs::create_dir(&sticky).unwrap();
    fs::set_permissions(&sticky, Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(dir.path().join("victim")).unwrap();
    symlink("../victim", sticky.join("parts")).unwrap();
    if std::os::unix::fs::lchown(sticky.join("parts"), Some(4711), None).is_err() {
        return missing("files of another owner: only root can make them (run as root)");
    }
    let output = run(&mut extract(&sticky.join("parts")));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(names(&dir.path().join("victim")), [""; 0]);
}

/// What is added behind, or filled up to a size, leaves what is in front on its pages: the kernel copies that, and the same
/// bytes come out when it will not. The counting is strace's.
#[test]
fn the_kernel_copies_what_is_appended_to() {
    let Some(strace) = tool("strace", "strace") else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    // A zImage without a table, of a few pages more than a MiB.
    let mut zimage = noise((1 << 20) + 0x3000);
    for (at, word) in [(0x24, 0x016f_2818_u32), (0x28, 0), (0x2c, zimage.len() as u32), (0x30, 0x0403_0201)] {
        zimage[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    fs::write(path("zImage"), &zimage).unwrap();
    fs::write(path("dtb"), files::dtb()).unwrap();
    let mut append = kimage();
    append.args(["zimage", "-q"]).arg(path("zImage")).arg("--append-dtb").arg(path("dtb"));
    let made = |command: &Command, inject: Option<&str>| {
        let (out, log) = (path("out"), path("log"));
        let mut traced = Command::new(&strace);
        traced.args(["-f", "-e", "trace=copy_file_range,write", "-o"]).arg(&log);
        traced.args(inject.map(|inject| format!("-einject=copy_file_range:{inject}")));
        traced.arg(command.get_program()).args(command.get_args()).arg("-o").arg(&out);
        run_ok(&mut traced);
        let log = fs::read_to_string(&log).unwrap();
        let copied = log.lines().filter(|line| line.contains(" copy_file_range(") && !line.contains("= -1")).count();
        (fs::read(&out).unwrap(), copied)
    };
    let (by_kernel, copies) = made(&append, None);
    assert!(copies >= 1, "{copies} copies");
    assert!(by_kernel.starts_with(&zimage) && by_kernel.ends_with(&fs::read(path("dtb")).unwrap()));
    let mut builder = elf_builder::Builder::new(true, false, 62);
    builder.skip(0x1000 - builder.at());
    let text = builder.section(".text", 1, 6, 0x10_0000, &zimage);
    builder.segment(1, text..text + 1, 0x10_0000);
    fs::write(path("elf"), builder.build()).unwrap();
    let mut pad = kimage();
    pad.args(["image", "-q", "--gap-fill", "0xff", "--pad-to", "0x300000"]).arg(path("elf"));
    let (padded, copies) = made(&pad, None);
    assert!(copies >= 1, "{copies} copies");
    assert_eq!(padded.len(), 0x20_0000);
    assert!(padded.starts_with(&zimage) && padded[zimage.len()..].iter().all(|byte| *byte == 0xff));
    for refused in ["error=EXDEV", "error=ENOSYS", "error=EPERM", "retval=0", "error=EINTR:when=1"] {
        assert!(made(&append, Some(refused)).0 == by_kernel, "{refused}");
        assert!(made(&pad, Some(refused)).0 == padded, "{refused}");
    }
}
