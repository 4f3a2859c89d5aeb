//! FITs beside mkimage, of this machine and of other releases: every byte of the file, with the old bytes that mkimage leaves in
//! free space and behind short hashes.

use crate::support::{
    self, Random, cache, kimage, missing, mkimage_layout, mkimage_release, read, run_ok, tempdir, tool,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Random sources, the same in every run.
struct Generator {
    random: Random,
    /// Also what mkimage 2021.01 does not know, or 2024.01 to 2026.04 fail at.
    new: bool,
}

impl Generator {
    /// An image, whose data goes into a file of `dir`.
    fn image(&mut self, dir: &Path, number: usize) -> String {
        let len = [1, 60, 700, 5000, 70_000][self.random.below(5)] + self.random.below(97);
        // No zeros: what is left over is seen.
        let bytes: Vec<u8> = (0..len).map(|_| 1 + self.random.below(255) as u8).collect();
        fs::write(dir.join(format!("f{number}")), bytes).unwrap();
        let kind = self.random.one(&["kernel", "flat_dt", "flat_dt", "ramdisk", "firmware"]);
        let mut properties = vec![
            format!("data = /incbin/(\"f{number}\");"),
            format!("description = \"{}\";", "d".repeat(self.random.below(9))),
            format!(
                "type = \"{kind}\"; arch = \"arm\"; os = \"linux\"; compression = \"none\"; load = <0x40008000>; \
                 entry = <0x40008000>;"
            ),
        ];
        if self.random.below(6) == 0 {
            let odd = ["data-size = <1>;", "data-offset = [01];", "data-size;", "x-data-size;"];
            properties.push(self.random.one(&odd).to_owned());
        }
        let first = self.random.below(properties.len());
        properties.rotate_left(first);
        let mut image = format!("k-{number} {{ {} ", properties.concat());
        for hash in 0..self.random.below(4) {
            image.push_str(&self.hash(hash));
        }
        image + "};\n"
    }

    /// A hash, with a value before it is filled in, rarely, which may be longer or shorter.
    fn hash(&mut self, number: usize) -> String {
        let algorithms = ["crc32", "sha1", "sha256", "md5", "sha512", "crc16-ccitt", "crc16-ccitt"];
        let algo = self.random.one(&algorithms[..if self.new { 7 } else { 4 }]);
        let before = match self.random.below(8) {
            0 => format!("value = [{}];", "ab".repeat(self.random.below(150))),
            1 => "value;".to_owned(),
            2 => "x = \"1\";".to_owned(),
            3 => "y;".to_owned(),
            _ => String::new(),
        };
        let after = self.random.one(&["", "", "z = <1>;", "zz = \"q\";"]);
        format!("hash-{number} {{ {before} algo = \"{algo}\"; {after} }}; ")
    }

    fn source(&mut self, dir: &Path) -> String {
        let count = 1 + self.random.below(5);
        let images: String = (0..count).map(|number| self.image(dir, number)).collect();
        let more = self.random.one(&["", "data-offset;", "x = \"y\";", "timestamp = <5>;", "timestamp = [01];"]);
        let reserved = self.random.one(&["", "", "/memreserve/ 0x1000 0x2000;"]);
        // mkimage makes room for it, and leaves it as it is.
        let odd = self.random.one(&["", "", "", "hash-9 { algo = \"crc32\"; };"]);
        let description = "x".repeat(self.random.below(30));
        format!(
            "/dts-v1/;\n{reserved}/ {{ description = \"{description}\"; #address-cells = <1>; {more} images {{\n{images}}};\n\
             configurations {{ default = \"c\"; c {{ description = \"c\"; kernel = \"k-0\"; {odd} }}; }}; }};\n"
        )
    }

    fn options(&mut self) -> &'static [&'static str] {
        match self.random.below(12) {
            0 | 1 => &[],
            2 => &["-E", "-B", "10"],
            3 => &["-E", "-B", "200"],
            4 => &["-E", "-B", "1000"],
            5 => &["-E", "-B", "1"],
            6 => &["-E", "-p", "20000"],
            7 => &["-E", "-B", "8000", "-p", "40000"],
            _ => &["-E"],
        }
    }
}

