//! `kimage cpio` beside the kernel's own usr/gen_init_cpio.c, and cpio as a reader.
#![cfg(feature = "cli")]

use crate::support::{assert_same, kimage, put, read, run, run_ok, source, stderr, stdout, tempdir, tool};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Not 0, and no round number.
const TIME: u32 = 1_234_567_890;

/// The kernel's tool, built.
fn gen_init_cpio(dir: &Path) -> Option<PathBuf> {
    let (source, cc) = (source("usr/gen_init_cpio.c")?, tool("cc", "gcc")?);
    let program = dir.join("gen_init_cpio");
    run_ok(Command::new(cc).arg("-w").arg("-o").arg(&program).arg(source));
    Some(program)
}

/// What that makes of a list. It took the files' own times up to Linux 6.3, here they have the same.
fn by_kernel(program: &Path, dir: &Path, list: &Path) -> Vec<u8> {
    let mut command = Command::new(program);
    command.current_dir(dir).args(["-t", &TIME.to_string()]).arg(list).env("PLACE", "files");
    run_ok(&mut command).stdout
}

fn made(dir: &Path, sources: &[&str]) -> Vec<u8> {
    let mut command = kimage();
    command.current_dir(dir).arg("cpio").args(sources).args(["-o", "-", "-q"]);
    run_ok(command.env("PLACE", "files").env("SOURCE_DATE_EPOCH", TIME.to_string())).stdout
}

/// Writes a file of any length that has that time.
fn file(path: &Path, len: usize) {
    fs::write(path, (0..len).map(|at| (at * 7) as u8).collect::<Vec<_>>()).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME.into());
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Every kind of line; names and data of every length modulo 4.
fn list() -> String {
    let mut list = String::from(
        "# a comment\n\ndir /dev 0755 0 0\nnod /dev/console 0600 0 0 c 5 1\nnod dev/sda 660 0 6 b 8 0 trailing words\n\
         slink\t/bin/sh   busybox 0777 0 0\nslink /s t 0 1 2\npipe /run/pipe 600 1000 100\n",
    );
    list += "sock /run/sock 04755 4294967295 7\ndir /root 0700 0 0\r\n";
    for len in 0..9 {
        let name = "n".repeat(len + 1);
        list += &format!("file /{name} files/{len} 644 {len} 0\nslink /l{len} {name} 777 0 0\n");
    }
    list += "file /bin/one ${PLACE}/8 0755 0 0 /bin/two bin/three\nfile /empty ${NOT_SET}${PLACE}/0 755 0 0 /empty2\n";
    list
}

#[test]
fn a_list_gives_the_bytes_of_the_kernels_tool() {
    let dir = tempdir();
    let dir = dir.path();
    let Some(program) = gen_init_cpio(dir) else { return };
    fs::create_dir(dir.join("files")).unwrap();
    (0..9).for_each(|len| file(&dir.join(format!("files/{len}")), len));
    let whole = put(dir, "list", list().as_bytes());
    assert_same("the list", &made(dir, &["list"]), &by_kernel(&program, dir, &whole));
    // Each line alone, and nothing at all.
    for line in list().lines().chain([""]) {
        let alone = put(dir, "alone", format!("{line}\n").as_bytes());
        assert_same(line, &made(dir, &["alone"]), &by_kernel(&program, dir, &alone));
    }
    // Compressed: what comes out is the same, and the depfile has the files.
    let plain = made(dir, &["list"]);
    for codec in ["gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"] {
        let packed = put(dir, "packed", &made(dir, &["list", "--compress", codec]));
        let out = run_ok(kimage().arg("decompress").arg(&packed)).stdout;
        assert_same(codec, &out, &plain);
    }
    run_ok(
        kimage().current_dir(dir).args(["cpio", "list", "-o", "out", "-q", "--depfile", "deps"]).env("PLACE", "files"),
    );
    let deps = String::from_utf8(read(&dir.join("deps"))).unwrap();
    assert!(deps.contains("list") && deps.contains("files/8"), "{deps}");
}

