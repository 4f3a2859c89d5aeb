//! FIT: mkimage and dtc as oracles.

use crate::support::{self, kimage, noise, run_ok, tempdir, tool};
use kimage::internals::check_fit;
use kimage::internals::{Configuration, Fit, Placement};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EPOCH: &str = "1700000000";

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
    fs::write(dir.path().join("kernel"), noise(40_001, 1)).unwrap();
    fs::write(dir.path().join("one.dtb"), tree(1234)).unwrap();
    fs::write(dir.path().join("two.dtb"), tree(4097)).unwrap();
    dir
}

/// A device tree of so many bytes.
fn tree(len: usize) -> Vec<u8> {
    use kimage::internals::fdt::{Flat, Node, Property, Strings};
    let root = Node::new("").with(Property::bytes("noise", noise(len / 2, 1)));
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(len as u64).unwrap().emit(&mut out).unwrap();
    out
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
    &[&[], &["-E"], &["-E", "-B", "200"], &["-E", "-p", "0"], &["-E", "-p", "2000"], &["-E", "-p", "2000", "-B", "40"]];

#[test]
fn reads_what_mkimage_makes() {
    let Some(mkimage) = mkimage() else { return };
    let dir = folder();
    for options in PLACEMENTS {
        let bytes = by_mkimage(&mkimage, dir.path(), options);
        let fit = Fit::parse(&bytes).unwrap();
        assert_eq!(check_fit(&fit), [], "{options:?}");
        assert_eq!((fit.description(), fit.timestamp()), (Some("a FIT"), Some(1_700_000_000)));
        assert_eq!(fit.default(), Some("conf-2"));
        let names: Vec<&str> = fit.images().map(|image| image.name()).collect();
        assert_eq!(names, ["kernel-1", "fdt-1", "fdt-2"]);
        for (image, data) in fit.images().zip([noise(40_001, 1), tree(1234), tree(4097)]) {
            assert_eq!(image.data(), Some(&data[..]), "{options:?} {}", image.name());
            let external = !matches!(image.placement(), Ok(Some(Placement::Embedded(_))));
            assert_eq!(external, options.contains(&"-E"), "{options:?}");
        }
        let kernel = fit.images().find(|image| image.name() == "kernel-1").unwrap();
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
                let mut findings = check_fit(&Fit::parse(&bad).unwrap());
                // Without its magic number a device tree is none.
                findings.retain(|it| it.rule != "fit.fdt");
                assert_eq!(findings.len(), image.hashes().count(), "{findings:#?}");
                assert!(findings.iter().all(|it| it.rule == "fit.hash" && it.message.contains(image.name())));
            }
        }
        for hash in fit.images().flat_map(|image| image.hashes()) {
            let mut bad = bytes.clone();
            bad[hash.at.0 as usize] ^= 1;
            let findings = check_fit(&Fit::parse(&bad).unwrap());
            assert_eq!(findings.len(), 1, "{findings:#?}");
            assert_eq!(findings[0].offset, Some(hash.at.0));
        }
        if options.contains(&"-E") {
            // What mkimage pads behind the last image belongs to none.
            let end = fit.images().map(|image| image.placement().unwrap().unwrap().range().end).max().unwrap();
            let cut = &bytes[..end as usize - 1];
            let findings = check_fit(&Fit::parse(cut).unwrap());
            assert!(findings.iter().any(|it| it.rule == "fit.data" && it.help.contains("cut off")), "{findings:#?}");
            assert!(Fit::parse(cut).unwrap().regions().is_ok());
        }
    }
}

#[test]
fn what_u_boot_would_refuse_is_found() {
    use kimage::internals::fdt::{Flat, Node, Property, Strings};
    let hash = Node::new("hash-1").with(Property::string("algo", "sha3"));
    let image = |name| Node::new(name).with(Property::bytes("data", &b"data"[..]));
    let root = Node::new("")
        .with_child(
            Node::new("images")
                .with_child(image("kernel@1").with_child(hash))
                .with_child(image("a").with_child(Node::new("hash-1").with(Property::string("algo", "md5"))))
                .with_child(Node::new("empty"))
                .with_child(image("b").with_child(Node::new("hash")))
                .with_child(image("c").with_child(Node::new("hash").with(Property::bytes("uboot-ignore", Vec::new())))),
        )
        .with_child(
            Node::new("configurations")
                .with(Property::string("default", "none"))
                .with_child(Node::new("conf-1").with(Property::string("kernel", "nothing")))
                .with_child(Node::new("conf-2").with(Property::strings("loadables", ["a", "/images/b"]))),
        );
    let mut bytes = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut bytes).unwrap();
    let findings = check_fit(&Fit::parse(&bytes).unwrap());
    let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    let want = [
        "fit.timestamp",
        "fit.unit_address",
        "fit.hash",
        "fit.hash",
        "fit.data",
        "fit.hash",
        "fit.description",
        "fit.default",
        "fit.configuration",
    ];
    assert_eq!(rules, want, "{findings:#?}");
    assert!(findings[8].message.contains("conf-1 wants image nothing"));
}

