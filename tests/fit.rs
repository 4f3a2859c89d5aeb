//! FIT: mkimage and dtc as oracles.

mod support;

use kimage::format::fit::{Configuration, Fit, Placement};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{run_ok, tempdir, tool};

const EPOCH: &str = "1700000000";

/// Deterministic bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Every hash, two device trees, a ramdisk; data of odd lengths.
const SOURCE: &str = r#"/dts-v1/;
/ {
	description = "a FIT";
	#address-cells = <1>;
	images {
		kernel-1 {
			description = "kernel";
			data = /incbin/("kernel");
			type = "kernel";
			arch = "arm";
			os = "linux";
			compression = "none";
			load = <0x40008000>;
			entry = <0x40008000>;
			hash-1 { algo = "sha256"; };
			hash-2 { algo = "crc32"; };
		};
		fdt-1 {
			description = "tree";
			data = /incbin/("one.dtb");
			type = "flat_dt";
			arch = "arm";
			compression = "none";
			hash-1 { algo = "sha1"; };
			hash-2 { algo = "md5"; };
		};
		fdt-2 {
			description = "other tree";
			data = /incbin/("two.dtb");
			type = "flat_dt";
			arch = "arm";
			compression = "none";
			hash-1 { algo = "sha512"; };
			hash-2 { algo = "sha384"; };
			hash-3 { algo = "crc16-ccitt"; };
		};
	};
	configurations {
		default = "conf-2";
		conf-1 { description = "one"; kernel = "kernel-1"; fdt = "fdt-1"; compatible = "kimage,one"; };
		conf-2 { description = "two"; kernel = "kernel-1"; fdt = "fdt-2"; };
	};
};
"#;

/// A folder with the source and what it includes.
fn folder() -> tempfile::TempDir {
    let dir = tempdir();
    fs::write(dir.path().join("fit.its"), SOURCE).unwrap();
    for (name, len) in [("kernel", 40_001), ("one.dtb", 1234), ("two.dtb", 4097)] {
        fs::write(dir.path().join(name), noise(len)).unwrap();
    }
    dir
}

fn mkimage() -> Option<PathBuf> {
    tool("dtc", "device-tree-compiler")?;
    tool("mkimage", "u-boot-tools")
}

fn by_mkimage(mkimage: &Path, dir: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new(mkimage);
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).args(options).args(["-f", "fit.its", "theirs.itb"]);
    run_ok(&mut command);
    fs::read(dir.join("theirs.itb")).unwrap()
}

/// The ways to place data that mkimage has.
const PLACEMENTS: &[&[&str]] =
    &[&[], &["-E"], &["-E", "-B", "200"], &["-E", "-p", "2000"], &["-E", "-p", "2000", "-B", "40"]];

#[test]
fn reads_what_mkimage_makes() {
    let Some(mkimage) = mkimage() else { return };
    let dir = folder();
    for options in PLACEMENTS {
        let bytes = by_mkimage(&mkimage, dir.path(), options);
        let fit = Fit::parse(&bytes).unwrap();
        assert_eq!(fit.check(), [], "{options:?}");
        assert_eq!((fit.description(), fit.timestamp()), (Some("a FIT"), Some(1_700_000_000)));
        assert_eq!(fit.default(), Some("conf-2"));
        let names: Vec<&str> = fit.images().map(|image| image.name()).collect();
        assert_eq!(names, ["kernel-1", "fdt-1", "fdt-2"]);
        for (image, len) in fit.images().zip([40_001, 1234, 4097]) {
            assert_eq!(image.data(), Some(&noise(len)[..]), "{options:?} {}", image.name());
            let external = !matches!(image.placement(), Ok(Some(Placement::Embedded(_))));
            assert_eq!(external, options.contains(&"-E"), "{options:?}");
        }
        let kernel = fit.image("kernel-1").unwrap();
        assert_eq!(
            (kernel.load(), kernel.entry(), kernel.text("os")),
            (Some(0x4000_8000), Some(0x4000_8000), Some("linux"))
        );
        let configurations: Vec<Configuration<'_, '_>> = fit.configurations().collect();
        assert_eq!(configurations[0].compatible(), ["kimage,one"]);
        assert_eq!(configurations[1].images("fdt"), ["fdt-2"]);

        let regions = fit.regions().unwrap();
        let mut at = 0;
        for region in &regions {
            assert_eq!(region.at.start, at, "{regions:#?}");
            at = region.at.end;
        }
        assert_eq!(at, bytes.len() as u64, "{regions:#?}");
        for name in names {
            assert_eq!(
                regions.iter().filter(|region| region.name == format!("images/{name}")).count(),
                1,
                "{regions:#?}"
            );
        }
    }
}