/// The order of a folder is that of usr/gen_initramfs.sh: find, sorted by bytes.
#[test]
fn a_folder_gives_what_a_list_of_it_gives() {
    let dir = tempdir();
    let dir = dir.path();
    let root = dir.join("root");
    for folder in ["a", "a/b", "a-b", "Z", "dev"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, len) in [("a/b/c", 5), ("a.b", 0), ("Z/\u{e4}", 9), ("init", 4096)] {
        file(&root.join(name), len);
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o751)).unwrap();
    }
    fs::hard_link(root.join("init"), root.join("Z/hard")).unwrap();
    // Its last name is in a folder that comes behind its first.
    file(&root.join("early"), 3);
    fs::set_permissions(root.join("early"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(root.join("late")).unwrap();
    fs::set_permissions(root.join("late"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(root.join("early"), root.join("late/name")).unwrap();
    symlink("../nowhere", root.join("a/link")).unwrap();
    put(dir, "nodes", b"nod /dev/console 600 0 0 c 5 1\n");
    let list = "dir Z 755 0 0\nfile Z/\u{e4} root/Z/\u{e4} 751 0 0\ndir a 755 0 0\n\
                dir a-b 755 0 0\nfile a.b root/a.b 751 0 0\ndir a/b 755 0 0\nfile a/b/c root/a/b/c 751 0 0\n\
                slink a/link ../nowhere 777 0 0\ndir dev 755 0 0\nfile Z/hard root/init 751 0 0 init\n\
                dir late 755 0 0\nfile early root/early 640 0 0 late/name\nnod dev/console 600 0 0 c 5 1\n";
    put(dir, "list", list.as_bytes());
    let archive = made(dir, &["root", "nodes"]);
    assert_same("kimage's own list", &archive, &made(dir, &["list"]));
    if let Some(program) = gen_init_cpio(dir) {
        assert_same("the kernel's", &archive, &by_kernel(&program, dir, Path::new("list")));
    }
    let owned = made(dir, &["root/a", "--owner", "1000:17"]);
    let Some(cpio) = tool("cpio", "cpio") else { return };
    put(dir, "archive", &owned);
    let said = stdout(&run_ok(Command::new("sh").arg("-c").arg(format!(
        "{} -itvn < {}/archive",
        cpio.display(),
        dir.display()
    ))));
    assert!(
        said.lines().count() == 3 && said.lines().all(|line| line.contains("1000") && line.contains(" 17 ")),
        "{said}"
    );
    // Read back by cpio, it is the folder; as anybody, for there is no device node in this one.
    put(dir, "archive", &made(dir, &["root"]));
    fs::create_dir(dir.join("back")).unwrap();
    let unpack = format!("cd {0}/back && {1} -idm --quiet < ../archive", dir.display(), cpio.display());
    run_ok(Command::new("sh").arg("-c").arg(unpack));
    run_ok(Command::new("diff").arg("-r").arg("--no-dereference").arg(&root).arg(dir.join("back")));
    // And by kimage.
    let (mut good, path) = (kimage(), dir.join("archive"));
    run_ok(good.arg("verify").arg(&path));
    assert!(stdout(&run_ok(kimage().arg("info").arg(&path).args(["--field", "entries"]))).trim() == "14");
}

/// What would make another archive of it than the folder is, or one that is not unpacked whole.
#[test]
fn no_archive_is_in_itself_or_ends_before_its_end() {
    let dir = tempdir();
    let dir = dir.path();
    fs::create_dir_all(dir.join("root/sub")).unwrap();
    let refused = |from: &Path, options: &[&str], why: &str| {
        let output = run(kimage().current_dir(from).arg("cpio").args(options));
        assert!(output.status.code() == Some(1) && stderr(&output).contains(why), "{}", stderr(&output));
    };
    for (from, options) in [
        (dir.to_owned(), &["root", "-o", "root/out"][..]),
        (dir.to_owned(), &["root", "-o", "root/sub/out"]),
        (dir.join("root"), &["."]),
        (dir.join("root/sub"), &["..", "-o", "./out"]),
    ] {
        refused(&from, options, "which goes into it");
    }
    assert_eq!(fs::read_dir(dir.join("root")).unwrap().count(), 1);
    run_ok(kimage().current_dir(dir.join("root")).args(["cpio", "sub", "-o", "out", "-q"]));
    put(&dir.join("root"), "TRAILER!!!", b"x");
    refused(dir, &["root", "-o", "out"], "cannot be called TRAILER!!!");
    put(dir, "list", b"dir /TRAILER!!! 755 0 0\n");
    refused(dir, &["list", "-o", "out"], "cannot be called TRAILER!!!");
    // A file of another kind fills no screen.
    put(dir, "list", &[0; 5000]);
    let said = stderr(&run(kimage().current_dir(dir).args(["cpio", "list", "-o", "out"])));
    assert!(said.contains("no kind of file") && said.len() < 1000, "{said}");
    assert!(!dir.join("out").exists());
}

#[test]
fn what_is_no_line_is_refused_by_its_number() {
    let dir = tempdir();
    let dir = dir.path();
    for (line, why) in [
        ("dirs /a 755 0 0", "no kind of file begins so"),
        (" dir", "a name is missing"),
        ("file /a", "a location or target is missing"),
        ("dir /a 788 0 0", "no mode in octal digits"),
        ("dir /a 100755 0 0", "no mode in octal digits"),
        ("dir /a 755 -1 0", "no number from 0 to 4294967295"),
        ("dir /a 755 0", "no number from 0 to 4294967295"),
        ("nod /a 755 0 0 x 1 2", "neither b nor c"),
        ("nod /a 755 0 0 c 1", "without its two numbers"),
    ] {
        put(dir, "list", format!("# list\n\n{line}\n").as_bytes());
        let output = run(kimage().current_dir(dir).args(["cpio", "list", "-o", "out"]));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("list: line 3 of the list") && said.contains(why) && said.contains("nod NAME"), "{said}");
    }
    put(dir, "list", b"file /a not-there 755 0 0\n");
    let said = stderr(&run(kimage().current_dir(dir).args(["cpio", "list", "-o", "out"])));
    assert!(said.contains("not-there") && said.contains("list: "), "{said}");
    put(dir, "list", format!("dir /{} 755 0 0\n", "x".repeat(4096)).as_bytes());
    let said = stderr(&run(kimage().current_dir(dir).args(["cpio", "list", "-o", "out"])));
    assert!(said.contains("c_namesize, 4096"), "{said}");
    assert!(!dir.join("out").exists());
}
