//! Unified kernel images beside systemd's ukify, and by the layout that the headers must say.

use crate::authenticode::{keys, program, verdict, word};
use crate::files;
use crate::support::{
    assert_same, cache, kimage, missing, noise, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's, which has what ukify imports; another one may be the first on PATH.
const PYTHON: &str = "/usr/bin/python3";
const STUB_252: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// ukify of tests/fetch-ukify.sh, and a stub of the same release.
fn peer(stub: &str) -> Option<(PathBuf, String)> {
    let folder = cache().join("ukify/usr");
    let (ukify, stub) = (folder.join("bin/ukify"), folder.join("lib/systemd/boot/efi").join(stub));
    if !ukify.is_file() || !stub.is_file() {
        missing("no ukify (sh tests/fetch-ukify.sh)");
        return None;
    }
    Some((ukify, stub.to_str().unwrap().to_owned()))
}

/// Sections: name, memory, file, contents.
fn sections(file: &[u8]) -> Vec<(String, [usize; 4], Vec<u8>)> {
    let pe = word(file, 0x3c);
    let table = pe + 24 + usize::from(u16::from_le_bytes([file[pe + 20], file[pe + 21]]));
    let section = |index| {
        let at = table + 40 * index;
        let name = String::from_utf8_lossy(&file[at..at + 8]).trim_end_matches('\0').to_owned();
        let [len, memory, raw_len, raw] = [8, 12, 16, 20].map(|field| word(file, at + field));
        (name, [len, memory, raw_len, raw], file[raw..raw + len.min(raw_len)].to_vec())
    };
    (0..usize::from(file[pe + 6])).map(section).collect()
}

/// A folder with parts of images.
fn parts() -> tempfile::TempDir {
    let dir = tempdir();
    put(dir.path(), "linux", &program(true, 0));
    put(dir.path(), "i1", &noise(10_001, 1));
    put(dir.path(), "i2", &noise(5_000, 2));
    put(dir.path(), "cmdline", b"root=x  quiet\n");
    put(dir.path(), "osrel", b"ID=tiny\n");
    put(dir.path(), "splash.bmp", &noise(500, 3));
    put(dir.path(), "a.dtb", &files::dtb());
    put(dir.path(), "key", b"a key");
    put(dir.path(), "profile", b"ID=p\nTITLE=\"A profile\"");
    let ids = r#"["5dc05bf4-01f6-4089-b464-a08c47ea9295", "3e3f8f3c-2003-46f2-811c-85554f7d5952"]"#;
    std::fs::create_dir(dir.path().join("hwids")).unwrap();
    put(dir.path(), "hwids/b.json", format!(r#"{{"name": "Lap", "compatible": "a,b", "hwids": {ids}}}"#).as_bytes());
    put(
        dir.path(),
        "hwids/a.json",
        br#"{"name": "Abe", "compatible": "z,b", "hwids": ["5DC05BF401f64089b464a08c47ea9296"]}"#,
    );
    put(
        dir.path(),
        "uki.conf",
        b"# of a test\n[UKI]\nLinux = linux\nInitrd = i1\n  i2\nCmdline = a  b # c\n\nOSRelease=@osrel\nUname=6.1\n",
    );
    dir
}

/// A kernel and a stub, and nothing that is derived from them.
const PLAIN: [&str; 4] = ["--linux=linux", "--stub=stub", "--os-release=", "--uname="];

fn uki(dir: &Path, words: &[&str]) -> Command {
    let mut command = kimage();
    command.current_dir(dir).arg("uki").args(words);
    command
}

/// What the stub of unified images does not unpack is refused, with what it does unpack.
#[test]
fn codecs_of_the_own_stub() {
    use kimage::assemble::UkiRequest;
    use kimage::codec::Codec;
    let kernel = read(&testdata("tiny/kernel"));
    for codec in [Codec::Gzip, Codec::Xz, Codec::Bzip2] {
        let request = UkiRequest { linux: Some(&kernel), codec, ..UkiRequest::default() };
        let error = kimage::assemble::uki(&request).unwrap_err();
        assert_eq!(kimage::bytes::help(&error), "take lz4 or zstd", "{error}");
    }
}

#[test]
fn bytes_are_ukifys() {
    let Some((ukify, new)) = peer("linuxx64.efi.stub") else { return };
    let Some((_, addon)) = peer("addonx64.efi.stub") else { return };
    let dir = parts();
    let min = ["--linux=linux", "--os-release=@osrel", "--uname=6.1"];
    let more = ["--cmdline=  a  b ", "--initrd=i1", "--initrd=i2"];
    let all = [
        "--cmdline=@cmdline",
        "--initrd=i2",
        "--splash=splash.bmp",
        "--devicetree=a.dtb",
        "--devicetree-auto=a.dtb",
        "--devicetree-auto=i2",
        "--hwids=hwids",
        "--microcode=i2",
        "--pcrpkey=key",
        "--section=.foo:bar",
        "--section=.x:@cmdline",
        "--sbat=sbat,1,x\na,1,b",
    ];
    let (new, addon) = (format!("--stub={new}"), format!("--stub={addon}"));
    let mut cases = vec![
        ("minimal", [&[&*new][..], &min].concat()),
        ("more", [&[&*new][..], &min, &more].concat()),
        ("all", [&[&*new][..], &min, &all].concat()),
        ("addon", vec![&*addon, "--cmdline=debug"]),
        ("profile", vec![&*addon, "--profile=@profile", "--cmdline=second"]),
        (
            "joined",
            [&[&*new, "--cmdline=x", "--join-profile=profile.ukify", "--join-profile=profile.ukify"][..], &min]
                .concat(),
        ),
        ("named", [&[&*new, "--profile=ID=base", "--join-profile=profile.ukify"][..], &min].concat()),
        ("configured", vec![&*new, "--config=uki.conf", "--initrd=i2"]),
    ];
    let old = format!("--stub={STUB_252}");
    if Path::new(STUB_252).exists() {
        cases.push(("old stub", [&[&*old][..], &min, &more].concat()));
    } else {
        missing("systemd-boot-efi");
    }
    for (name, words) in cases {
        let (theirs, ours) = (format!("{name}.ukify"), format!("{name}.efi"));
        run_ok(
            Command::new(PYTHON).arg(&ukify).current_dir(dir.path()).arg("build").args(&words).args(["-o", &theirs]),
        );
        run_ok(kimage().current_dir(dir.path()).args(["as", "ukify", "build"]).args(&words).args(["-o", &ours]));
        assert_same(name, &read(&dir.path().join(&ours)), &read(&dir.path().join(theirs)));
        run_ok(uki(dir.path(), &words).args(["-o", "again.efi"]));
        assert_same(name, &read(&dir.path().join("again.efi")), &read(&dir.path().join(&ours)));
    }
}

/// Without any peer: what the headers say is where the parts are, one behind the other, aligned, and the stub is what it was.
#[test]
fn every_part_is_where_the_headers_say() {
    let dir = parts();
    let stub = program(true, 0);
    put(dir.path(), "stub", &stub);
    let words = [&PLAIN[..], &["--cmdline=a", "--initrd=i1", "--initrd=i2", "-o", "x.efi"]].concat();
    let refused = run(uki(dir.path(), &words).arg("--microcode=i1"));
    assert!(stderr(&refused).contains("room for 4 further sections, 5 are needed"), "{}", stderr(&refused));
    run_ok(&mut uki(dir.path(), &words));
    let file = read(&dir.path().join("x.efi"));
    let found = sections(&file);
    let names: Vec<&str> = found.iter().map(|(name, ..)| &**name).collect();
    assert_eq!(names, [".text", ".data", ".cmdline", ".linux", ".initrd", ".sbat"]);
    let mut initrd = noise(10_001, 1);
    initrd.resize(10_004, 0);
    initrd.extend(noise(5_000, 2));
    assert_same("initrd", &found[4].2, &initrd);
    assert_same("kernel", &found[3].2, &read(&dir.path().join("linux")));
    assert_same("stub", &file[0x200..0x600], &stub[0x200..0x600]);
    let (mut memory, mut raw) = (0x3000, 0x600);
    for (name, [len, at, raw_len, raw_at], _) in &found[2..] {
        assert_eq!((*at, *raw_at, *raw_len), (memory, raw, len.next_multiple_of(0x200)), "{name}");
        (memory, raw) = ((at + len).next_multiple_of(0x1000), raw + raw_len);
    }
    assert_eq!((word(&file, 0x58 + 56), file.len()), (memory, raw));
    for (part, section) in [("kernel", 3), ("initramfs", 4), ("cmdline", 2)] {
        run_ok(kimage().current_dir(dir.path()).args(["extract", "x.efi", part, "-o", part]));
        assert_same(part, &read(&dir.path().join(part)), &found[section].2);
    }
    let verified = run(kimage().arg("verify").arg(dir.path().join("x.efi")));
    assert!(!stdout(&verified).contains("[pe."), "{}", stdout(&verified));
    let json = run_ok(uki(dir.path(), &words).arg("--json"));
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!((&json["image"]["format"], &json["image"]["sections"]), (&"uki".into(), &4.into()), "{json:#}");
}

#[test]
fn signed_images_verify() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = parts();
    put(dir.path(), "stub", &program(true, 0));
    let [key, cert] = ["leaf.key", "leaf.pem"].map(|name| keys.join(name).to_str().unwrap().to_owned());
    let words = [&PLAIN[..], &["--cmdline=a", "-o", "x.efi", "--key", &key, "--cert", &cert]].concat();
    run_ok(&mut uki(dir.path(), &words));
    let path = dir.path().join("x.efi");
    let trusted = "digest and signature are right; its certificate is trusted";
    let (_, _, text) = verdict(&path, &["--cert", &cert]);
    assert!(text.contains(trusted), "{text}");
    // The kernel in it is signed, too: no part of what was checked.
    let said = stdout(&run(kimage().arg("verify").arg(&path).args(["--cert", &cert])));
    let inside = "good but for Authenticode signatures of programs inside, which were NOT checked";
    assert!(said.contains(inside) && said.contains("take the program out") && !said.contains("--cert"), "{said}");
    run_ok(kimage().current_dir(dir.path()).args(["extract", "x.efi", "kernel", "-o", "kernel"]));
    let (_, _, text) = verdict(&dir.path().join("kernel"), &["--cert", &cert]);
    assert!(text.contains(trusted), "{text}");
    let once = read(&path);
    run_ok(&mut uki(dir.path(), &words));
    assert_same("made again", &read(&path), &once);
    run_ok(uki(dir.path(), &words).arg("--no-sign-kernel"));
    run_ok(kimage().current_dir(dir.path()).args(["extract", "x.efi", "kernel", "-o", "kernel"]));
    assert_same("left as it is", &read(&dir.path().join("kernel")), &program(true, 0));
    // A signed stub would not be what was signed.
    run_ok(kimage().current_dir(dir.path()).args(["sign", "stub", "--key", &key, "--cert", &cert, "-o", "signed"]));
    let output = run(&mut uki(dir.path(), &["--linux=linux", "--stub=signed", "-o", "y.efi"]));
    assert!(stderr(&output).contains("it is signed") && !dir.path().join("y.efi").exists(), "{}", stderr(&output));
}

#[test]
fn what_makes_no_image() {
    let dir = parts();
    let stub = program(true, 0);
    put(dir.path(), "stub", &stub);
    put(dir.path(), "cut", &stub[..0x210]);
    let mut disorder = stub.clone();
    let pe = word(&stub, 0x3c);
    let table = pe + 24 + usize::from(stub[pe + 20]);
    disorder[table..table + 80].rotate_left(40);
    put(dir.path(), "disorder", &disorder);
    put(dir.path(), "empty", b"");
    put(dir.path(), "arm", &files::efi_image(0xaa64));
    put(dir.path(), "broken.json", b"{\"name\": 1}");
    put(dir.path(), "id.json", br#"{"name": "a", "compatible": "b", "hwids": ["12"]}"#);
    put(dir.path(), "broken.conf", b"[UKI]\nLinux\n");
    let long = "x".repeat(600);
    let cases: &[(&[&str], &str)] = &[
        (&["--stub=cut"], "lie outside of the file"),
        (&["--stub=disorder"], "its sections overlap in memory, or are not in order"),
        (&["--stub=empty"], "e_lfanew"),
        (&["--stub=i1"], "e_magic"),
        (&["--linux=empty"], "an empty file"),
        (&["--linux=i1"], "no EFI program"),
        (&["--linux=arm"], "the stub is for x86-64, the kernel for arm64"),
        (&["--linux=hwids"], "is a folder"),
        (&["--initrd=none"], "none: cannot be opened"),
        (&["--section=.cmdline:x", "--cmdline=y"], ".cmdline is there twice"),
        (&["--section=.much_longer:x"], "more than 8 characters"),
        (&["--section=:x"], "it is no name"),
        (&["--section=x"], "wanted NAME:TEXT"),
        (&["--section=.text:x"], ".text is a section of the stub itself"),
        (&["--linux=cut"], "the kernel has 528 bytes, and its section"),
        (&["--sbat=uki,1,x"], "without the first line of SBAT"),
        (&["--hwids=broken.json"], "description of a device"),
        (&["--hwids=id.json"], "32 hexadecimal digits"),
        (&["--join-profile=linux"], "without sections of a profile"),
        (&["--join-profile=i1"], "e_magic"),
        (&["--config=broken.conf"], "line 2"),
        (&["--key=key"], "--secureboot-certificate"),
        (&["--level=5"], "nothing is compressed here"),
        (&["--compress=lz4"], "nothing is compressed here"),
        (&["--sbat", &long], "without the first line of SBAT"),
    ];
    for (words, wanted) in cases {
        let mut all = words.to_vec();
        let is_given = |option: &str| words.iter().any(|word| word.split('=').next() == option.split('=').next());
        all.extend(PLAIN.iter().filter(|option| !is_given(option)));
        let output = run(uki(dir.path(), &all).args(["-o", "x.efi"]));
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(wanted), "{words:?}: {said}");
        assert!(!dir.path().join("x.efi").exists(), "{words:?}");
    }
    // Asked to make it all the same.
    let words = ["--linux=i1", "--stub=stub", "--os-release=", "--uname=", "--force", "-o", "x.efi"];
    let output = run_ok(&mut uki(dir.path(), &words));
    assert!(stderr(&output).contains("the kernel is no EFI program"), "{}", stderr(&output));
}

/// What is empty in a file is no slip that goes unseen.
#[test]
fn an_empty_file_is_named() {
    let dir = parts();
    put(dir.path(), "stub", &program(true, 0));
    put(dir.path(), "none", b"");
    let words = [&PLAIN[..], &["--initrd=none", "--initrd=i1", "--cmdline=@none", "-o", "x.efi"]].concat();
    let said = stderr(&run_ok(&mut uki(dir.path(), &words)));
    assert_eq!(said.matches("none: is empty, and no section is made of it").count(), 2, "{said}");
    assert!(!stderr(&run_ok(&mut uki(dir.path(), &[&PLAIN[..], &["-o", "x.efi"]].concat()))).contains("is empty"));
}

/// Addons and profiles need no stub: objdump reads the program, ukify joins it, and so does kimage; also one behind a stub with lines
/// of SBAT, which ukify refuses. (That firmware loads such an addon: tests/boot/unified.rs.)
#[test]
fn addons_and_profiles_without_a_stub() {
    let dir = parts();
    let make = |words: &[&str], name: &str| {
        run_ok(uki(dir.path(), words).args(["-o", name]));
        read(&dir.path().join(name))
    };
    let names = |file: &[u8]| sections(file).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    let addon = make(&["--cmdline=debug"], "a.addon.efi");
    assert_eq!(names(&addon), [".text", ".cmdline", ".sbat"]);
    let profile = make(&["--profile=ID=rescue", "--cmdline=single"], "rescue.efi");
    assert_eq!(names(&profile), [".text", ".profile", ".cmdline"]);
    for name in ["a.addon.efi", "rescue.efi"] {
        let (rules, _, text) = verdict(&dir.path().join(name), &[]);
        assert!(rules.is_empty(), "{name}: {text}");
    }
    if let Some(objdump) = tool("objdump", "binutils") {
        let text = stdout(&run_ok(Command::new(objdump).arg("-d").arg(dir.path().join("a.addon.efi"))));
        assert!(text.contains("$0x8000000000000003,%rax") && text.contains("ret"), "{text}");
    }
    let with_sbat =
        files::pe(&[], &[(".text", b"a stub"), (".sbat", b"x"), (".profile", b"ID=rescue"), (".cmdline", b"single")]);
    put(dir.path(), "sbat.efi", &with_sbat);
    let (kernel, lz4) = (testdata("tiny/kernel"), "--compress=lz4");
    let join = |option| ["--linux", kernel.to_str().unwrap(), "--os-release=", lz4, "--cmdline=quiet", option];
    let joined = make(&join("--join-profile=rescue.efi"), "joined.efi");
    assert_eq!(names(&joined)[names(&joined).len() - 3..], [".profile", ".profile", ".cmdline"]);
    assert_same("sbat", &make(&join("--join-profile=sbat.efi"), "again.efi"), &joined);
    let Some((ukify, stub)) = peer("linuxx64.efi.stub") else { return };
    let words = ["--linux=linux", "--os-release=@osrel", "--uname=6.1", "--join-profile=rescue.efi", "--stub", &stub];
    run_ok(
        Command::new(PYTHON).arg(&ukify).current_dir(dir.path()).arg("build").args(words).args(["-o", "theirs.efi"]),
    );
    assert_same("joined", &make(&words, "ours.efi"), &read(&dir.path().join("theirs.efi")));
}

/// A stub of systemd's by its name, and sections.
fn image(more: &[(&str, &[u8])]) -> Vec<u8> {
    let magic = (".sdmagic", &b"#### LoaderInfo: systemd-stub 257 ####"[..]);
    files::pe(&[], &[&[(".text", &b"the stub"[..]), magic], more].concat())
}

#[test]
fn what_a_stub_would_not_start_is_found() {
    let dir = tempdir();
    let arm = files::efi_image(0xaa64);
    let sbat = (".sbat", &b"sbat,1,SBAT Version,sbat,1,x\n"[..]);
    let osrel = (".osrel", &b"ID=x\n"[..]);
    let good = image(&[osrel, sbat, (".linux", &arm)]);
    let mut strict = good.clone();
    strict[64 + 24 + 71] |= 1;
    let cases: &[(&str, Vec<u8>)] = &[
        ("", good),
        ("uki.kernel", image(&[osrel, sbat, (".linux", b"no program")])),
        ("uki.machine", image(&[osrel, sbat, (".linux", &files::efi_image(0x5064))])),
        ("uki.cut", image(&[osrel, sbat, (".linux", &arm[..arm.len() - 0x400])])),
        ("uki.missing", image(&[osrel, sbat, (".initrd", b"070701")])),
        ("uki.repeated", image(&[osrel, sbat, (".linux", &arm), (".cmdline", b"a"), (".cmdline", b"b")])),
        ("uki.profile", image(&[osrel, sbat, (".linux", &arm), (".profile", b"TITLE=x\n")])),
        ("uki.sbat", image(&[osrel, (".linux", &arm)])),
        ("uki.sbat", image(&[osrel, (".sbat", b"systemd,1,x\n"), (".linux", &arm)])),
        ("uki.os_release", image(&[sbat, (".linux", &arm)])),
        ("uki.nx", strict),
    ];
    for (rule, bytes) in cases {
        let (rules, _, text) = verdict(&put(dir.path(), "x.efi", bytes), &[]);
        let found: Vec<&String> = rules.iter().filter(|rule| rule.starts_with("uki.")).collect();
        assert_eq!(found, rule.split(' ').filter(|rule| !rule.is_empty()).collect::<Vec<_>>(), "{rule}: {text}");
    }
    // A profile that follows has the same names again.
    let profiles = [osrel, sbat, (".linux", &arm[..]), (".cmdline", b"a"), (".profile", b"ID=x\n"), (".cmdline", b"b")];
    let (rules, _, text) = verdict(&put(dir.path(), "x.efi", &image(&profiles)), &[]);
    assert!(!rules.iter().any(|rule| rule.starts_with("uki.")), "{text}");
}

/// What kimage's own stub passes over is refused where an image is made, whichever way it comes in, and found in one that has it.
#[test]
fn kimages_own_stub_takes_no_device_tree() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let kernel = kernel.to_str().unwrap();
    put(dir.path(), "a.dtb", &files::dtb());
    put(
        dir.path(),
        "id.json",
        br#"{"name": "a", "compatible": "b", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9296"]}"#,
    );
    let cases = [
        ("--dtb=a.dtb", ".dtb"),
        ("--dtbauto=a.dtb", ".dtbauto"),
        ("--hwids=id.json", ".hwids"),
        ("--section=.efifw:x", ".efifw"),
    ];
    // Nor does it show a picture, or let its own parts be replaced.
    put(dir.path(), "a.bmp", b"BM");
    let plain = ["--linux", kernel, "--os-release=", "--compress=lz4", "-o", "x.efi"];
    let output = run_ok(uki(dir.path(), &plain).arg("--splash=a.bmp"));
    assert!(stderr(&output).contains("kimage's own stub shows no .splash"), "{}", stderr(&output));
    assert!(verdict(&dir.path().join("x.efi"), &[]).0.iter().any(|rule| rule == "uki.splash"));
    for section in [".linux", ".text", ".sbat"] {
        let output = run(uki(dir.path(), &plain).arg(format!("--section={section}:x")));
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains("is a section of the stub itself"), "{section}: {said}");
    }
    for (option, section) in cases {
        let output = run(&mut uki(dir.path(), &["--linux", kernel, "--os-release=", option, "-o", "x.efi"]));
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(&format!("takes no {section}:")), "{option}: {said}");
    }
    let own = (".sdmagic", &b"#### LoaderInfo: kimage 0.1.0 ####"[..]);
    let program = |more: &[(&str, &[u8])]| files::pe(&[], &[&[(".text", &b"the stub"[..]), own], more].concat());
    let rest = [(".osrel", &b"ID=x\n"[..]), (".sbat", b"sbat,1,SBAT Version,sbat,1,x\n"), (".linux", b"packed")];
    for (name, is_found) in [(".dtb", true), (".hwids", true), (".ucode", false)] {
        let file = put(dir.path(), "x.efi", &program(&[&rest[..], &[(name, b"x")]].concat()));
        let (rules, _, text) = verdict(&file, &[]);
        assert_eq!(rules.iter().any(|rule| rule == "uki.not_taken"), is_found, "{name}: {text}");
    }
}
