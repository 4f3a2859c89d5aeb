//! mkimage (u-boot-tools) as oracle: for the same options and data, the same bytes; and `mkimage -l` reads what we write.

use crate::support::{self, assert_same, kimage, noise, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::assemble::{ARCH, COMPRESSION, Name, OS, TYPE};
use kimage::internals::UImage;
use kimage::internals::uimage::is_legacy_kind;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn mkimage() -> Option<PathBuf> {
    tool("mkimage", "u-boot-tools")
}

/// Runs both with the same options and compares the files.
#[track_caller]
fn same(dir: &Path, mkimage: &Path, epoch: &str, options: &[&str], data: &[&Path], extra: &[&str]) -> Vec<u8> {
    let (theirs, ours) = (dir.join("theirs"), dir.join("ours"));
    let joined = data.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(":");
    let mut command = Command::new(mkimage);
    command.env("SOURCE_DATE_EPOCH", epoch).args(options).args(["-d", &joined]).arg(&theirs);
    run_ok(&mut command);
    run_ok(
        kimage()
            .env("SOURCE_DATE_EPOCH", epoch)
            .arg("uimage")
            .args(options)
            .args(extra)
            .args(data)
            .arg("-o")
            .arg(&ours),
    );
    let got = fs::read(&ours).unwrap();
    assert_same(&format!("{options:?} {data:?}"), &got, &fs::read(&theirs).unwrap());
    got
}

/// Names that this mkimage lists for an option.
fn listed(mkimage: &Path, option: &str) -> Vec<(String, String)> {
    let output = run(Command::new(mkimage).args([option, "list"]));
    let text = stdout(&output) + &stderr(&output);
    text.lines()
        .skip_while(|line| !line.starts_with("Invalid"))
        .skip(1)
        .map_while(|line| line.strip_prefix('\t'))
        .filter_map(|line| line.split_once(' '))
        .map(|(short, long)| (short.to_owned(), long.trim().to_owned()))
        .collect()
}

#[test]
fn every_name_of_mkimage_is_ours() {
    let Some(mkimage) = mkimage() else { return };
    for (option, names) in [("-A", ARCH), ("-O", OS), ("-T", TYPE), ("-C", COMPRESSION)] {
        let theirs = listed(&mkimage, option);
        assert!(theirs.len() >= 7, "{option}: {theirs:?}");
        for (short, long) in theirs {
            let id = names.id(&short).unwrap_or_else(|| panic!("{option} {short} is not ours"));
            assert_eq!(names.long(id), Some(long.as_str()), "{short}");
        }
    }
}

/// Every name that both know gives the same number in the header, in any case of letters.
#[test]
fn every_name_gives_the_same_number() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    fs::write(&data, noise(100, 1)).unwrap();
    let known = |option: &str, name: &&Name| {
        let theirs = listed(&mkimage, option);
        // mkimage lists each number once: its aliases are not in the list.
        name.short == "ppc" || theirs.iter().any(|(short, _)| short == name.short)
    };
    let case = |name: &Name| if name.id % 2 == 0 { name.short.to_owned() } else { name.short.to_uppercase() };
    let kinds = TYPE.all().filter(|name| is_legacy_kind(name.id) && name.short != "flat_dt");
    let all = ARCH
        .all()
        .filter(|name| known("-A", name))
        .map(|name| ["-A", &case(name), "-O", "linux", "-T", "kernel", "-C", "none"].map(str::to_owned))
        .chain(
            OS.all()
                .filter(|name| known("-O", name))
                .map(|name| ["-A", "arm", "-O", &case(name), "-T", "ramdisk", "-C", "none"].map(str::to_owned)),
        )
        .chain(
            COMPRESSION
                .all()
                .filter(|name| known("-C", name))
                .map(|name| ["-A", "arm", "-O", "linux", "-T", "kernel", "-C", &case(name)].map(str::to_owned)),
        )
        .chain(
            kinds
                .filter(|name| known("-T", name))
                .map(|name| ["-A", "arm", "-O", "linux", "-T", &case(name), "-C", "none"].map(str::to_owned)),
        );
    let mut count = 0;
    for options in all {
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        options.extend(["-n", "name"]);
        // With this OS mkimage reads the addresses from the data and drops those given; with us an option always wins.
        if options[3].to_lowercase() != "tee" {
            options.extend(["-a", "100", "-e", "120"]);
        }
        // The label lies about noise; mkimage does not look.
        same(dir.path(), &mkimage, "1700000000", &options, &[&data], &["--force"]);
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn sizes_addresses_names_and_times() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    let base = ["-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none"];
    for (index, len) in [1, 2, 3, 4, 63, 64, 65, 4095, 4096, 1_000_003].into_iter().enumerate() {
        fs::write(&data, noise(len, 1)).unwrap();
        let epoch = ["0", "1", "1700000000", "4294967295"][index % 4];
        let names = ["", "x", "with spaces", "exactly thirty-two bytes are here"];
        let name = &names[index % 4][..names[index % 4].len().min(32)];
        for addresses in [
            &["-a", "0x8000", "-e", "0x8000"][..],
            &["-a", "80008000"],
            &["-a", "0X80008000", "-e", "80008000"],
            &["-a", "ffffffff80100000", "-e", "0xffffffff80100000"],
            &["-a", "FfFfFfFf", "-e", "ffffffff"],
            &["-e", "0"],
            &[],
        ] {
            let options = [&base[..], &["-n", name], addresses].concat();
            same(dir.path(), &mkimage, epoch, &options, &[&data], &[]);
        }
    }
}

#[test]
fn a_hundred_megabytes() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    fs::write(&data, noise(1 << 20, 1).repeat(100)).unwrap();
    let options = ["-A", "arm64", "-O", "linux", "-T", "kernel", "-C", "none", "-a", "80000", "-n", "big"];
    same(dir.path(), &mkimage, "1", &options, &[&data], &["--quiet"]);
}