/// Trees in dtc's words, for comparing node by node.
fn as_source(dtc: &Path, file: &Path) -> String {
    support::stdout(&run_ok(Command::new(dtc).args(["-q", "-q", "-I", "dtb", "-O", "dts"]).arg(file)))
}

/// The command, for every placement: the bytes of mkimage but for what it does not clear, and the same tree in dtc's words.
#[test]
fn the_command_makes_what_mkimage_makes() {
    let Some(mkimage) = mkimage() else { return };
    let dtc = tool("dtc", "device-tree-compiler").unwrap();
    let layout = support::mkimage_layout(&mkimage);
    let dir = folder();
    let dir = dir.path();
    for options in PLACEMENTS {
        by_mkimage(&mkimage, dir, options);
        run_ok(
            kimage()
                .current_dir(dir)
                .env("SOURCE_DATE_EPOCH", EPOCH)
                .args(["fit", "fit.its", "--layout", &layout, "-o", "ours.itb"])
                .args(*options),
        );
        assert_eq!(as_source(&dtc, &dir.join("ours.itb")), as_source(&dtc, &dir.join("theirs.itb")), "{options:?}");
        let ours = fs::read(dir.join("ours.itb")).unwrap();
        assert_eq!(ours.len() as u64, fs::metadata(dir.join("theirs.itb")).unwrap().len(), "{options:?}");
        assert_eq!(check_fit(&Fit::parse(&ours).unwrap()), []);
        // From the folder above, the names in the source mean the same files.
        let name = dir.file_name().unwrap().to_str().unwrap();
        let source = format!("{name}/fit.its");
        let other = format!("{name}/other.itb");
        let mut command = kimage();
        command.current_dir(dir.parent().unwrap()).env("SOURCE_DATE_EPOCH", EPOCH);
        run_ok(command.args(["fit", &source, "--layout", &layout, "-o", &other]).args(*options));
        assert!(fs::read(dir.join("other.itb")).unwrap() == ours);
    }
}

/// A compiled tree, as dtc makes it, and a finished FIT with its data inside or outside.
#[test]
fn compiled_trees_are_taken_too() {
    let Some(mkimage) = mkimage() else { return };
    let dtc = tool("dtc", "device-tree-compiler").unwrap();
    let layout = support::mkimage_layout(&mkimage);
    let dir = folder();
    let dir = dir.path();
    run_ok(Command::new(&dtc).current_dir(dir).args(["-q", "-q", "-O", "dtb", "-o", "tree.dtb", "fit.its"]));
    let fit = |input: &str, output: &str, options: &[&str]| {
        let mut command = kimage();
        command.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH);
        command.args(["fit", input, "--layout", &layout, "-o", output]).args(options);
        run_ok(&mut command);
        fs::read(dir.join(output)).unwrap()
    };
    let want = by_mkimage(&mkimage, dir, &[]);
    let same = |got: &[u8], what: &str| support::assert_same(what, got, &want);
    let ours = fit("fit.its", "a.itb", &[]);
    same(&ours, "from the source");
    same(&fit("tree.dtb", "b.itb", &[]), "from the compiled tree");
    let external = fit("fit.its", "c.itb", &["-E"]);
    // Data taken in again, hashes made anew; the properties come in another order.
    fit("c.itb", "d.itb", &[]);
    let sorted = |file: &str| {
        let mut command = Command::new(&dtc);
        command.args(["-q", "-q", "-s", "-I", "dtb", "-O", "dts"]).arg(dir.join(file));
        support::stdout(&run_ok(&mut command))
    };
    assert_eq!(sorted("d.itb"), sorted("theirs.itb"));
    // Wrong hashes are made right.
    let mut bad = external.clone();
    let at = Fit::parse(&bad)
        .unwrap()
        .images()
        .find(|image| image.name() == "kernel-1")
        .unwrap()
        .hashes()
        .next()
        .unwrap()
        .at
        .0;
    bad[at as usize] ^= 1;
    fs::write(dir.join("bad.itb"), bad).unwrap();
    assert!(fit("bad.itb", "good.itb", &["-E"]) == fit("c.itb", "good.itb", &["-E"]));
}