/// The options and sources of which kimage's file is another than mkimage's, and how many of mkimage's have old bytes
/// at the end of their tree.
fn differences(mkimage: &Path, layout: &str, rounds: usize) -> (Vec<String>, usize) {
    let dir = tempdir();
    let mut generator = Generator { random: Random(7), new: layout > "2023" };
    let (mut wrong, mut left_over) = (Vec::new(), 0);
    for number in 0..rounds {
        let source = generator.source(dir.path());
        fs::write(dir.path().join("a.its"), &source).unwrap();
        let options = generator.options();
        for (mut command, out) in [(Command::new(mkimage), "theirs.itb"), (kimage(), "ours.itb")] {
            command.env("SOURCE_DATE_EPOCH", "1700000000").current_dir(dir.path());
            if out == "theirs.itb" {
                command.args(options).args(["-f", "a.its", out]);
            } else {
                command.args(["fit", "-q", "--force", "--layout", layout]).args(options).args(["a.its", "-o", out]);
            }
            run_ok(&mut command);
        }
        let theirs = read(&dir.path().join("theirs.itb"));
        let word = |at: usize| u32::from_be_bytes(theirs[at..at + 4].try_into().unwrap()) as usize;
        let (end, total) = (word(12) + word(32), word(4));
        left_over += usize::from(!options.is_empty() && theirs[end..total].iter().any(|byte| *byte != 0));
        if read(&dir.path().join("ours.itb")) != theirs {
            wrong.push(format!("{number} {options:?} {end:#x} {source}"));
        }
    }
    (wrong, left_over)
}

#[test]
fn every_byte_is_mkimages() {
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let Some(mkimage) = tool("mkimage", "u-boot-tools") else { return };
    let release = mkimage_layout(&mkimage);
    let (wrong, left_over) = differences(&mkimage, &release, 160);
    assert!(wrong.is_empty(), "{} of 160 differ, one of them: {}", wrong.len(), wrong[0]);
    let wanted = if *release < *"2024" { 60..120 } else { 0..1 };
    assert!(wanted.contains(&left_over), "{left_over} of 160 files have old bytes");
}

/// The releases that Debian has in other suites. One that is newer than the last layout is held to that one.
#[test]
fn every_byte_is_that_of_other_releases() {
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    for suite in ["bullseye", "trixie", "newest"] {
        let mkimage: PathBuf = cache().join("mkimage").join(suite).join("mkimage");
        if !mkimage.is_file() {
            missing(&format!("no {} (sh tests/fetch-mkimage.sh)", mkimage.display()));
            continue;
        }
        let (release, layout) = (mkimage_release(&mkimage), mkimage_layout(&mkimage));
        let is_known = release == layout;
        let (wrong, _) = differences(&mkimage, &layout, 100);
        if is_known {
            assert!(wrong.is_empty(), "{release}: {} of 100 differ, one of them: {}", wrong.len(), wrong[0]);
        } else if !wrong.is_empty() {
            missing(&format!("mkimage {release} has a layout that kimage does not know (src/format/fit/layout.rs)"));
        }
    }
}

