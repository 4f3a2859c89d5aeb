//! Image tree sources: for the same source the same bytes as mkimage, which has dtc compile it.

use crate::support::{assert_same, mkimage_layout, noise, run, run_ok, tempdir, tool};
use kimage::assemble::External;
use kimage::bytes::Align;
use kimage::internals::Fit;
use kimage::internals::dts::{Resolved, Source};
use kimage::internals::fdt::{Dtb, Flat, Strings};
use kimage::internals::fit::{self, Options};
use kimage::internals::resolved;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EPOCH: u32 = 1_700_000_000;

/// The files that sources in a folder may name.
fn folder() -> tempfile::TempDir {
    let dir = tempdir();
    for (name, len) in [("kernel", 40_001), ("one.dtb", 1234), ("two.dtb", 4097), ("empty", 0), ("with space", 5)] {
        fs::write(dir.path().join(name), noise(len, 1)).unwrap();
    }
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/inner"), noise(77, 1)).unwrap();
    fs::write(dir.path().join("sub/part.dtsi"), "inner { data = /incbin/(\"inner\"); a = <1>; };\n").unwrap();
    dir
}

fn beside(name: &str, from: &str) -> PathBuf {
    Path::new(from).parent().unwrap_or(Path::new("")).join(name)
}

fn parse(path: &Path) -> Result<Source, kimage::internals::dts::Error> {
    let text = fs::read(path).unwrap();
    Source::parse(path.to_str().unwrap(), &text, &mut |name, from| {
        let path = beside(name, from);
        Ok((path.to_str().unwrap().to_owned(), fs::read(&path)?))
    })
}