#[test]
fn execute_in_place() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    fs::write(&data, [vec![0xff; 64], noise(1000, 1)].concat()).unwrap();
    let base = ["-x", "-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none", "-n", "xip", "-a", "8000"];
    same(dir.path(), &mkimage, "1", &base, &[&data], &[]);
    same(dir.path(), &mkimage, "1", &[&base[..], &["-e", "8040"]].concat(), &[&data], &[]);
    fs::write(&data, noise(1000, 1)).unwrap();
    let output = run(kimage().arg("uimage").args(base).arg(&data).arg("-o").arg(dir.path().join("no")));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not all 0xff"), "{}", stderr(&output));
}

#[test]
fn multi_and_script() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let files: Vec<PathBuf> = [1_usize, 4, 7, 1000, 4096]
        .iter()
        .map(|len| {
            let path = dir.path().join(format!("part{len}"));
            fs::write(&path, noise(*len, 1)).unwrap();
            path
        })
        .collect();
    let base = ["-A", "arm", "-O", "linux", "-C", "none", "-n", "parts", "-a", "8000", "-e", "8000"];
    for count in 1..=files.len() {
        let data: Vec<&Path> = files[..count].iter().map(PathBuf::as_path).collect();
        same(dir.path(), &mkimage, "7", &[&base[..], &["-T", "multi"]].concat(), &data, &[]);
    }
    for file in &files {
        same(dir.path(), &mkimage, "7", &[&base[..], &["-T", "script"]].concat(), &[file], &[]);
    }
    // A colon in a file name is mkimage's separator; for us it is a letter like any other.
    let colon = dir.path().join("a:b");
    fs::write(&colon, noise(9, 1)).unwrap();
    let ours = dir.path().join("ours");
    run_ok(kimage().arg("uimage").args(base).args(["-T", "multi"]).arg(&colon).arg(&files[0]).arg("-o").arg(&ours));
    let image = fs::read(&ours).unwrap();
    let parsed = UImage::parse(&image).unwrap();
    assert_eq!(parsed.files().map(<[u8]>::to_vec).collect::<Vec<_>>(), [noise(9, 1), noise(1, 1)]);
}

/// The addresses of an OP-TEE image come from its own header, unless they are given.
#[test]
fn optee_header() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("tee.bin");
    let mut tee = [b"OPTE\x02\0\0\0".to_vec(), noise(500, 1)].concat();
    tee[16..20].copy_from_slice(&0x9c10_0000_u32.to_le_bytes());
    fs::write(&data, tee).unwrap();
    let options = ["-A", "arm", "-O", "tee", "-T", "kernel", "-C", "none", "-n", "tee"];
    let image = same(dir.path(), &mkimage, "1", &options, &[&data], &[]);
    assert_eq!(UImage::parse(&image).unwrap().header().entry, 0x9c10_0000);
    let ours = dir.path().join("given");
    run_ok(kimage().arg("uimage").args(options).args(["-a", "8000"]).arg(&data).arg("-o").arg(&ours));
    let image = fs::read(&ours).unwrap();
    let header = UImage::parse(&image).unwrap().header();
    assert_eq!((header.load, header.entry), (0x8000, 0x8000));
}