/// What differs between releases, by arithmetic: room for hashes, and the alignment of device trees.
#[test]
fn what_each_release_does() {
    let dir = tempdir();
    let fit = |layout: &[&str], options: &[&str]| {
        let out = dir.path().join("a.itb");
        let mut command = kimage();
        command.args(["fit", "-q", "--force"]).args(layout).args(options).arg("a.its").current_dir(dir.path());
        run_ok(command.arg("-o").arg(&out));
        read(&out)
    };
    let image = |name: &str, kind: &str, bytes: usize| {
        let data = "01".repeat(bytes);
        format!(
            "{name} {{ type = \"{kind}\"; data = [{data}]; hash-1 {{ algo = \"crc32\"; }}; hash-2 {{ algo = \"sha256\"; }}; }};"
        )
    };
    let images =
        [image("k", "kernel", 5), image("a", "flat_dt", 12), image("b", "flat_dt", 5), image("r", "ramdisk", 3)];
    let source = format!("/dts-v1/;\n/ {{ images {{ {} }}; configurations {{ }}; }};\n", images.concat());
    fs::write(dir.path().join("a.its"), source).unwrap();
    let len = |blob: &[u8]| u32::from_be_bytes(blob[4..8].try_into().unwrap()) as usize;
    let old = fit(&[], &[]);
    // 8 hashes: 1024 bytes at once, which 2025.10 reckons and the others come to.
    assert_eq!(fit(&["--layout", "2023.01"], &[]), old);
    assert_eq!(fit(&["--layout", "2025.10"], &[]), old);
    let text = fs::read_to_string(dir.path().join("a.its")).unwrap();
    fs::write(dir.path().join("a.its"), text.replace("hash-2", "other")).unwrap();
    let (old, new) = (fit(&["--layout", "2025.07"], &[]), fit(&["--layout", "2025.10"], &[]));
    assert_eq!(len(&old) - len(&new), 1024 - 4 * 128);
    assert_eq!(fit(&["--layout", "2026.01"], &[]), new);
    // 5 bytes, a tree of 12, a tree of 5, 3 bytes: offsets, and where the last ends.
    for (layout, wanted, end) in
        [("2026.01", [0, 8, 20, 28], 32), ("2026.04", [0, 8, 24, 32], 36), ("2026", [0, 8, 24, 32], 36)]
    {
        let blob = fit(&["--layout", layout], &["-E"]);
        let tree = kimage::internals::fdt::Dtb::parse_at(&blob, 0).unwrap().tree().unwrap();
        let images = tree.find("/images").unwrap().children();
        let offsets = images.map(|image| image.property("data-offset").unwrap().u32().unwrap());
        assert_eq!(offsets.collect::<Vec<_>>(), wanted, "{layout}");
        assert_eq!(blob.len() - len(&blob), end, "{layout}");
    }
    let mut command = kimage();
    command.args(["fit", "a.its", "--layout", "2027.01"]).current_dir(dir.path());
    let output = support::run(&mut command);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a release of U-Boot from 2021.01 to 2026.10"));
}

/// Building a FIT of 20,000 images walks the tree a few times, not once for each: minutes became seconds, unoptimised.
#[test]
fn a_fit_of_twenty_thousand_images_is_built() {
    let dir = support::tempdir();
    let node = |index: usize| {
        format!(
            "k{index} {{ description = \"k\"; data = [01 02 03 04]; type = \"firmware\"; arch = \"arm\"; os = \"u-boot\"; \
             compression = \"none\"; load = <0>; entry = <0>; hash-1 {{ algo = \"crc32\"; }}; }};\n"
        )
    };
    let images: String = (0..20_000).map(node).collect();
    let source = dir.path().join("a.its");
    let text = format!(
        "/dts-v1/;\n/ {{ description = \"x\"; images {{ {images} }}; configurations {{ default = \"c\"; c {{ \
         firmware = \"k0\"; }}; }}; }};\n"
    );
    std::fs::write(&source, text).unwrap();
    for options in [&[][..], &["-E"]] {
        let started = std::time::Instant::now();
        let out = dir.path().join("a.itb");
        support::run_ok(support::kimage().args(["fit", "-q"]).args(options).arg(&source).arg("-o").arg(&out));
        assert!(started.elapsed().as_secs() < 60, "{options:?}: {:?}", started.elapsed());
        assert!(std::fs::metadata(&out).unwrap().len() > 4_000_000, "{options:?}");
    }
}