fn with_files<T>(source: &Source, then: impl FnOnce(Resolved<'_>) -> T) -> Result<T, kimage::internals::dts::Error> {
    let files: Vec<Vec<u8>> =
        source.files().iter().map(|file| fs::read(beside(&file.name, &file.from)).unwrap()).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    resolved(source, &files).map(then)
}

fn compiled(path: &Path) -> Result<Vec<u8>, kimage::internals::dts::Error> {
    with_files(&parse(path)?, |resolved| {
        let flat = Flat::new(&resolved.root, Strings::default()).unwrap();
        let mut out = Vec::new();
        flat.with_reservations(&resolved.reservations).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
        out
    })
}

/// Sources of everything that a .its may use, compiled by dtc and by us.
#[test]
fn sources_compile_as_dtc_compiles_them() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = folder();
    for (number, body) in [
        "/ { };",
        "/ { a; b = \"text\"; c = \"two\", \"strings\"; d = \"\"; };",
        r#"/ { e = "tab\t nl\n q\" bs\\ oct\101\7 hex\x41\x4 bell\a\b\v\f\r other\q"; };"#,
        "/ { a = <1 0x2 03 4U 5UL 0X6ULL>; b = <(-1) 0xffffffff (1 + 2 * 3)>; c = <>; };",
        "/ { a = <(1 << 31) (7 / 2) (7 % 4) (~0) (!0) (!5) (1 ? 2 : 3) (0 ? 2 : 0 ? 4 : 5)>; };",
        "/ { a = <(1 || 0 && 0) (6 & 3 | 8 ^ 1) (1 < 2) (2 <= 1) (3 > 2) (3 >= 4) (1 == 1) (1 != 1) ((2) - (5))>; };",
        "/ { a = <(10 - 3 - 2) (100 / 10 / 5) (1 << 2 << 3) (0x80000000 >> 4) ('a') 'b' '\\n'>; };",
        "/ { a = /bits/ 8 <1 2 255 (-1)>; b = /bits/ 16 <1 0xffff>; c = /bits/ 64 <1 0xffffffffffffffff>; d = /bits/ 32 <1>; };",
        "/ { a = [00 11 aB cd]; b = [0011abCD]; c = []; d = [00], <1>, \"x\"; };",
        "/memreserve/ 0x1000 0x2000; /memreserve/ 0xffffffff00000000 (4096 * 2);\n/ { a; };",
        "/ { l1: n1 { a = <&l2>; b = &l2; c = <1 &l1 2>; }; l2: n2 { d = <&{/n1}>; e = &{/n1x/x}; }; n1x { x { }; }; };",
        "/ { l: n { phandle = <1>; }; m: m { a = <&l &m &o>; }; o: o { }; };",
        "/ { a = <1>; b { c = <2>; d { e; }; }; };\n/ { a = <5>; i; b { c = <3>; f = <4>; d { g; }; h { }; }; };",
        "/ { x: a { p = <1>; q; n { }; }; };\n&x { p = <2>; r; /delete-property/ q; /delete-node/ n; };\n&{/a} { s; };",
        "/ { a { }; x: b { }; c { }; };\n/delete-node/ &x;\n/delete-node/ &{/c};",
        "/ { a; b { c; }; d { }; };\n/ { /delete-property/ a; /delete-node/ b; };",
        "// line\n/* block\n over lines */ / { /* a */ a /* b */ = /* c */ <1 /* d */ 2>; // e\n };",
        "# 1 \"foo.its\"\n/ {\n# 2 \"bar\" 1\n a; };\n",
        "/ { l1: a = l2: <l3: 1 l4: 2 l5:> l6: , l7: [l8: 00 l9: 11 l10:] l11:; };",
        "/ { #address-cells = <1>; a,b.c_d+e*f?g#h-i; n@1f,0 { }; 0start { 1; }; };",
        "/ { data = /incbin/(\"one.dtb\"); two = /incbin/(\"one.dtb\", 4, 8); three = /incbin/(\"one.dtb\", (2 * 8), 0x10); };",
        "/ { data = /incbin/(\"one.dtb\"), \"x\", /incbin/(\"empty\"), <1>; e = /incbin/(\"with space\"); };",
        "/ { a { /include/ \"sub/part.dtsi\" }; b { data = /incbin/(\"kernel\"); }; };",
        "/ { cells = <1>; #address-cells = <1>; a { address-cells; ress-cells; }; };",
        "/ { cpus { cpu@3 { reg = <3>; }; }; };",
        // dtc takes what is there, and says nothing.
        "/ { a = /incbin/(\"one.dtb\", 1000, 1000); b = /incbin/(\"one.dtb\", 2000, 0); c = /incbin/(\"one.dtb\", 2000, 5); };",
        "/ { a = /incbin/(\"one.dtb\", 1234, 1), <1>; b = /incbin/(\"one.dtb\", 0x100000000, 5); };",
        "/ { a = /incbin/(\"one.dtb\", 1230, (-1)); b = /incbin/(\"empty\", 0, 1); };",
        "/ { a; };\n/delete-node/ &{/};\n/ { b; };",
    ]
    .iter()
    .enumerate()
    {
        let (its, theirs) = (dir.path().join(format!("{number}.its")), dir.path().join("theirs.dtb"));
        fs::write(&its, format!("/dts-v1/;\n{body}\n")).unwrap();
        run_ok(Command::new(&dtc).args(["-q", "-q", "-I", "dts", "-O", "dtb", "-o"]).args([&theirs, &its]));
        let mut theirs = fs::read(&theirs).unwrap();
        let ours = compiled(&its).unwrap_or_else(|error| panic!("{body}\n{error}"));
        // The CPU that boots is dtc's guess, and the FIT's plan makes it too.
        assert_eq!(Dtb::parse_at(&theirs, 0).unwrap().boot_cpu(), if body.contains("cpus") { 3 } else { 0 });
        theirs[28..32].fill(0);
        assert_same(body, &ours, &theirs);
    }
}