/// The image vector table that mkimage puts behind i.MX firmware.
#[test]
fn firmware_with_ivt() {
    let Some(mkimage) = mkimage() else { return };
    let dir = tempdir();
    let data = dir.path().join("data");
    for len in [1, 4031, 4032, 4033, 100_000] {
        fs::write(&data, noise(len, 1)).unwrap();
        let options = [
            "-A",
            "arm",
            "-O",
            "linux",
            "-T",
            "firmware_ivt",
            "-C",
            "none",
            "-n",
            "i",
            "-a",
            "11223344",
            "-e",
            "11223380",
        ];
        let image = same(dir.path(), &mkimage, "1", &options, &[&data], &[]);
        assert!(support::wrong_checksums(&image).is_empty());
    }
}

/// Real kernels, with every address given: the data's own facts must not leak into the header.
#[test]
fn corpus_images_with_everything_given() {
    let Some(mkimage) = mkimage() else { return };
    for tree in support::corpus() {
        let dir = tempdir();
        let (arch, files) = match tree.is_arm() {
            true => ("arm", ["arch/arm/boot/zImage", "arch/arm/boot/Image", "vmlinux"]),
            false => {
                ("x86", ["arch/x86/boot/bzImage", "arch/x86/boot/vmlinux.bin", "arch/x86/boot/compressed/vmlinux"])
            }
        };
        for file in files {
            let path = tree.path(file);
            let options =
                ["-A", arch, "-O", "linux", "-T", "kernel", "-C", "none", "-a", "8000", "-e", "8000", "-n", "kernel"];
            same(dir.path(), &mkimage, "1", &options, &[&path], &[]);
        }
    }
}

/// What is derived from an ARM zImage, and mkimage's own words for it.
#[test]
fn derived_fields_as_mkimage_reads_them() {
    let Some(mkimage) = mkimage() else { return };
    let Some(tree) = support::tree("arm-gzip") else { return };
    let dir = tempdir();
    let output = run_ok(kimage().current_dir(dir.path()).arg("uimage").arg(tree.path("arch/arm/boot/zImage")));
    for line in ["arch arm (from", "type kernel_noload (from", "name Linux-6.1.192 (from"] {
        assert!(stderr(&output).contains(line), "{}", stderr(&output));
    }
    let listing = stdout(&run_ok(Command::new(&mkimage).env("TZ", "UTC").arg("-l").arg(dir.path().join("uImage"))));
    for line in [
        "Image Name:   Linux-6.1.192",
        "Created:      Thu Jan  1 00:00:00 1970",
        "Image Type:   ARM Linux Kernel Image (no loading done) (uncompressed)",
        &format!("Data Size:    {} Bytes", tree.read("arch/arm/boot/zImage").len()),
        "Load Address: 00000000",
        "Entry Point:  00000000",
    ] {
        assert!(listing.contains(line), "{listing}");
    }
}

#[test]
fn appended_device_trees_are_in_the_checksum() {
    let Some(mkimage) = mkimage() else { return };
    let Some(tree) = support::tree("arm-gzip") else { return };
    let dir = tempdir();
    let zimage = tree.path("arch/arm/boot/zImage");
    let dtb = tree.path("arch/arm/boot/dts/vexpress-v2p-ca9.dtb");
    let joined = dir.path().join("joined");
    fs::write(&joined, [support::read(&zimage), support::read(&dtb)].concat()).unwrap();
    let options = ["-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none", "-n", "dtb", "-a", "80008000"];
    let theirs = same(dir.path(), &mkimage, "1", &options, &[&joined], &[]);
    let ours = dir.path().join("with-dtb");
    run_ok(
        kimage()
            .env("SOURCE_DATE_EPOCH", "1")
            .arg("uimage")
            .args(options)
            .arg(&zimage)
            .arg("--append-dtb")
            .arg(&dtb)
            .arg("-o")
            .arg(&ours),
    );
    assert_same("appended", &fs::read(&ours).unwrap(), &theirs);
}
