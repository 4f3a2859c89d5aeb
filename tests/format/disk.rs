//! What `kimage disk` writes is read without complaint by fsck.vfat, mtools, sgdisk and xorriso, and gives the files back; it is
//! the same each time; what does not fit or would not start is refused.

use crate::support::{
    assert_same, kimage, make, noise, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KINDS: [&str; 5] = ["esp", "gpt", "iso", "floppy144", "hybrid"];

fn disk(dir: &Path, name: &str, options: &[&str]) -> PathBuf {
    make(dir, name, "disk", &[&testdata("tiny/kernel")], options)
}

/// Files to add: long names, folders, an empty file.
fn folder(dir: &Path) -> PathBuf {
    let folder = dir.join("files");
    fs::create_dir_all(folder.join("docs/Deep er/x")).unwrap();
    for index in 0..60 {
        fs::write(folder.join(format!("docs/a rather long name {index}.text")), format!("{index}")).unwrap();
    }
    fs::write(folder.join("docs/Deep er/x/LAST.TXT"), noise(70_000, 9)).unwrap();
    fs::write(folder.join("docs/empty"), "").unwrap();
    fs::write(folder.join("docs/gerät.№1"), "unicode").unwrap();
    folder
}

/// Where the FAT of a disk begins, in bytes.
fn fat_at(kind: &str, bytes: &[u8]) -> usize {
    match kind {
        "esp" | "floppy144" => 0,
        "gpt" => 1 << 20,
        // The boot sector of the file system has its name.
        _ => {
            memchr::memmem::find_iter(bytes, b"KIMAGE  ").map(|at| at - 3).find(|at| at % 2048 == 0 && *at > 0).unwrap()
        }
    }
}

/// Every kind, by every program that knows it.
#[test]
fn others_read_them() {
    let tools = [("fsck.vfat", "dosfstools"), ("mcopy", "mtools"), ("sgdisk", "gdisk"), ("xorriso", "xorriso")];
    let tools = tools.map(|(name, package)| tool(name, package));
    let [Some(fsck), Some(mcopy), Some(sgdisk), Some(xorriso)] = &tools else { return }; // no gap: tool() has said so
    let dir = tempdir();
    let files = folder(dir.path());
    for kind in KINDS {
        let disk = disk(dir.path(), kind, &["--kind", kind, "--add", files.to_str().unwrap()]);
        let bytes = read(&disk);
        let fat = put(dir.path(), "fat", &bytes[fat_at(kind, &bytes)..]);
        let said = stdout(&run_ok(Command::new(fsck).arg("-nv").arg(&fat)));
        assert!(said.contains("Checking for unused clusters"), "{kind}: {said}");
        let out = dir.path().join(format!("{kind}.files"));
        fs::create_dir(&out).unwrap();
        run_ok(Command::new(mcopy).args(["-s", "-n", "-i"]).arg(&fat).arg("::docs").arg(&out).env("LC_ALL", "C.UTF-8"));
        same_files(&files.join("docs"), &out.join("docs"), kind);
        if matches!(kind, "gpt" | "hybrid") {
            let said = stdout(&run_ok(Command::new(sgdisk).arg("-v").arg(&disk)));
            assert!(said.contains("No problems found"), "{kind}: {said}");
            // A CD is as long as it is.
            assert!(kind == "hybrid" || !said.contains("Caution"), "{kind}: {said}");
        }
        if matches!(kind, "iso" | "hybrid") {
            let out = dir.path().join(format!("{kind}.iso-files"));
            let output = run_ok(
                Command::new(xorriso)
                    .args(["-osirrox", "on", "-indev"])
                    .arg(&disk)
                    .args(["-report_el_torito", "plain"])
                    .args(["-extract", "/docs"])
                    .arg(&out),
            );
            let said = stdout(&output) + &stderr(&output);
            for words in ["El Torito boot img :   1  BIOS  y   none", "El Torito boot img :   2  UEFI  y   none"] {
                assert!(said.contains(words), "{kind}: {said}");
            }
            assert!(!said.contains("FAILURE") && !said.contains("SORRY"), "{said}");
            same_files(&files.join("docs"), &out, kind);
        }
    }
    // By Joliet's names, as Windows reads a CD.
    let cd = disk(dir.path(), "joliet", &["--kind", "iso", "--add", files.to_str().unwrap()]);
    let out = dir.path().join("joliet.files");
    let mut command = Command::new(xorriso);
    command.args(["-read_fs", "norock", "-osirrox", "on", "-indev"]).arg(&cd).args(["-extract", "/docs"]).arg(&out);
    let output = run_ok(&mut command);
    assert!(!stderr(&output).contains("FAILURE") && !stderr(&output).contains("SORRY"), "{}", stderr(&output));
    same_files(&files.join("docs"), &out, "Joliet");
}

/// Joliet has names of 64 characters: longer ones lose what is in front of their ends, and stay different.
#[test]
fn long_names_of_joliet() {
    let Some(xorriso) = tool("xorriso", "xorriso") else { return };
    let dir = tempdir();
    let folder = dir.path().join("files");
    fs::create_dir(&folder).unwrap();
    let long = "a name that is long and of which the ends are not the same ".repeat(2);
    let names = ["one.text", "two.text", "three; four.text", "\u{1f5bf}.x"].map(|end| {
        let most = 100_usize.saturating_sub(end.len());
        if end.starts_with('\u{1f5bf}') { end.to_owned() } else { format!("{}{end}", &long[..most]) }
    });
    for name in &names {
        fs::write(folder.join(name), name).unwrap();
    }
    let cd = disk(dir.path(), "cd", &["--kind", "iso", "--add", folder.to_str().unwrap()]);
    let listed = |how: &str| {
        let mut command = Command::new(&xorriso);
        command.env("LC_ALL", "C.UTF-8").args(["-read_fs", how, "-indev"]).arg(&cd).args(["-find", "/", "-type", "f"]);
        let mut names: Vec<String> =
            stdout(&run_ok(&mut command)).lines().map(|line| line.trim_matches(['\'', '/']).to_owned()).collect();
        names.retain(|name| !name.contains("EFI"));
        names.sort();
        names
    };
    let mut want = names.to_vec();
    want.sort();
    assert_eq!(listed("any"), want);
    let start = &long[..59];
    let mut want = vec![format!("{start}.text"), "\u{1f5bf}.x".to_owned()];
    want.extend(["~1", "~2"].map(|tail| format!("{}{tail}.text", &start[..57])));
    want.sort();
    assert_eq!(listed("norock"), want);
}

/// Sectors of 4 KiB, as fdisk, fsck.vfat and mtools read them; no BIOS starts from them.
#[test]
fn large_sectors() {
    let tools = [("fsck.vfat", "dosfstools"), ("mcopy", "mtools"), ("fdisk", "fdisk")];
    let [Some(fsck), Some(mcopy), Some(fdisk)] = tools.map(|(name, package)| tool(name, package)) else { return };
    let dir = tempdir();
    let files = folder(dir.path());
    let sizes = [("esp", None, 0), ("gpt", None, 1 << 20), ("gpt", Some("300M"), 1 << 20), ("esp", Some("1000M"), 0)];
    for (kind, size, at) in sizes {
        let mut options = vec!["--kind", kind, "--sector-size", "4096", "--add", files.to_str().unwrap()];
        options.extend(size.iter().flat_map(|size| ["--size", size]));
        let disk = disk(dir.path(), "disk", &options);
        let bytes = read(&disk);
        let fat = put(dir.path(), "fat", &bytes[at..]);
        assert_eq!(&bytes[at + 11..at + 13], &4096_u16.to_le_bytes());
        let said = stdout(&run_ok(Command::new(&fsck).arg("-nv").arg(&fat)));
        assert!(
            said.contains("4096 bytes per logical sector") && said.contains("Checking for unused"),
            "{kind}: {said}"
        );
        let out = dir.path().join(format!("{kind}.{size:?}"));
        fs::create_dir(&out).unwrap();
        run_ok(
            Command::new(&mcopy).args(["-s", "-n", "-i"]).arg(&fat).arg("::docs").arg(&out).env("LC_ALL", "C.UTF-8"),
        );
        same_files(&files.join("docs"), &out.join("docs"), kind);
        if kind == "gpt" {
            let output = run_ok(Command::new(&fdisk).args(["-b", "4096", "-l"]).arg(&disk).env("LC_ALL", "C"));
            let said = stdout(&output);
            assert!(stderr(&output).is_empty(), "{}", stderr(&output));
            let row = said.lines().find(|line| line.ends_with("EFI System")).unwrap_or_else(|| panic!("{said}"));
            assert!(row.split_whitespace().nth(1) == Some("256") && said.contains("Disklabel type: gpt"), "{said}");
        }
        let verify = run_ok(kimage().arg("verify").arg(&disk));
        assert!(stdout(&verify).contains(": good"), "{kind}: {}", stdout(&verify));
        let out = run_ok(kimage().arg("extract").arg(&disk).arg("/docs/Deep er/x/LAST.TXT"));
        assert_same(kind, &out.stdout, &noise(70_000, 9));
    }
    let json = run_ok(
        kimage()
            .args(["disk", "--kind", "gpt", "--sector-size", "4096", "--json", "-o"])
            .arg(dir.path().join("disk"))
            .arg(testdata("tiny/kernel")),
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["image"]["bios"], &json["image"]["efi"][0]), (&false.into(), &"BOOTX64.EFI".into()));
    for options in [&["--kind", "iso", "--sector-size", "4096"][..], &["--kind", "gpt", "--sector-size", "1024"]] {
        let output =
            run(kimage().arg("disk").args(options).arg("-o").arg(dir.path().join("out")).arg(testdata("tiny/kernel")));
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

fn same_files(want: &Path, got: &Path, what: &str) {
    for entry in fs::read_dir(want).unwrap() {
        let path = entry.unwrap().path();
        let other = got.join(path.file_name().unwrap());
        if path.is_dir() {
            same_files(&path, &other, what);
        } else {
            assert_same(&format!("{what}: {}", path.display()), &read(&other), &read(&path));
        }
    }
    assert_eq!(fs::read_dir(want).unwrap().count(), fs::read_dir(got).unwrap().count(), "{what}");
}

/// `info` names the files, of our disks and of others'.
#[test]
fn info_names_the_files() {
    let dir = tempdir();
    let files = folder(dir.path());
    let listed = |disk: &Path| -> Vec<(String, u64, u64)> {
        let json = run_ok(kimage().args(["info", "--json"]).arg(disk));
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let rows = json["files"][0]["layers"][0]["facts"]["files"]["value"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| {
                let number = |name: &str| match row[name].as_str() {
                    Some(text) => u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap(),
                    None => row[name].as_u64().unwrap(),
                };
                assert_eq!(number("pieces"), u64::from(number("size") > 0), "{row}");
                (row["path"].as_str().unwrap().to_owned(), number("offset"), number("size"))
            })
            .collect()
    };
    for kind in KINDS {
        let disk = disk(dir.path(), kind, &["--kind", kind, "--add", files.to_str().unwrap()]);
        let (bytes, listed) = (read(&disk), listed(&disk));
        let own = if kind == "floppy144" { 2 } else { 1 };
        assert_eq!(listed.len(), 63 + own, "{kind}");
        for (path, at, size) in listed.iter().filter(|(path, ..)| path.starts_with("docs/")) {
            let at = usize::try_from(*at).unwrap();
            assert_same(path, &bytes[at..at + *size as usize], &read(&files.join(path)));
        }
    }
    // Another program's, on which each file is a folder's only one.
    let (Some(mkfs), Some(mcopy)) = (tool("mkfs.vfat", "dosfstools"), tool("mcopy", "mtools")) else { return };
    for (bits, size) in [("12", 2 << 20), ("16", 16 << 20), ("32", 64 << 20)] {
        let disk = dir.path().join("other");
        fs::File::create(&disk).unwrap().set_len(size).unwrap();
        run_ok(Command::new(&mkfs).args(["-s", "1", "-F", bits]).arg(&disk));
        run_ok(
            Command::new(&mcopy)
                .args(["-s", "-i"])
                .arg(&disk)
                .arg(files.join("docs"))
                .arg("::")
                .env("LC_ALL", "C.UTF-8"),
        );
        run_ok(Command::new(&mcopy).arg("-i").arg(&disk).arg(testdata("tiny/kernel")).arg("::kernel"));
        let bytes = read(&disk);
        let listed = listed(&disk);
        assert_eq!(listed.len(), 64, "{bits}");
        let (_, at, size) = listed.iter().find(|(path, ..)| path == "docs/Deep er/x/LAST.TXT").unwrap();
        let at = usize::try_from(*at).unwrap();
        assert_same(bits, &bytes[at..at + *size as usize], &noise(70_000, 9));
    }
}

/// Each size has its kind of FAT.
#[test]
fn sizes() {
    let Some(fsck) = tool("fsck.vfat", "dosfstools") else { return };
    let dir = tempdir();
    for (size, bits) in [("2M", "12 bit"), ("9M", "16 bit"), ("100M", "16 bit"), ("1000M", "32 bit")] {
        // A large one takes a second.
        let disk = disk(dir.path(), size, &["--kind", "esp", "--size", size]);
        let said = stdout(&run_ok(Command::new(&fsck).arg("-nv").arg(&disk)));
        assert!(said.contains(bits) && said.contains("Checking for unused clusters"), "{size}: {said}");
        fs::remove_file(&disk).unwrap();
    }
}

/// The same bytes each time; other bytes for another time, and other names for other contents.
#[test]
fn the_same_each_time() {
    let dir = tempdir();
    for kind in KINDS {
        let options = ["--kind", kind];
        let [first, second] = ["first", "second"].map(|name| read(&disk(dir.path(), name, &options)));
        assert_same(kind, &first, &second);
        let later = read(&disk(dir.path(), "later", &["--kind", kind, "--time", "1700000000"]));
        assert_eq!(first.len(), later.len());
        assert!(first != later, "{kind}");
    }
    // GUIDs and serial numbers.
    let guid =
        |cmdline: &str| read(&disk(dir.path(), "gpt", &["--kind", "gpt", "--cmdline", cmdline]))[568..584].to_vec();
    assert_ne!(guid("one"), guid("two"));
    let mut command = kimage();
    command.env("SOURCE_DATE_EPOCH", "1700000000").arg("disk").arg(testdata("tiny/kernel"));
    let epoch = dir.path().join("epoch");
    run_ok(command.args(["--kind", "esp", "-o"]).arg(&epoch));
    assert_same("epoch", &read(&epoch), &read(&disk(dir.path(), "time", &["--kind", "esp", "--time", "1700000000"])));
}

/// What does not fit or would not start, with figures and the way out.
#[test]
fn refused() {
    let dir = tempdir();
    let large = put(dir.path(), "large", &vec![7; 2 << 20]);
    let arm64 = put(dir.path(), "Image", &arm64_efi());
    let text = put(dir.path(), "text", b"no kernel");
    let tiny = testdata("tiny/kernel");
    let (tiny, large) = (tiny.to_str().unwrap(), large.to_str().unwrap());
    let (arm64, text) = (arm64.to_str().unwrap(), text.to_str().unwrap());
    let added = format!("a.txt={text}");
    let same = format!("A.TXT={text}");
    let colon = format!("a:b={text}");
    for (options, words) in [
        (&[tiny, "--kind", "floppy144", "--initrd", large][..], &["need 2", "has 1457664", "with xz"][..]),
        (&[tiny, "--kind", "esp", "--size", "1K"], &["a disk of 1024 bytes is too small", "--size"]),
        (&[tiny, "--kind", "gpt", "--size", "1K"], &["a disk of 1024 bytes is too small", "--size"]),
        (&[arm64, "--kind", "esp", "--cmdline", "quiet"], &["without command line and RAM disk", "--loader"]),
        (&[arm64, "--kind", "floppy144"], &["a BIOS starts x86 kernels alone"]),
        (&[tiny, tiny, "--kind", "gpt"], &["there is another for this CPU", "--loader"]),
        (&[tiny, tiny, "--kind", "floppy144"], &["a floppy starts one kernel"]),
        (&[text, "--kind", "iso"], &["neither UEFI firmware nor a BIOS starts it"]),
        (&[tiny, "--kind", "gpt", "--loader", text], &["it is no program for UEFI"]),
        (&[tiny, "--kind", "esp", "--add", &added, "--add", &same], &["A.TXT: there is one of that name already"]),
        (&[tiny, "--kind", "esp", "--add", &colon], &["a:b: a name on a FAT has none of"]),
        (&[tiny, "--kind", "floppy144", "--cmdline", &"x".repeat(5000)], &["has 5000 bytes", "takes 2047"]),
    ] {
        let output = run(kimage().arg("disk").args(options).arg("-o").arg(dir.path().join("out")));
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        for words in words {
            assert!(stderr(&output).contains(words), "{options:?}: no {words:?} in {}", stderr(&output));
        }
    }
    // A kernel for each CPU, on one disk.
    let both = dir.path().join("both");
    let output = run_ok(kimage().arg("disk").args([tiny, arm64, "--kind", "esp", "--json", "-o"]).arg(&both));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["image"]["efi"], serde_json::json!(["BOOTX64.EFI", "BOOTAA64.EFI"]));
    assert_eq!(json["image"]["bios"], false);
}

/// What a message says that is needed is what is needed.
#[test]
fn too_small() {
    let dir = tempdir();
    let tiny = testdata("tiny/kernel");
    let with = |kind: &str, size: &str, sector: &str| {
        let mut command = kimage();
        command
            .arg("disk")
            .arg(&tiny)
            .args(["--kind", kind, "--size", size, "--sector-size", sector, "-o"])
            .arg(dir.path().join("disk"));
        run(&mut command)
    };
    for (kind, sector) in [("esp", "512"), ("gpt", "512"), ("esp", "4096"), ("gpt", "4096")] {
        let with = |kind: &str, size: &str| with(kind, size, sector);
        for size in ["0", "1K", "100K"] {
            let said = stderr(&with(kind, size));
            let need: u64 = said.split("needs ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
            let right = with(kind, &need.to_string());
            assert!(right.status.success(), "{kind} {size}: {said}{}", stderr(&right));
            assert_eq!(fs::metadata(dir.path().join("disk")).unwrap().len(), need);
            let less = with(kind, &(need - 4096).to_string());
            assert_eq!(less.status.code(), Some(1), "{kind} {size}");
        }
    }
}

/// Files come out by their paths, alone and all; what is no path, or leads out of the folder, does not.
#[test]
fn files_come_out() {
    let dir = tempdir();
    let files = folder(dir.path());
    for kind in KINDS {
        let disk = disk(dir.path(), kind, &["--kind", kind, "--add", files.to_str().unwrap()]);
        let verify = run_ok(kimage().arg("verify").arg(&disk));
        assert!(stdout(&verify).contains(": good"), "{kind}: {}", stdout(&verify));
        let out = run_ok(kimage().arg("extract").arg(&disk).arg("/docs/Deep er/x/LAST.TXT"));
        assert_same(kind, &out.stdout, &noise(70_000, 9));
        let out = run_ok(kimage().arg("extract").arg(&disk).arg("DOCS/deep er/X/last.txt"));
        assert_same(kind, &out.stdout, &noise(70_000, 9));
        assert!(run_ok(kimage().arg("extract").arg(&disk).arg("/docs/empty")).stdout.is_empty());
        let all = dir.path().join(format!("{kind}.all"));
        run_ok(kimage().arg("extract").arg(&disk).arg("--all").arg(&all));
        same_files(&files.join("docs"), &all.join("files/docs"), kind);
        let none = run(kimage().arg("extract").arg(&disk).arg("/nothing"));
        assert_eq!(none.status.code(), Some(1));
        assert!(stderr(&none).contains("there is no file /nothing; it has 6"), "{}", stderr(&none));
        let listed = stdout(&run_ok(kimage().arg("extract").arg(&disk)));
        assert!(listed.contains("/docs/Deep er/x/LAST.TXT") && listed.contains("vmlinux "), "{listed}");
    }
    // The name is another, which leads out.
    let disk = dir.path().join("esp");
    let mut bytes = read(&disk);
    let at = memchr::memmem::find(&bytes, b"LAST    TXT").unwrap();
    bytes[at..at + 11].copy_from_slice(b"A/../../X  ");
    let hostile = put(dir.path(), "hostile", &bytes);
    let all = dir.path().join("hostile.all");
    let output = run(kimage().arg("extract").arg(&hostile).arg("--all").arg(&all));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no path of a file inside of a folder"), "{}", stderr(&output));
    // A link in place of a folder.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
    let all = dir.path().join("linked.all");
    fs::create_dir(&all).unwrap();
    std::os::unix::fs::symlink(dir.path(), all.join("files")).unwrap();
    let output = run(kimage().arg("extract").arg(&disk).arg("--all").arg(&all));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is in the way and is not a folder"), "{}", stderr(&output));
    assert!(!dir.path().join("EFI").exists());
}

/// A CD as distributions have it: a FAT for UEFI firmware beside Rock Ridge's names, deep and long.
#[test]
fn a_cd_of_another_program() {
    let tools = [("xorriso", "xorriso"), ("mkfs.vfat", "dosfstools"), ("mcopy", "mtools")];
    let [Some(xorriso), Some(mkfs), Some(mcopy)] = tools.map(|(name, package)| tool(name, package)) else { return };
    let dir = tempdir();
    let root = folder(dir.path());
    let deep = root.join("1/2/3/4/5/6/7/8/9");
    fs::create_dir_all(&deep).unwrap();
    let long = "a name that has very many characters ".repeat(6);
    fs::write(deep.join(long.trim_end()), "deep").unwrap();
    std::os::unix::fs::symlink("docs", root.join("link")).unwrap();
    let kernel = make(dir.path(), "bzImage", "bzimage", &[&testdata("tiny/kernel")], &[]);
    let fat = dir.path().join("fat");
    fs::File::create(&fat).unwrap().set_len(1440 << 10).unwrap();
    run_ok(Command::new(mkfs).arg(&fat));
    run_ok(Command::new(mcopy).arg("-i").arg(&fat).arg(&kernel).arg("::BOOTX64.EFI"));
    fs::copy(&fat, root.join("efi.img")).unwrap();
    let cd = dir.path().join("cd");
    let mut command = Command::new(xorriso);
    command.args(["-as", "mkisofs", "-quiet", "-r", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat", "-o"]);
    run_ok(command.arg(&cd).arg(&root));
    let verify = run_ok(kimage().arg("verify").arg(&cd));
    assert!(stdout(&verify).contains(": good"), "{}", stdout(&verify));
    let path = format!("/1/2/3/4/5/6/7/8/9/{}", long.trim_end());
    assert_eq!(run_ok(kimage().arg("extract").arg(&cd).arg(path)).stdout, b"deep");
    assert_same("kernel", &run_ok(kimage().arg("extract").arg(&cd).arg("/2:BOOTX64.EFI")).stdout, &read(&kernel));
    let all = dir.path().join("all");
    run_ok(kimage().arg("extract").arg(&cd).arg("--all").arg(&all));
    same_files(&root.join("docs"), &all.join("files/docs"), "CD");
}

/// The headers of a program for UEFI on arm64.
fn arm64_efi() -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x80;
    image[0x80..0x84].copy_from_slice(b"PE\0\0");
    image[0x84..0x86].copy_from_slice(&0xaa64_u16.to_le_bytes());
    // SizeOfOptionalHeader, PE32+, Subsystem: EFI application.
    image[0x94..0x96].copy_from_slice(&0xf0_u16.to_le_bytes());
    image[0x98..0x9a].copy_from_slice(&0x20b_u16.to_le_bytes());
    image[0x98 + 68] = 10;
    image
}

/// A boot loader of the user's, and what it reads.
#[test]
fn loader_entries() {
    let Some(mtype) = tool("mtype", "mtools") else { return };
    let dir = tempdir();
    let loader = put(dir.path(), "boot.efi", &arm64_efi());
    let disk_ram = put(dir.path(), "cpio", b"07070");
    let disk = dir.path().join("disk");
    let kernel = make(dir.path(), "bzImage-6.1", "bzimage", &[&testdata("tiny/kernel")], &[]);
    let mut command = kimage();
    command.arg("disk").args([&kernel, &kernel]).args(["--kind", "esp", "--cmdline", "a b", "--loader"]).arg(loader);
    run_ok(command.arg("--initrd").arg(&disk_ram).arg("--initrd").arg(&disk_ram).arg("-o").arg(&disk));
    let file = |path: &str| run_ok(Command::new(&mtype).arg("-i").arg(&disk).arg(format!("::{path}"))).stdout;
    let text = |path: &str| String::from_utf8(file(path)).unwrap();
    assert_eq!(text("loader/loader.conf"), "default bzImage-6.1.conf\ntimeout 3\n");
    let want = "title bzImage-6.1-2\nlinux /bzImage-6.1-2\ninitrd /initrd\noptions a b\narchitecture x64\n";
    assert_eq!(text("loader/entries/bzImage-6.1-2.conf"), want);
    // One behind the other, each at a multiple of four.
    assert_eq!(text("initrd"), "07070\0\0\u{0}07070");
    assert_eq!(file("EFI/BOOT/BOOTAA64.EFI").len(), 4096);
    assert_same("kernel", &file("bzImage-6.1"), &read(&kernel));
}