/// From files: `dumpimage -l` and `mkimage -l` read it, and mkimage makes the same tree of what dtc reads in it.
#[test]
fn from_files() {
    let Some(mkimage) = mkimage() else { return };
    let Some(dumpimage) = tool("dumpimage", "u-boot-tools") else { return };
    let dtc = tool("dtc", "device-tree-compiler").unwrap();
    let dir = tempdir();
    let dir = dir.path();
    run_ok(kimage().arg("zimage").arg(support::testdata("tiny/arm-vmlinux")).arg("-o").arg(dir.join("zImage")));
    for (name, compatible) in [("one", "kimage,one"), ("two", "kimage,two\", \"kimage,board")] {
        let source = format!("/dts-v1/;\n/ {{ compatible = \"{compatible}\"; model = \"Board {name}\"; }};\n");
        fs::write(dir.join("x.dts"), source).unwrap();
        run_ok(Command::new(&dtc).current_dir(dir).args(["-q", "-O", "dtb", "-o", &format!("{name}.dtb"), "x.dts"]));
    }
    fs::write(dir.join("x.dts"), "/dts-v1/; / { fragment { target-path = \"/\"; __overlay__ { hat; }; }; };").unwrap();
    run_ok(Command::new(&dtc).current_dir(dir).args(["-q", "-O", "dtb", "-o", "hat.dtbo", "x.dts"]));
    fs::write(dir.join("initrd"), noise(3001, 1)).unwrap();
    fs::write(dir.join("firmware"), noise(17, 1)).unwrap();
    let all = [
        "--kernel=zImage",
        "--dtb=one.dtb",
        "--dtb=two.dtb",
        "--ramdisk=initrd",
        "--loadable=firmware",
        "--overlay=hat.dtbo",
    ];
    for options in [
        &[][..],
        &["--hash=sha256,crc32", "--default=two", "-n", "all", "-E"],
        &["-a", "40008000", "-e", "40008040", "--compress=gzip", "--dtb-load=43000000", "--hash=none"],
        &["-a", "1_0000_0000".replace('_', "").leak(), "-A", "arm64", "--compress=zstd", "--default=conf-2"],
    ] {
        let mut command = kimage();
        command
            .current_dir(dir)
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .args(["fit", "-o", "ours.itb"])
            .args(all)
            .args(options);
        run_ok(&mut command);
        let bytes = fs::read(dir.join("ours.itb")).unwrap();
        let fit = Fit::parse(&bytes).unwrap();
        assert_eq!(check_fit(&fit), [], "{options:?}");
        let names: Vec<&str> = fit.images().map(|image| image.name()).collect();
        assert_eq!(names, ["fdt-1", "fdt-2", "fdt-overlay-1", "kernel-1", "ramdisk-1", "loadable-1"]);
        let configurations: Vec<Configuration<'_, '_>> = fit.configurations().collect();
        assert_eq!(configurations.iter().map(|it| it.name()).collect::<Vec<_>>(), ["conf-1", "conf-2", "overlay-1"]);
        assert_eq!(configurations[1].compatible(), ["kimage,two", "kimage,board"]);
        assert_eq!(configurations[1].description(), Some("Board two"));
        assert_eq!(configurations[0].images("loadables"), ["loadable-1"]);
        let two = options.iter().any(|option| option.starts_with("--default"));
        assert_eq!(fit.default(), Some(if two { "conf-2" } else { "conf-1" }));
        let kernel = fit.images().find(|image| image.name() == "kernel-1").unwrap();
        match options {
            [] => assert_eq!((kernel.text("type"), kernel.load()), (Some("kernel_noload"), Some(0))),
            [_, _, _, "40008040", ..] => {
                assert_eq!((kernel.load(), kernel.entry()), (Some(0x4000_8000), Some(0x4000_8040)))
            }
            ["-a", ..] => assert_eq!((kernel.load(), kernel.text("compression")), (Some(1 << 32), Some("zstd"))),
            _ => assert_eq!(fit.description(), Some("all")),
        }
        for tool in [&mkimage, &dumpimage] {
            let text = support::stdout(&run_ok(Command::new(tool).arg("-l").arg(dir.join("ours.itb"))));
            for words in ["FIT description: ", "Image 2 (fdt-overlay-1)", "Configuration 1 (conf-2)", "Tue Nov 14"] {
                assert!(text.contains(words), "{options:?}: no {words}\n{text}");
            }
        }
        // dtc reads it, mkimage builds it anew.
        let source = as_source(&dtc, &dir.join("ours.itb"));
        if !options.contains(&"-E") {
            fs::write(dir.join("fit.its"), &source).unwrap();
            by_mkimage(&mkimage, dir, &[]);
            assert_eq!(as_source(&dtc, &dir.join("theirs.itb")), source, "{options:?}");
        }
    }
}

