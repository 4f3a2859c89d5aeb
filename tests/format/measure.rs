//! What a TPM's registers come to, beside systemd-measure, and by values that were read in OVMF with a TPM.

use crate::authenticode::{keys, program, word};
use crate::files;
use crate::support::{kimage, missing, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MEASURE: &str = "/usr/lib/systemd/systemd-measure";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// What kimage says of a file, with these options.
fn measured(file: &Path, options: &[&str]) -> Value {
    let output = run_ok(kimage().arg("measure").arg(file).args(options).arg("--json"));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The only value of a register, SHA-256.
fn value(file: &Path, options: &[&str]) -> String {
    let found = measured(file, &[options, &["--bank", "sha256"]].concat());
    let rows = found["sha256"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{found:#}");
    rows[0]["hash"].as_str().unwrap().to_owned()
}

fn refused(file: &Path, options: &[&str], words: &str) {
    let output = run(kimage().arg("measure").arg(file).args(options));
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains(words), "{options:?}: {said}");
    assert!(stdout(&output).is_empty(), "{options:?}");
}

/// `value` extended by this data.
fn extend(value: &[u8], data: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(value).chain_update(Sha256::digest(data)).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An image with a stub of systemd that says its release.
fn image(release: &str, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let magic = format!("#### LoaderInfo: systemd-stub {release} ####");
    files::pe(&[], &[&[(".text", &b"the stub"[..]), (".sdmagic", magic.as_bytes())], sections].concat())
}

/// A program with more sections.
fn with_sections(stub: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = stub.to_vec();
    let pe = word(&file, 0x3c);
    let table = pe + 24 + usize::from(file[pe + 20]);
    for (name, contents) in sections {
        let count = usize::from(file[pe + 6]);
        let at = table + 40 * count;
        assert!(at + 40 <= word(&file, pe + 24 + 60), "room in the header");
        let memory = word(&file, at - 40 + 12) + word(&file, at - 40 + 8);
        file.resize(file.len().next_multiple_of(0x200), 0);
        let (place, len) = (file.len(), contents.len());
        let numbers = [len, memory.next_multiple_of(0x1000), len.next_multiple_of(0x200), place, 0, 0, 0, 0x4000_0040];
        file[at..at + name.len()].copy_from_slice(name.as_bytes());
        for (index, number) in numbers.into_iter().enumerate() {
            file[at + 8 + 4 * index..][..4].copy_from_slice(&(number as u32).to_le_bytes());
        }
        file.extend_from_slice(contents);
        file.resize(file.len().next_multiple_of(0x200), 0);
        file[pe + 6] += 1;
    }
    file
}

/// The sections that the steps of register 11 are about.
fn order(file: &Path, options: &[&str]) -> Vec<String> {
    let found = measured(file, &[options, &["--explain", "--phase", ":", "--bank", "sha1"]].concat());
    let events = found["events"].as_array().unwrap();
    let name = |event: &Value| event["event"].as_str().unwrap().to_owned();
    events.iter().filter(|event| event["of"] == "the section").map(name).collect()
}

/// All phases and banks, in both forms, are those of systemd-measure, which is given the same sections as files.
#[test]
fn as_systemd_measure() {
    if !Path::new(MEASURE).exists() {
        missing(MEASURE);
        return;
    }
    let dir = tempdir();
    let big = vec![0x5a; 2_000_000];
    let parts: [(&str, &[u8]); 6] = [
        (".initrd", &big),
        (".cmdline", b"console=ttyS0"),
        (".pcrpkey", b"a key"),
        (".linux", b"the kernel, which nobody looks into"),
        (".splash", b"BM"),
        (".osrel", b"ID=tiny\n"),
    ];
    let uname: (&str, &[u8]) = (".uname", b"6.1, which 252 does not measure");
    let sets: [&[(&str, &[u8])]; 2] = [&parts, &parts[1..4]];
    for (index, set) in sets.into_iter().enumerate() {
        let file = put(dir.path(), "uki.efi", &image("252.39-1~deb12u2", &[set, &[uname]].concat()));
        let mut given = Vec::new();
        for (name, contents) in set {
            given.push(format!("--{}={}", &name[1..], put(dir.path(), name, contents).display()));
        }
        for options in [&[][..], &["--phase=:"], &["--phase=a:b", "--phase=enter-initrd"]] {
            let peer = |more: &[&str]| {
                stdout(&run_ok(Command::new(MEASURE).arg("calculate").args(&given).args(options).args(more)))
            };
            let ours = stdout(&run_ok(kimage().arg("measure").arg(&file).args(options)));
            let mut lines: Vec<_> = ours.lines().filter(|line| !line.starts_with('#')).collect();
            let text = peer(&[]);
            let mut wanted: Vec<_> = text.lines().collect();
            // systemd-measure sorts its phases.
            lines.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(lines, wanted, "set {index}, {options:?}");
            let wanted: Value = serde_json::from_str(&peer(&["--json=short"])).unwrap();
            let found = measured(&file, options);
            for (bank, rows) in wanted.as_object().unwrap() {
                let ours = found[bank].as_array().unwrap();
                assert_eq!(ours.len(), rows.as_array().unwrap().len());
                for row in rows.as_array().unwrap() {
                    let phase = row.get("phase").cloned().unwrap_or("".into());
                    let is_it = |one: &&Value| one["phase"] == phase || phase == ":" && one["phase"] == "";
                    let one = ours.iter().find(is_it).unwrap_or_else(|| panic!("{phase}: {found:#}"));
                    assert_eq!((&one["pcr"], &one["hash"]), (&row["pcr"], &row["hash"]), "{phase}");
                }
            }
        }
    }
}

/// The order is the one of the stub's own table, whatever its version text says; without a table, it is that of the release; a
/// release of which nothing is known is an error, and no guess.
#[test]
fn order_of_sections() {
    let dir = tempdir();
    let added: [(&str, &[u8]); 4] = [(".uname", b"u"), (".initrd", b"i"), (".linux", b"k"), (".cmdline", b"c")];
    for (release, wanted) in [
        ("252.1", &[".linux", ".cmdline", ".initrd"][..]),
        ("254", &[".linux", ".cmdline", ".initrd", ".uname"]),
        ("259~rc1", &[".linux", ".cmdline", ".initrd", ".uname"]),
    ] {
        let file = put(dir.path(), "uki.efi", &image(release, &added));
        assert_eq!(order(&file, &[]), wanted, "{release}");
    }
    let file = put(dir.path(), "uki.efi", &image("253", &added));
    refused(&file, &[], "systemd-stub 253 is not known");
    assert_eq!(order(&file, &["--stub-version", "257"]).last().unwrap(), ".uname");
    refused(&file, &["--stub-version", "999"], "systemd-stub 999 is not known");
    let file = put(dir.path(), "uki.efi", &files::uki());
    refused(&file, &[], "the order of the sections of this stub is not known");

    // A table of pointers to names, the last of them null, somewhere in the stub.
    let names = [".uname", ".initrd", ".linux", ".odd", ".pcrsig", ".cmdline"];
    let texts: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
    let place = |name: &str| 0x401 + String::from_utf8_lossy(&texts).find(name).unwrap() as u64;
    // That the first name is `.linux` is not demanded: the table is found by the pointer to it.
    let listed = [".linux", ".odd", ".cmdline", ".pcrsig", ".uname", ".initrd"];
    let table: Vec<u8> = listed.iter().flat_map(|name| place(name).to_le_bytes()).chain([0; 8]).collect();
    let stub = [(".rodata", &[&[0], &texts[..]].concat()[..]), (".data", &[&[7; 24], &table[..]].concat())];
    let magic: (&str, &[u8]) = (".sdmagic", b"#### LoaderInfo: systemd-stub 252 ####");
    let sections = [&stub[..], &[magic], &added, &[(".odd", b"o"), (".pcrsig", b"s")]].concat();
    let file = put(dir.path(), "uki.efi", &files::pe(&[], &sections));
    assert_eq!(order(&file, &[]), [".linux", ".odd", ".cmdline", ".uname", ".initrd"]);

    if !Path::new(STUB).exists() {
        missing(STUB);
        return;
    }
    // Debian 12's stub does not measure .uname: its table tells.
    let real = with_sections(&read(Path::new(STUB)), &added);
    let file = put(dir.path(), "real.efi", &real);
    assert_eq!(order(&file, &[]), [".linux", ".cmdline", ".initrd"]);
    assert!(measured(&file, &[])["stub"].as_str().unwrap().starts_with("systemd-stub 252"));
}

/// Zeros behind a section in memory count, bytes behind it in the file do not; the value is checked by arithmetic of the test.
#[test]
fn sections_as_they_are_in_memory() {
    let dir = tempdir();
    let mut file = image("252", &[(".linux", b"kernel"), (".cmdline", b"quiet")]);
    let at = file.windows(8).position(|name| name == b".linux\0\0").unwrap();
    file[at + 8..at + 12].copy_from_slice(&0x300_u32.to_le_bytes());
    let path = put(dir.path(), "uki.efi", &file);
    let mut kernel = b"kernel".to_vec();
    kernel.resize(0x300, 0);
    let steps: [&[u8]; 4] = [b".linux\0", &kernel, b".cmdline\0", b"quiet"];
    let wanted = steps.into_iter().fold(vec![0; 32], |value, data| extend(&value, data));
    assert_eq!(value(&path, &["--phase", ":"]), hex(&wanted));
    let wanted = extend(&wanted, b"enter-initrd");
    assert_eq!(value(&path, &["--phase", "enter-initrd"]), hex(&wanted));
    // Nobody hashes gigabytes that are not there.
    file[at + 8..at + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&put(dir.path(), "uki.efi", &file), &[], "zeros in memory");
    file[at + 8..at + 12].copy_from_slice(&4_u32.to_le_bytes());
    file[at + 20..at + 24].copy_from_slice(&0x7fff_0000_u32.to_le_bytes());
    refused(&put(dir.path(), "uki.efi", &file), &[], "outside of the file");
}

/// Profiles, and what comes from outside: values of a prototype whose own were read in OVMF with swtpm, stubs 252 and 261.
#[test]
fn from_outside() {
    let dir = tempdir();
    let file = |name: &str, bytes: &[u8]| put(dir.path(), name, bytes);
    let sections: [(&str, &[u8]); 6] = [
        (".linux", b"k"),
        (".uname", b"6.1"),
        (".cmdline", b"base"),
        (".profile", b"ID=a\n"),
        (".profile", b"ID=b\n"),
        (".cmdline", b"own"),
    ];
    let uki = file("uki.efi", &image("257", &sections));
    let found = measured(&uki, &["--phase", ":", "--bank", "sha256", "--pcr", "11"]);
    let rows = found["sha256"].as_array().unwrap();
    for (number, cmdline) in ["base", "own"].into_iter().enumerate() {
        let profile = sections[3 + number].1;
        let steps: [&[u8]; 8] =
            [b".linux\0", b"k", b".cmdline\0", cmdline.as_bytes(), b".uname\0", b"6.1", b".profile\0", profile];
        let wanted = steps.into_iter().fold(vec![0; 32], |value, data| extend(&value, data));
        assert_eq!((&rows[number]["profile"], &rows[number]["hash"]), (&number.into(), &hex(&wanted).into()));
    }

    let addon =
        |name: &str, sections: &[(&str, &[u8])]| file(name, &files::pe(&[], sections)).to_str().unwrap().to_owned();
    let cred = |name: &str, bytes: &[u8]| file(name, bytes).to_str().unwrap().to_owned();
    let options = [
        "--pcr=12".to_owned(),
        "--cmdline=@1 quiet splash".to_owned(),
        "--addon=".to_owned() + &addon("b.addon.efi", &[(".cmdline", b" b=2\n"), (".ucode", b"microcode b")]),
        "--addon=".to_owned()
            + &addon("a.addon.efi", &[(".cmdline", b"a=1"), (".initrd", b"disk a"), (".uname", b"6.1")]),
        "--global-addon=".to_owned() + &addon("z.addon.efi", &[(".cmdline", b"global=1")]),
        "--credential=".to_owned() + &cred("b.cred", b"second"),
        "--credential=".to_owned() + &cred("a.cred", b"first"),
        "--global-credential=".to_owned() + &cred("g.cred", b"all"),
        "--confext=".to_owned() + &cred("c.confext.raw", b"conf"),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    assert_eq!(value(&uki, &options), "a914c7fa9a0fc8661a0718bdb8383905d63b396570cf80ea9097df8ae9f9221a");
    let (x, y) = (cred("x.raw", b"ext"), cred("y.raw", b"another"));
    let sysexts = ["--sysext", &y, "--sysext", &x, "--pcr", "13", "--profile", "0"];
    assert_eq!(value(&uki, &sysexts), "694d43bf810fe1ba629f93682fa3d291cb9ad440f0a1b5e4be40f779f1b65ff1");

    // Secure Boot drops the command line where the image has one; an addon of another kernel does not count.
    let said = |options: &[&str], rule: &str| {
        let found = measured(&uki, options);
        assert!(found["findings"].as_array().unwrap().iter().any(|one| one["rule"] == rule), "{found:#}");
    };
    said(&["--cmdline", "quiet", "--secure-boot"], "measure.cmdline");
    let zeros = "0".repeat(64);
    assert_eq!(value(&uki, &["--cmdline", "quiet", "--secure-boot", "--pcr", "12", "--profile", "0"]), zeros);
    let other = addon("o.addon.efi", &[(".cmdline", b"o"), (".uname", b"6.2")]);
    said(&["--addon", &other], "measure.addon");
    assert_eq!(value(&uki, &["--addon", &other, "--pcr", "12", "--profile", "0"]), zeros);
    let firmware = file("fw.efi", &image("262", &[(".linux", b"k"), (".efifw", b"f")]));
    let found = measured(&firmware, &[]);
    assert_eq!(found["findings"][0]["rule"], "measure.efifw");

    // Of device trees that wait for their hardware, each may be the one that is found, or none.
    let trees = file("trees.efi", &image("257", &[(".dtbauto", b"t"), (".dtbauto", b"u"), (".linux", b"k")]));
    let found = measured(&trees, &["--phase", ":", "--bank", "sha256"]);
    let steps: [&[u8]; 2] = [b".linux\0", b"k"];
    let alone = steps.into_iter().fold(vec![0; 32], |value, data| extend(&value, data));
    let with = |tree: &[u8]| hex(&extend(&extend(&alone, b".dtbauto\0"), tree));
    let hashes: Vec<_> = found["sha256"].as_array().unwrap().iter().map(|row| &row["hash"]).collect();
    assert_eq!(hashes, [&hex(&alone), &with(b"t"), &with(b"u")]);

    refused(&uki, &["--profile", "2"], "there is no profile 2, the image has 2");
    refused(&uki, &["--cmdline", "@1 x", "--profile", "0"], "chooses profile 1");
    refused(&uki, &["--cmdline", " x"], "blanks around it");
    refused(&uki, &["--credential", &x], "end with .cred");
    refused(&uki, &["--pcr", "7"], "register 7");
    refused(&uki, &["--bank", "md5"], "sha256");
    let old = file("old.efi", &image("252", &[(".linux", b"k")]));
    refused(&old, &["--addon", &other], "addons is not known");
    refused(&old, &["--addon", &x], "addons is not known");
    refused(&uki, &["--global-sysext", &x], "extensions of /loader/extensions is not known");
    refused(&uki, &["--addon", &x], "x.raw");
    refused(dir.path(), &[], "folder");
    refused(&file("empty", b""), &[], "ends too early");
}

/// Register 9 of kimage's own stub, for a RAM disk from outside: what files are joined to, where the stub takes them. (That boots measure so:
/// tests/boot/unified.rs and firmware.rs.) Of other stubs nothing is said.
#[test]
fn ram_disks_from_outside() {
    let dir = tempdir();
    let make = |name: &str, cmdline: &str, more: &[&str]| {
        let to = dir.path().join(name);
        let mut command = kimage();
        command.args(["uki", "-q", "--os-release=", "--compress", "lz4", "--cmdline", cmdline, "--linux"]);
        run_ok(command.arg(testdata("tiny/kernel")).args(more).arg("-o").arg(&to));
        to
    };
    let [a, b] = [("a", &b"disk a"[..]), ("b", b"disk b!")].map(|(name, disk)| put(dir.path(), name, disk));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let both = ["--pcr", "9", "--initrd", a, "--initrd", b];
    let (zeros, joined) = ("0".repeat(64), hex(&extend(&[0; 32], b"disk a\0\0disk b!")));
    let plain = make("plain.efi", "quiet", &[]);
    assert_eq!(value(&plain, &["--pcr", "9"]), zeros);
    assert_eq!(value(&plain, &both), joined);
    assert_eq!(value(&plain, &both[..4]), hex(&extend(&[0; 32], b"disk a")));
    let rows = measured(&plain, &["--bank", "sha256", "--phase", ":", "--initrd", a]);
    let numbers: Vec<_> = rows["sha256"].as_array().unwrap().iter().map(|row| row["pcr"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [9, 11]);

    // A file that the command line names, and nobody gives: no value would be true. But one in the image takes its place.
    let named = make("named.efi", r"quiet initrd=\a initrd=\b", &[]);
    refused(&named, &["--pcr", "9"], r"initrd=\a, a file that is not given");
    assert_eq!(value(&named, &both), joined);
    assert_eq!(value(&named, &["--pcr", "9", "--cmdline", "other"]), zeros);
    refused(&named, &["--pcr", "9", "--cmdline", "other", "--secure-boot"], r"initrd=\a");
    refused(&plain, &["--pcr", "9", "--cmdline", r"initrd=\c"], r"initrd=\c");
    let own = make("own.efi", r"initrd=\a", &["--initrd", b]);
    assert_eq!(value(&own, &["--pcr", "9"]), zeros);
    assert_eq!(value(&own, &both), joined);
    let none = [&both[..], &["--cmdline", "quiet noinitrd"]].concat();
    assert_eq!(value(&plain, &none), zeros);
    assert_eq!(measured(&plain, &none)["findings"][0]["rule"], "measure.initrd");
    let addon = put(dir.path(), "a.addon.efi", &files::pe(&[], &[(".cmdline", br"initrd=\d")]));
    refused(&plain, &["--pcr", "9", "--addon", addon.to_str().unwrap()], r"initrd=\d");

    let other = put(dir.path(), "other.efi", &image("257", &[(".linux", b"k")]));
    refused(&other, &["--initrd", a], "register 9: with this stub the kernel measures");
    refused(&put(dir.path(), "program.efi", &program(true, 0)), &["--initrd", a], "no unified kernel image");
}

/// The same of a bzImage around that stub: the load options as they are, whatever becomes of them, and the RAM disk from outside, unless there is
/// one in it. (A boot measures so: tests/boot/standalone_efi.rs.)
#[test]
fn a_bzimage_of_ours() {
    let dir = tempdir();
    let make = |name: &str, more: &[&str]| {
        let to = dir.path().join(name);
        let mut command = kimage();
        run_ok(command.args(["bzimage", "-q"]).arg(testdata("tiny/kernel")).args(more).arg("-o").arg(&to));
        to
    };
    let disk = put(dir.path(), "disk", b"a disk");
    let disk = ["--initrd", disk.to_str().unwrap()];
    let nine = |file: &Path, options: &[&str]| value(file, &[options, &["--pcr", "9"]].concat());
    let after = |events: &[&[u8]]| hex(&events.iter().fold(vec![0; 32], |value, event| extend(&value, event)));
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect() };
    let plain = make("plain", &[]);
    let with = |words: &'static str| [&["--cmdline", words][..], &disk].concat();
    assert_eq!(nine(&plain, &[]), after(&[]));
    assert_eq!(nine(&plain, &["--cmdline", " @1 ä"]), after(&[&wide(" @1 ä")]));
    assert_eq!(nine(&plain, &with("quiet")), after(&[&wide("quiet"), b"a disk"]));
    assert_eq!(nine(&plain, &disk), after(&[b"a disk"]));
    assert_eq!(nine(&plain, &with(r"initrd=\a")), after(&[&wide(r"initrd=\a"), b"a disk"]));
    refused(&plain, &["--cmdline", r"quiet initrd=\a"], r"initrd=\a, a file that is not given");
    let rules = |file: &Path, options: &[&str]| -> Vec<Value> {
        let found = measured(file, &[options, &["--pcr", "9"]].concat());
        found["findings"].as_array().unwrap().iter().map(|one| one["rule"].clone()).collect()
    };
    // What the command line or the image has in place of it.
    let refusing = with("noinitrd");
    assert_eq!(nine(&plain, &refusing), after(&[&wide("noinitrd")]));
    assert_eq!(rules(&plain, &refusing), ["measure.initrd"]);
    let own = make("own", &["--initrd", disk[1]]);
    assert_eq!(nine(&own, &with(r"initrd=\a")), after(&[&wide(r"initrd=\a")]));
    assert_eq!((rules(&own, &with("quiet")), rules(&own, &[])), (vec!["measure.initrd".into()], vec![]));
    // Words that do not count, for there are some in the image: they are measured all the same.
    let built_in = make("built-in", &["--cmdline", r"initrd=\b"]);
    refused(&built_in, &["--pcr", "9"], r"initrd=\b");
    assert_eq!(nine(&built_in, &refusing), after(&[&wide("noinitrd")]));
    let secure = [&refusing[..], &["--secure-boot"]].concat();
    assert_eq!(nine(&built_in, &secure), after(&[&wide("noinitrd"), b"a disk"]));
    let whole = make("whole", &["--cmdline", "quiet", "--cmdline-override"]);
    assert_eq!(nine(&whole, &refusing), after(&[&wide("noinitrd"), b"a disk"]));
    // By default 4, and what something is said about.
    let numbers = |options: &[&str]| -> Vec<u64> {
        let found = measured(&plain, &[options, &["--bank", "sha1"]].concat());
        found["sha1"].as_array().unwrap().iter().map(|row| row["pcr"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&[]), numbers(&disk)), (vec![4], vec![4, 9]));
    refused(&plain, &["--pcr", "11"], "extends register 9 alone");
    refused(&plain, &["--sysext", disk[1]], "no unified kernel image");
    refused(&plain, &["--phase", ":"], "no phases");
    refused(&plain, &["--profile", "0"], "no profiles");
    // A stub that nobody knows.
    let mut bytes = read(&plain);
    let at = bytes.windows(16).position(|words| words == b"LOADED_IMAGE::Lo").unwrap();
    bytes[at] ^= 1;
    refused(&put(dir.path(), "other", &bytes), &["--pcr", "9"], "another version of kimage");
}

/// Register 4: the firmware's own two events, then the Authenticode digest of each program, in the order of their start; of old stubs, the
/// kernel's too, for the firmware starts it.
#[test]
fn programs_that_are_started() {
    let dir = tempdir();
    let program = program(true, 0);
    let kernel = put(dir.path(), "kernel.efi", &program);
    // Neither programs nor table have anything that signing leaves out, but for these two fields.
    let digest = |file: &[u8]| {
        let (sum, entry) = crate::authenticode::fields(file);
        Sha256::digest([&file[..sum], &file[sum + 4..entry], &file[entry + 8..]].concat()).to_vec()
    };
    let started = |digests: &[Vec<u8>]| {
        let begin = extend(&extend(&[0; 32], b"Calling EFI Application from Boot Option"), &[0; 4]);
        let next = |value: Vec<u8>, digest: &Vec<u8>| {
            Sha256::new().chain_update(value).chain_update(digest).finalize().to_vec()
        };
        hex(&digests.iter().fold(begin, next))
    };
    assert_eq!(value(&kernel, &[]), started(&[digest(&program)]));
    let longer = [&program[..], b"123"].concat();
    let odd = put(dir.path(), "odd.efi", &longer);
    assert_eq!(value(&odd, &[]), started(&[digest(&longer)]));
    let [old, new] = ["257", "258"].map(|release| image(release, &[(".linux", &program)]));
    let (before, after) = (put(dir.path(), "old.efi", &old), put(dir.path(), "new.efi", &new));
    let chain = ["--pcr", "4", "--loader", odd.to_str().unwrap()];
    assert_eq!(value(&before, &chain), started(&[digest(&longer), digest(&old), digest(&program)]));
    assert_eq!(value(&after, &chain), started(&[digest(&longer), digest(&new)]));
    let secure = [&chain[..], &["--secure-boot"]].concat();
    assert_eq!(value(&before, &secure), started(&[digest(&longer), digest(&old)]));
    refused(&kernel, &["--pcr", "11"], "no unified kernel image");
    let text = put(dir.path(), "text", b"no program");
    refused(&kernel, &["--loader", text.to_str().unwrap()], "text:");
}

/// The contents of a section.
fn section<'f>(file: &'f [u8], name: &str) -> Vec<&'f [u8]> {
    let pe = word(file, 0x3c);
    let table = pe + 24 + usize::from(file[pe + 20]);
    let all = (0..usize::from(file[pe + 6])).map(|index| table + 40 * index);
    let is_it = |at: &usize| file[*at..at + 8].split(|byte| *byte == 0).next().unwrap() == name.as_bytes();
    all.filter(is_it).map(|at| &file[word(file, at + 20)..][..word(file, at + 8)]).collect()
}

/// A software TPM at a port, which ends with it.
struct Tpm(Child, u16);

impl Tpm {
    fn start(dir: &Path) -> Option<Tpm> {
        let (swtpm, setup) = (tool("swtpm", "swtpm")?, tool("swtpm_setup", "swtpm-tools")?);
        run_ok(Command::new(setup).args(["--tpm2", "--pcr-banks", "sha1,sha256,sha384,sha512", "--tpmstate"]).arg(dir));
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // systemd takes the port behind it for control.
        let port =
            std::iter::repeat_with(free).find(|port| TcpListener::bind(("127.0.0.1", port + 1)).is_ok()).unwrap();
        let mut command = Command::new(swtpm);
        command.args(["socket", "--tpm2", "--server", &format!("type=tcp,port={port}"), "--ctrl"]);
        command.arg(format!("type=tcp,port={}", port + 1)).args([
            "--flags",
            "not-need-init,startup-clear",
            "--tpmstate",
        ]);
        command.arg(format!("dir={}", dir.display())).stdout(Stdio::null()).stderr(Stdio::null());
        let tpm = Tpm(command.spawn().unwrap(), port);
        for _ in 0..100 {
            if run(Command::new("sh").args(["-c", &format!("ss -ltn | grep -q :{port}\\ ")])).status.success() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Some(tpm)
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `.pcrsig` is what systemd-measure signs, `.pcrpkey` what openssl writes; verify holds both to the image.
#[test]
fn values_that_are_signed() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    if !Path::new(STUB).exists() {
        missing(STUB);
        return;
    }
    let dir = tempdir();
    let parts: [(&str, &[u8]); 4] =
        [(".osrel", b"ID=tiny\n"), (".cmdline", b"quiet"), (".linux", &program(true, 0)), (".initrd", b"the disk")];
    let plain = put(dir.path(), "uki.efi", &with_sections(&read(Path::new(STUB)), &parts));
    let key = keys.join("db.key");
    let sign = |from: &Path, to: &str, options: &[&str]| {
        let to = dir.path().join(to);
        run_ok(kimage().args(["measure", "-q", "--sign"]).arg(&key).arg(from).args(options).arg("-o").arg(&to));
        to
    };
    let signed = sign(&plain, "signed.efi", &[]);
    let file = read(&signed);
    let pem = run_ok(Command::new(&openssl).args(["rsa", "-pubout", "-in"]).arg(&key)).stdout;
    assert_eq!(section(&file, ".pcrpkey"), [&pem[..]]);
    for (name, contents) in parts {
        assert_eq!(section(&file, name), [contents], "{name}");
    }
    let again = sign(&signed, "again.efi", &[]);
    assert!(read(&again) == file, "the same bytes each time");
    let json: Value = serde_json::from_slice(section(&file, ".pcrsig")[0]).unwrap();
    for bank in ["sha1", "sha256", "sha384", "sha512"] {
        assert_eq!(json[bank].as_array().unwrap().len(), 4, "{bank}");
    }

    // One policy by arithmetic of the test: TPM2_PolicyPCR of register 11 of the bank of SHA-256.
    let value = value(&signed, &["--phase", "enter-initrd"]);
    let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&value[2 * at..2 * at + 2], 16).unwrap()).collect();
    let selection = [0, 0, 1, 0x7f, 0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0];
    let policy = Sha256::digest([&[0; 32][..], &selection, &Sha256::digest(&bytes)].concat());
    assert_eq!(json["sha256"][0]["pol"], hex(&policy));

    let verdict = |file: &Path| {
        let output = run(kimage().arg("verify").arg("--json").arg(file));
        let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let of = |one: &Value| one["rule"].as_str().unwrap().to_owned();
        let rules: Vec<String> = found["files"][0]["findings"].as_array().unwrap().iter().map(of).collect();
        let mut rules: Vec<_> = rules.into_iter().filter(|rule| rule.starts_with("uki.pcr")).collect();
        rules.dedup();
        (rules, output.status.success())
    };
    assert_eq!(verdict(&signed), (vec![], true));
    let changed = |from: &[u8], to: &[u8]| {
        let at = file.windows(from.len()).position(|found| found == from).unwrap();
        let mut file = file.clone();
        file[at..at + to.len()].copy_from_slice(to);
        verdict(&put(dir.path(), "changed.efi", &file))
    };
    let says =
        |rules: &[&str], is_good: bool| (rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>(), is_good);
    assert_eq!(changed(b"quiet", b"debug"), says(&["uki.pcr_policy", "uki.pcrsig"], true));
    let signature = json["sha384"][2]["sig"].as_str().unwrap();
    let wrong = if signature.starts_with('A') { b"B" } else { b"A" };
    assert_eq!(changed(signature.as_bytes(), wrong), says(&["uki.pcr_signature"], false));
    assert_eq!(changed(b"{\"sha1\"", b"[\"sha1\""), says(&["uki.pcr_signature"], false));
    // Of another phase it is not known whether it comes.
    let phase = sign(&plain, "phase.efi", &["--phase", "enter-initrd", "--phase", "enter-initrd:other"]);
    assert_eq!(verdict(&phase), says(&["uki.pcrsig"], true));
    // A second key: its signatures stand beside those of the first; the image's own key stays.
    let other = keys.join("other.key");
    let two = dir.path().join("two.efi");
    let mut command = kimage();
    command.args(["measure", "--bank", "sha256"]).arg(&signed).arg("--sign").arg(&key).arg("--sign").arg(&other);
    let output = run_ok(command.arg("-o").arg(&two));
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    let json: Value = serde_json::from_slice(section(&read(&two), ".pcrsig")[0]).unwrap();
    assert_eq!((json["sha256"].as_array().unwrap().len(), json.get("sha1")), (8, None));
    assert_eq!(verdict(&two), says(&["uki.pcrsig"], true));
    let output = run_ok(kimage().arg("measure").arg(&signed).arg("--sign").arg(&other).arg("-o").arg(&two));
    assert!(stderr(&output).contains("the key in .pcrpkey is none of those that sign"), "{}", stderr(&output));

    // Without the public key nobody can say whose signatures they are.
    let json = put(dir.path(), "pcrsig", section(&read(&signed), ".pcrsig")[0]);
    let mut command = kimage();
    command
        .args(["uki", "-q", "--stub", STUB, "--os-release=", "--section"])
        .arg(format!(".pcrsig:@{}", json.display()));
    run_ok(command.arg("--linux").arg(put(dir.path(), "kernel.efi", &program(true, 0))).arg("-o").arg(&two));
    let output = run_ok(kimage().arg("verify").arg(&two));
    let words = "signatures have no key in .pcrpkey to check them with, not checked";
    assert!(stdout(&output).contains(words), "{}", stdout(&output));

    // The same while the image is made: as ukify, whose layout tests/format/uki.rs compares.
    let made = dir.path().join("made.efi");
    let mut command = kimage();
    command.args(["uki", "-q", "--stub", STUB, "--cmdline", "quiet", "--os-release", "ID=tiny", "--linux"]);
    command.arg(put(dir.path(), "kernel.efi", &program(true, 0))).arg("--pcr-private-key").arg(&key);
    command.args(["--pcr-banks", "sha256,sha1", "--phases", "enter-initrd enter-initrd:leave-initrd"]);
    run_ok(command.arg("--pcr-public-key").arg(put(dir.path(), "pub.pem", &pem)).arg("-o").arg(&made));
    assert_eq!((section(&read(&made), ".pcrpkey"), verdict(&made).0), (vec![&pem[..]], vec![]));
    let json: Value = serde_json::from_slice(section(&read(&made), ".pcrsig")[0]).unwrap();
    assert_eq!(json["sha1"].as_array().unwrap().len(), 2);
    let phases = ["--phase", "enter-initrd", "--phase", "enter-initrd:leave-initrd", "--bank", "sha256,sha1"];
    let again = sign(&made, "again.efi", &phases);
    assert!(read(&again) == read(&made), "signed afterwards, it has the same bytes");

    // What cannot be signed.
    let refused = |key: &str, file: &Path, words: &str| {
        let output = run(kimage().arg("measure").arg(file).arg("--sign").arg(keys.join(key)).arg("-o").arg(&two));
        assert!(!output.status.success() && stderr(&output).contains(words), "{}", stderr(&output));
    };
    refused("ec256.key", &plain, "not RSA");
    refused("none.key", &plain, "none.key");
    let secure = dir.path().join("secure.efi");
    crate::authenticode::sign(&signed, "db", &secure, &[]);
    assert_eq!(verdict(&secure), (vec![], true));
    refused("db.key", &secure, "signed for Secure Boot");
    refused("db.key", &put(dir.path(), "program.efi", &program(true, 0)), "no unified kernel image");

    if !Path::new(MEASURE).exists() {
        missing(MEASURE);
        return;
    }
    // systemd-measure 252 wants a TPM, and signs the other banks with another hash than systemd checks.
    let state = tempdir();
    let Some(tpm) = Tpm::start(state.path()) else { return };
    let public = put(dir.path(), "public.pem", &pem);
    let mut peer = Command::new(MEASURE);
    peer.args(["sign", "--bank=sha256", "--json=short"])
        .arg(format!("--tpm2-device=swtpm:host=127.0.0.1,port={}", tpm.1));
    for (name, contents) in parts.iter().chain([&(".pcrpkey", &pem[..])]) {
        peer.arg(format!("--{}={}", &name[1..], put(dir.path(), name, contents).display()));
    }
    peer.arg(format!("--private-key={}", key.display())).arg(format!("--public-key={}", public.display()));
    let wanted: Value = serde_json::from_str(&stdout(&run_ok(&mut peer))).unwrap();
    let json: Value = serde_json::from_slice(section(&file, ".pcrsig")[0]).unwrap();
    assert_eq!(json["sha256"], wanted["sha256"]);
}