/// What dtc refuses, and what of it kimage says, and where.
#[test]
fn what_dtc_refuses_is_refused() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = folder();
    for (source, place, words) in [
        ("/ { };", "1:1", "no device tree source"),
        ("/dts-v1/;\n", "2:1", "wanted the root node"),
        ("/dts-v1/;\n/ { a = <0x1ffffffff>; };", "2:10", "does not fit 32 bits"),
        ("/dts-v1/;\n/ { a = /bits/ 8 <256>; };", "2:19", "does not fit 8 bits"),
        ("/dts-v1/;\n/ { a = /bits/ 7 <1>; };", "2:16", "/bits/ 7"),
        ("/dts-v1/;\n/ { a = <(1 / 0)>; };", "2:13", "division by zero"),
        ("/dts-v1/;\n/ { a = <1 x>; };", "2:12", "found \"x>;\", wanted a number"),
        ("/dts-v1/;\n/ { a = <&nowhere>; };", "2:10", "there is no node &nowhere"),
        ("/dts-v1/;\n/ { a = &{/nowhere}; };", "2:9", "there is no node &{/nowhere}"),
        ("/dts-v1/;\n/ { };\n&x { };", "3:1", "there is no node &x"),
        ("/dts-v1/;\n/ { a = [0]; };", "2:10", "no byte"),
        ("/dts-v1/;\n/ { a = \"x; };", "2:9", "the string has no end"),
        ("/dts-v1/;\n/ { /* };", "2:5", "the comment has no end"),
        ("/dts-v1/;\n/ { a = <1>; a = <2>; };", "2:14", "a second property a"),
        ("/dts-v1/;\n/ { a { }; a { }; };", "2:12", "a second node a"),
        ("/dts-v1/;\n/ { a { }; b; };", "2:12", "property b stands behind a node"),
        ("/dts-v1/;\n/ { a { } };", "2:11", "found \"};\", wanted \";\""),
        ("/dts-v1/;\n/ { x: a { }; x: b { }; };", "2:15", "the label x is there twice"),
        ("/dts-v1/;\n/ { a = /incbin/(\"nothing\"); };", "", ""),
        (
            "/dts-v1/;\n/ { a = /incbin/(\"one.dtb\", (-1), 5); };",
            "2:9",
            "asks for 5 bytes from offset 18446744073709551615",
        ),
        ("/dts-v1/;\n/include/ \"nothing\"\n/ { };", "2:1", "nothing cannot be read"),
        ("/dts-v1/;\n/ { a = 'a'; };", "2:9", "wanted a value"),
        ("/dts-v1/;\n/ { a = <'ab'>; };", "2:10", "more than one character"),
        ("/dts-v1/;\n/ { a = /bits/ 64 <&x>; x: x { }; };", "2:20", "not of 32 bits"),
    ] {
        let its = dir.path().join("bad.its");
        fs::write(&its, source).unwrap();
        let theirs = run(Command::new(&dtc).args(["-q", "-q", "-I", "dts", "-O", "dtb", "-o", "/dev/null"]).arg(&its));
        assert!(!theirs.status.success(), "{source}");
        if place.is_empty() {
            continue;
        }
        let error = compiled(&its).expect_err(source);
        assert_eq!(format!("{}:{}", error.line, error.column), place, "{source}\n{error}");
        assert!(error.to_string().contains(words), "{source}\n{error}");
    }
}

/// What dtc takes, mkimage refuses the blob of, and kimage does not take: by name, with the way out.
#[test]
fn what_only_dtc_does() {
    let dir = folder();
    let its = dir.path().join("bad.its");
    fs::write(&its, "/dts-v1/;\n/ { };\n/delete-node/ &{/};").unwrap();
    let error = compiled(&its).expect_err("no root");
    assert!(error.to_string().contains("the root node is deleted") && !error.help.is_empty(), "{error}");
}

#[test]
fn a_source_that_includes_itself_ends() {
    let dir = folder();
    let its = dir.path().join("loop.its");
    fs::write(&its, "/dts-v1/;\n/include/ \"loop.its\"\n/ { };").unwrap();
    assert!(parse(&its).unwrap_err().message.contains("include one another"));
    let deep = format!("/dts-v1/;\n/ {{ {} }};", "a {".repeat(100_000));
    fs::write(&its, deep).unwrap();
    assert!(parse(&its).unwrap_err().message.contains("deeper"));
    for (open, close) in [("(", ")"), ("-", ""), ("(1 ? (", "))"), ("~", "")] {
        let deep = format!("/dts-v1/;\n/ {{ a = <({}1{})>; }};", open.repeat(100_000), close.repeat(100_000));
        fs::write(&its, deep).unwrap();
        assert!(parse(&its).is_err());
    }
}