#[test]
fn bad_inputs_get_help() {
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("vmlinux"), fs::read(support::testdata("tiny/arm-vmlinux")).unwrap()).unwrap();
    fs::write(dir.join("nothing.its"), "/dts-v1/;\n/ { images { a { }; }; };\n").unwrap();
    fs::write(dir.join("missing.its"), "/dts-v1/;\n/ { images { a { data = /incbin/(\"gone\"); }; }; };\n").unwrap();
    fs::write(dir.join("algo.its"), "/dts-v1/;\n/ { images { a { data = [00]; hash { algo = \"sha3\"; }; }; }; };\n")
        .unwrap();
    fs::write(dir.join("syntax.its"), "/dts-v1/;\n/ { images { a { data = 7; }; }; };\n").unwrap();
    fs::write(dir.join("no-images.its"), "/dts-v1/;\n/ { };\n").unwrap();
    for (options, words) in [
        (&["nothing.its"][..], &["nothing.its: /images/a has no data", "/incbin/"][..]),
        (&["missing.its"], &["missing.its:2:34: gone cannot be read", "-i DIR"]),
        (&["algo.its"], &["/images/a/hash: unknown algorithm \"sha3\"", "sha256"]),
        (&["syntax.its"], &["syntax.its:2:25: found \"7;\", wanted a value"]),
        (&["no-images.its"], &["no node /images", "/configurations"]),
        (&["fit.its", "-E", "-p", "10"], &["to begin at 0x10", "change -p to 0x1000"]),
        (&["kernel"], &["kernel:1:1: this is no device tree source"]),
        (&["--kernel=kernel", "-A", "arm"], &["load address", "say it with -a"]),
        (&["--kernel=kernel", "-a", "8000"], &["CPU", "-A"]),
        (&["--kernel=kernel", "-A", "arm", "-a", "8000", "-e", "1"], &["-e 0x1 is outside", "change -e or -a"]),
        (&["--kernel=kernel", "-A", "arm", "-a", "8000", "--dtb=kernel"], &["kernel: this is no kernel file", "dtc"]),
        (&["--kernel=vmlinux", "--default=x"], &["no such configuration", "conf-1"]),
        (&[], &["give an image tree source"]),
        (&["fit.its", "--kernel=kernel"], &["cannot be used with"]),
    ] {
        let output = support::run(kimage().current_dir(dir).arg("fit").args(options).args(["-o", "out.itb"]));
        let text = support::stderr(&output);
        assert!(!output.status.success(), "{options:?}");
        for words in words {
            assert!(text.contains(words), "{options:?}: no {words:?} in\n{text}");
        }
        assert!(!dir.join("out.itb").exists(), "{options:?}");
    }
}