/// One changed byte of any image is a finding that names it; a file cut off says so.
#[test]
fn damage_is_found() {
    let Some(mkimage) = mkimage() else { return };
    let dir = folder();
    for options in PLACEMENTS {
        let bytes = by_mkimage(&mkimage, dir.path(), options);
        let fit = Fit::parse(&bytes).unwrap();
        for image in fit.images() {
            let at = image.placement().unwrap().unwrap().range().clone();
            for at in [at.start, at.end - 1] {
                let mut bad = bytes.clone();
                bad[at as usize] ^= 1;
                let findings = Fit::parse(&bad).unwrap().check();
                assert_eq!(findings.len(), image.hashes().count(), "{findings:#?}");
                assert!(findings.iter().all(|it| it.rule == "fit.hash" && it.message.contains(image.name())));
            }
        }
        for hash in fit.images().flat_map(|image| image.hashes()) {
            let mut bad = bytes.clone();
            bad[hash.at.0 as usize] ^= 1;
            let findings = Fit::parse(&bad).unwrap().check();
            assert_eq!(findings.len(), 1, "{findings:#?}");
            assert_eq!(findings[0].offset, Some(hash.at.0));
        }
        if options.contains(&"-E") {
            // What mkimage pads behind the last image belongs to none.
            let end = fit.images().map(|image| image.placement().unwrap().unwrap().range().end).max().unwrap();
            let cut = &bytes[..end as usize - 1];
            let findings = Fit::parse(cut).unwrap().check();
            assert!(findings.iter().any(|it| it.rule == "fit.data" && it.help.contains("cut off")), "{findings:#?}");
            assert!(Fit::parse(cut).unwrap().regions().is_ok());
        }
    }
}

#[test]
fn what_u_boot_would_refuse_is_found() {
    use kimage::format::fdt::{Flat, Node, Property, Strings};
    let hash = Node::new("hash-1").with(Property::string("algo", "sha3"));
    let image = |name| Node::new(name).with(Property::bytes("data", &b"data"[..]));
    let root = Node::new("")
        .with_child(
            Node::new("images")
                .with_child(image("kernel@1").with_child(hash))
                .with_child(image("a").with_child(Node::new("hash-1").with(Property::string("algo", "md5"))))
                .with_child(Node::new("empty"))
                .with_child(image("b").with_child(Node::new("hash")))
                .with_child(image("c").with_child(Node::new("hash").with(Property::empty("uboot-ignore")))),
        )
        .with_child(
            Node::new("configurations")
                .with(Property::string("default", "none"))
                .with_child(Node::new("conf-1").with(Property::string("kernel", "nothing")))
                .with_child(Node::new("conf-2").with(Property::strings("loadables", ["a", "/images/b"]))),
        );
    let mut bytes = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut bytes).unwrap();
    let findings = Fit::parse(&bytes).unwrap().check();
    let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    let want = [
        "fit.description",
        "fit.timestamp",
        "fit.unit-address",
        "fit.hash",
        "fit.hash",
        "fit.data",
        "fit.hash",
        "fit.default",
        "fit.configuration",
    ];
    assert_eq!(rules, want, "{findings:#?}");
    assert!(findings[8].message.contains("conf-1 wants image nothing"));
}
