//! External data: the whole file is mkimage's, with the old bytes that it leaves between the tree and the aligned end.

use crate::support::{self, assert_same, kimage, read, run_ok, tempdir, tool};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

#[test]
fn every_byte_is_mkimages() {
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let Some(mkimage) = tool("mkimage", "u-boot-tools") else { return };
    let dir = tempdir();
    let mut state = 7_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let mut left_over = 0;
    for number in 0..120 {
        let mut images = String::new();
        let count = 1 + below(5);
        for image in 0..count {
            let len = [1, 60, 700, 5000, 70_000][below(5)] + below(97);
            // No zeros: what is left over is seen.
            let bytes: Vec<u8> = (0..len).map(|_| 1 + below(255) as u8).collect();
            fs::write(dir.path().join(format!("f{image}")), bytes).unwrap();
            let mut properties = vec![
                format!("data = /incbin/(\"f{image}\");"),
                format!("description = \"{}\";", "d".repeat(below(9))),
                "type = \"kernel\"; arch = \"arm\"; os = \"linux\"; compression = \"none\"; load = <0x40008000>; entry = <0x40008000>;"
                    .to_owned(),
            ];
            if below(6) == 0 {
                properties.push(
                    ["data-size = <1>;", "data-offset = [01];", "data-size;", "x-data-size;"][below(4)].to_owned(),
                );
            }
            let first = below(properties.len());
            properties.rotate_left(first);
            let _ = write!(images, "k-{image} {{ {} ", properties.concat());
            for hash in 0..below(3) {
                let algo = ["crc32", "sha1", "sha256", "md5"][below(4)];
                let _ = write!(images, "hash-{hash} {{ algo = \"{algo}\"; }}; ");
            }
            images.push_str("};\n");
        }
        let more = ["", "data-offset;", "x = \"y\";"][below(3)];
        let source = format!(
            "/dts-v1/;\n/ {{ description = \"{}\"; #address-cells = <1>; {more} images {{\n{images}}};\n\
             configurations {{ default = \"c\"; c {{ description = \"c\"; kernel = \"k-0\"; }}; }}; }};\n",
            "x".repeat(below(30))
        );
        fs::write(dir.path().join("a.its"), &source).unwrap();
        let options: &[&str] = match below(6) {
            0 => &["-E", "-B", "10"],
            1 => &["-E", "-B", "200"],
            2 => &["-E", "-B", "1000"],
            3 => &["-E", "-p", "20000"],
            4 => &["-E", "-B", "8000", "-p", "40000"],
            _ => &["-E"],
        };
        for (mut command, out) in [(Command::new(&mkimage), "theirs.itb"), (kimage(), "ours.itb")] {
            command.env("SOURCE_DATE_EPOCH", "1700000000").current_dir(dir.path());
            if out == "theirs.itb" {
                command.args(options).args(["-f", "a.its", out]);
            } else {
                command.args(["fit", "-q", "--force"]).args(options).args(["a.its", "-o", out]);
            }
            run_ok(&mut command);
        }
        let theirs = read(&dir.path().join("theirs.itb"));
        let word = |at: usize| u32::from_be_bytes(theirs[at..at + 4].try_into().unwrap()) as usize;
        let (end, total) = (word(12) + word(32), word(4));
        left_over += usize::from(theirs[end..total].iter().any(|byte| *byte != 0));
        assert_same(&format!("{number} {options:?} {end:#x} {source}"), &read(&dir.path().join("ours.itb")), &theirs);
    }
    assert!(left_over > 60, "{left_over} of 120 files have old bytes");
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