/// What is empty or cut is refused, or let through by `--force`; what is no device tree of a board is not appended.
#[test]
fn empty_and_cut_files_are_refused() {
    let dir = tempdir();
    let dir = dir.path();
    let tiny = |name| support::testdata("tiny").join(name);
    run_ok(kimage().args(["zimage", "-q"]).arg(tiny("arm-vmlinux")).arg("-o").arg(dir.join("zImage")));
    let bzimage = |command: &mut Command| drop(run_ok(command.arg("-q").arg("-o").arg(dir.join("bzImage"))));
    bzimage(kimage().arg("bzimage").args([tiny("vmlinux"), tiny("setup.bin")]));
    for (whole, cut) in [("zImage", "cut"), ("bzImage", "bzcut")] {
        let bytes = fs::read(dir.join(whole)).unwrap();
        fs::write(dir.join(cut), &bytes[..bytes.len() - 100]).unwrap();
    }
    fs::write(dir.join("empty"), []).unwrap();
    let run = |arguments: &[&str]| {
        let output = support::run(kimage().current_dir(dir).args(arguments));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let fit = ["fit", "-o", "out", "-A", "arm", "-a", "80008000"];
    let uimage = ["uimage", "-o", "out", "-A", "arm", "-a", "80008000"];
    for (command, more, words) in [
        (&fit[..], &["--kernel", "empty"][..], "empty (kernel) is empty"),
        (&fit, &["--kernel", "zImage", "--ramdisk", "empty"], "empty (ramdisk) is empty"),
        (&fit, &["--kernel", "zImage", "--loadable", "empty"], "empty (firmware) is empty"),
        (&fit, &["--kernel", "cut"], "cut is cut off: end at offset 0x2c"),
        (&uimage, &["empty"], "the data is empty"),
        (&uimage, &["cut"], "the kernel is cut off: end at offset 0x2c"),
        (&["uimage", "-o", "out", "-a", "100000"], &["bzcut"], "the kernel is cut off: syssize at offset 0x1f4"),
    ] {
        let arguments = [command, more].concat();
        let (status, said) = run(&arguments);
        assert!(status == 1 && said.contains(words), "{arguments:?}: {status} {said}");
        let (status, said) = run(&[&arguments[..], &["--force"]].concat());
        assert!(status == 0 && said.contains(words), "{arguments:?} --force: {status} {said}");
    }
    assert_eq!(run(&[&fit[..], &["--kernel", "zImage"]].concat()).0, 0);
    fs::rename(dir.join("out"), dir.join("a.itb")).unwrap();
    for command in [&["zimage", "zImage"][..], &["uimage", "zImage"]] {
        for (file, words) in [("a.itb", "a.itb: this is a U-Boot FIT"), ("zImage", "zImage: this is")] {
            let (status, said) = run(&[command, &["-o", "out", "--append-dtb", file]].concat());
            assert!(status == 1 && said.contains(words), "{command:?} {file}: {status} {said}");
            assert!(said.contains("the device tree blob of a board"), "{said}");
        }
    }
}

/// A file that is not found is said with its place, and where it may be looked for; one that is too short with what was taken.
#[test]
fn files_that_a_source_names() {
    let dir = tempdir();
    let dir = dir.path();
    fs::write(dir.join("f"), "0123456789").unwrap();
    let image = |incbin: &str| {
        format!(
            "/dts-v1/;\n/ {{ images {{ k {{ data = {incbin}; type = \"firmware\"; }}; }}; configurations {{ }}; }};\n"
        )
    };
    let fit = |source: &str| {
        fs::write(dir.join("a.its"), source).unwrap();
        let output = support::run(kimage().current_dir(dir).args(["fit", "--force", "a.its", "-o", "out"]));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for source in [image("/incbin/(\"nowhere\")"), "/dts-v1/;\n/include/ \"nowhere\"\n".to_owned()] {
        let (status, said) = fit(&source);
        assert!(status == 1 && said.contains("a.its:2:") && said.contains("nowhere cannot be read"), "{status} {said}");
        assert!(said.contains("-i DIR"), "{said}");
    }
    let (status, said) = fit(&image("/incbin/(\"f\", 4, 100)"));
    assert!(
        status == 0 && said.contains("f has 10 bytes; /incbin/ asks for 100 bytes from offset 4"),
        "{status} {said}"
    );
    let made = fs::read(dir.join("out")).unwrap();
    assert_eq!(
        Fit::parse(&made).unwrap().images().find(|image| image.name() == "k").unwrap().data(),
        Some(&b"456789"[..])
    );
}

/// Ten times the configurations take no more than some ten times as long.
#[test]
fn thousands_of_configurations() {
    let dir = tempdir();
    let dir = dir.path();
    let mut times = Vec::new();
    for count in [400, 4000] {
        let tree = |n: usize| {
            format!(
                "fdt-{n} {{ data = [d00dfeed]; type = \"firmware\"; arch = \"arm\"; compression = \"none\"; hash-1 {{ algo = \"crc32\"; }}; }};\n"
            )
        };
        let configuration = |n: usize| format!("c{n} {{ firmware = \"fdt-{n}\"; compatible = \"x,b{n}\"; }};\n");
        let images: String = (0..count).map(tree).collect();
        let configurations: String = (0..count).map(configuration).collect();
        let text = format!(
            "/dts-v1/;\n/ {{ images {{ {images} }}; configurations {{ default = \"c0\"; {configurations} }}; }};\n"
        );
        fs::write(dir.join("a.its"), text).unwrap();
        for command in [&["fit", "-q", "--force", "a.its", "-o", "a.itb"][..], &["info", "a.itb"], &["verify", "a.itb"]]
        {
            let started = std::time::Instant::now();
            let output = support::run(kimage().current_dir(dir).args(command));
            assert!(output.status.code().is_some_and(|code| code < 2), "{command:?}");
            times.push((command[0], started.elapsed()));
        }
    }
    let (few, many) = times.split_at(3);
    for ((command, few), (_, many)) in few.iter().zip(many) {
        // A few tenths of a second are nothing to go by; quadratic would be a hundred times.
        let bound = few.as_secs_f64().max(0.05) * 30.0;
        assert!(many.as_secs_f64() < bound, "{command}: {few:?} for 400, {many:?} for 4,000");
    }
}