/// Images with every hash there is, values that are there already, many of them (so that mkimage has to enlarge its
/// tree), properties that come before and after the data.
fn sources() -> Vec<String> {
    let configurations = "configurations { default = \"c\"; c { kernel = \"kernel-1\"; fdt = \"fdt-1\"; }; };";
    let image = |name: &str, file: &str, hashes: &str| {
        format!(
            "{name} {{ description = \"{name}\"; data = /incbin/(\"{file}\"); type = \"kernel\"; arch = \"arm\"; os = \"linux\"; \
             compression = \"none\"; load = <0x40008000>; entry = <0x40008000>; {hashes} }};\n"
        )
    };
    let hash = |number: usize, algo: &str| format!("hash-{number} {{ algo = \"{algo}\"; }};");
    let all: Vec<String> =
        ["sha1", "sha256", "sha512", "sha384", "md5", "crc32"].iter().enumerate().map(|(n, a)| hash(n, a)).collect();
    let fit =
        |head: &str, images: &str| format!("/dts-v1/;\n/ {{ {head} images {{\n{images}}};\n{configurations} }};\n");
    let description = "description = \"x\"; #address-cells = <1>;";
    let many: String = (0..40).map(|n| image(&format!("fdt-{n}"), "one.dtb", &all.concat())).collect();
    vec![
        fit(description, &image("kernel-1", "kernel", "")),
        fit(
            description,
            &(image("kernel-1", "kernel", &hash(1, "sha256")) + &image("fdt-1", "one.dtb", &all.concat())),
        ),
        fit(
            "timestamp = <7>; description = \"x\";",
            &image("kernel-1", "two.dtb", "hash-1 { algo = \"crc32\"; value = <7>; };"),
        ),
        fit(
            "description = \"value\"; valued; othervalue;",
            &image("kernel-1", "two.dtb", "hash { value = <1>; algo = \"md5\"; };"),
        ),
        fit("description = \"timestamp\"; my-timestamp;", &image("empty", "empty", &hash(1, "sha1"))),
        fit(description, &(image("kernel-1", "kernel", &all.concat()) + &many)),
        fit(
            description,
            &image("kernel-1", "sub/inner", "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; };"),
        ),
        format!(
            "/dts-v1/;\n/memreserve/ 1 2;\n{}",
            &fit(description, &image("kernel-1", "one.dtb", &hash(1, "crc32")))[10..]
        ),
    ]
}

#[test]
fn fits_come_out_as_mkimage_makes_them() {
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let Some(mkimage) = tool("mkimage", "u-boot-tools") else { return };
    let dir = folder();
    let (its, theirs) = (dir.path().join("fit.its"), dir.path().join("theirs.itb"));
    let layout = mkimage_layout(&mkimage).parse().unwrap();
    let external = |align: Option<u64>, position| {
        Some(External { align: align.and_then(Align::new), position, ..External::default() })
    };
    for (options, external) in [
        (&[][..], None),
        (&["-E"], external(None, None)),
        (&["-E", "-B", "200"], external(Some(0x200), None)),
        (&["-E", "-p", "10000"], external(None, Some(0x10000))),
        (&["-E", "-p", "8000", "-B", "40"], external(Some(0x40), Some(0x8000))),
    ] {
        for source in sources() {
            fs::write(&its, &source).unwrap();
            let mut command = Command::new(&mkimage);
            command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).args(options).arg("-f").args([&its, &theirs]);
            run_ok(&mut command);
            let want = fs::read(&theirs).unwrap();
            let options = Options { time: EPOCH, external, unsigned: true, layout, ..Options::default() };
            let (ours, regions) = with_files(&parse(&its).unwrap(), |resolved| {
                let built = fit::plan(resolved.root, &resolved.reservations, &options).unwrap();
                let mut out = Vec::new();
                built.plan.emit(&mut out).unwrap();
                (out, built.plan.regions().to_vec())
            })
            .unwrap();
            let fit = Fit::parse(&ours).unwrap();
            assert_eq!(fit.regions().unwrap(), regions, "{source}");
            assert_same(&format!("{options:?}\n{source}"), &ours, &want);
        }
    }
}

/// Cut at every length, and with every byte changed: a tree or an error with a place, never a panic.
#[test]
fn damaged_sources() {
    let source = "/dts-v1/;\n/memreserve/ 1 (2+3);\n/ { l: a = <1 (2*3?4:5) &l &{/n}>, \"t\\x41\", [00 fF], &n; /* c */ // d\n\
                  n: n@1 { b; /bits/ 8 <1>; i = /incbin/(\"f\", 1, 2); }; };\n&n { /delete-property/ b; };\n/delete-node/ &n;\n";
    let mut refuse = |_: &str, _: &str| Err(std::io::ErrorKind::NotFound.into());
    let mut attempt = |text: &[u8]| match Source::parse("x", text, &mut refuse) {
        Ok(source) => drop(resolved(&source, &[&[0; 8]])),
        Err(error) => assert!(error.line > 0 && error.column > 0 && !error.message.is_empty(), "{error:?}"),
    };
    for length in 0..source.len() {
        attempt(&source.as_bytes()[..length]);
    }
    for at in 0..source.len() {
        for value in 0..=255 {
            let mut bad = source.as_bytes().to_vec();
            bad[at] = value;
            attempt(&bad);
        }
    }
}
