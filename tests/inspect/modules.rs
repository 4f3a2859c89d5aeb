//! Kernel modules: what `info` says of them is what modinfo says, generated ones of both classes and byte orders and Debian's.
//! Whether they fit a kernel: generated kernels of each form of export tables, Debian's against the Module.symvers of their build.

use crate::elf_builder::{Builder, ET_REL, GLOBAL, PT_LOAD, SHF_ALLOC, SHF_WRITE, SHT_PROGBITS};
use crate::files;
use crate::support::{debian, debian_kernel, kimage, missing, put, read, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::codec::Codec;
use kimage::inspect::verify::fits as fits_kernel;
use kimage::inspect::{Limits, open};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module in the making; what is imported has a checksum.
struct Module {
    is_64: bool,
    big_endian: bool,
    machine: u16,
    info: &'static [u8],
    imports: &'static [(&'static str, u32)],
}

const INFO: &[u8] = b"version=1.2\0license=Dual BSD/GPL\0depends=crc16,lib\0name=sample\0\
    vermagic=6.1.0-test SMP preempt mod_unload modversions \0parm=level:how much\0parmtype=level:int\0parmtype=mode:charp\0";
const IMPORTS: &[(&str, u32)] = &[("module_layout", 0x8d51_0a3c), ("_printk", 0x9212_ab5c), ("kfree", 0x037a_0cba)];
const X86: Module = Module { is_64: true, big_endian: false, machine: 62, info: INFO, imports: IMPORTS };

impl Module {
    fn elf(&self) -> Vec<u8> {
        let mut elf = Builder::new(self.is_64, self.big_endian, self.machine);
        elf.kind = ET_REL;
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC | 4, 0, &[0x90; 16]);
        elf.section(".modinfo", SHT_PROGBITS, SHF_ALLOC, 0, self.info);
        let number = |value: u64, width: usize| match self.big_endian {
            true => value.to_be_bytes()[8 - width..].to_vec(),
            false => value.to_le_bytes()[..width].to_vec(),
        };
        let word = if self.is_64 { 8 } else { 4 };
        let mut versions = Vec::new();
        for (name, crc) in self.imports {
            let start = versions.len();
            versions.extend(number(u64::from(*crc), word));
            versions.extend(name.bytes());
            versions.resize(start + 64, 0);
            elf.symbol(name, 0, GLOBAL, 0);
        }
        if !versions.is_empty() {
            elf.section("__versions", SHT_PROGBITS, SHF_ALLOC, 0, &versions);
        }
        let mut this = vec![0; 3 * word];
        this.extend(b"sample\0");
        this.resize(0x200, 0);
        elf.section(".gnu.linkonce.this_module", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0, &this);
        elf.build()
    }
}

/// Signed as scripts/sign-file does it.
fn signed(dir: &Path, openssl: &Path, module: &[u8], hash: &str) -> Vec<u8> {
    let (key, cert, plain) = (dir.join("key.pem"), dir.join("cert.pem"), put(dir, "plain", module));
    if !key.exists() {
        let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=Tests/CN=The key of this test"];
        run_ok(Command::new(openssl).args(request).arg("-keyout").arg(&key).arg("-out").arg(&cert));
    }
    let sign = ["cms", "-sign", "-binary", "-noattr", "-nocerts", "-outform", "DER", "-md", hash];
    let sign =
        run_ok(Command::new(openssl).args(sign).arg("-in").arg(plain).arg("-signer").arg(cert).arg("-inkey").arg(key));
    let len = u32::try_from(sign.stdout.len()).unwrap().to_be_bytes();
    [module, &sign.stdout, &[0, 0, 2, 0, 0, 0, 0, 0], &len, b"~Module signature appended~\n"].concat()
}

fn facts(path: &Path) -> (Value, Value) {
    let report: Value = serde_json::from_slice(&run_ok(kimage().args(["info", "--json"]).arg(path)).stdout).unwrap();
    let layer = report["files"][0]["layers"].as_array().unwrap().last().unwrap().clone();
    (layer["facts"].clone(), layer)
}

/// The two say the same of a module.
fn agree(modinfo: &Path, path: &Path) {
    let (facts, _) = facts(path);
    let said = |field: &str| stdout(&run_ok(Command::new(modinfo).args(["-F", field]).arg(path)));
    for (fact, field) in [
        ("license", "license"),
        ("vermagic", "vermagic"),
        ("depends", "depends"),
        ("signer", "signer"),
        ("signature_hash", "sig_hashalgo"),
        ("version", "version"),
    ] {
        let found = facts[fact]["value"].as_str().unwrap_or_default();
        assert_eq!(found, said(field).strip_suffix('\n').unwrap_or_default(), "{} {fact}", path.display());
    }
    let parameters = said("parm").lines().count() as u64;
    assert_eq!(facts["parameters"]["value"], parameters, "{}", path.display());
    let form = facts["signature"]["value"].as_str().unwrap();
    assert_eq!(form.replace("none", ""), said("sig_id").trim(), "{}", path.display());
}

#[test]
fn what_modinfo_says() {
    let (Some(openssl), Some(modinfo)) = (tool("openssl", "openssl"), tool("modinfo", "kmod")) else { return };
    let dir = tempdir();
    for module in [X86, Module { is_64: false, big_endian: true, machine: 20, ..X86 }, Module { imports: &[], ..X86 }] {
        let elf = module.elf();
        for (name, bytes) in [
            ("plain.ko", elf.clone()),
            ("sha256.ko", signed(dir.path(), &openssl, &elf, "sha256")),
            ("sha512.ko.xz", files::packed(Codec::Xz, &signed(dir.path(), &openssl, &elf, "sha512"))),
        ] {
            let path = put(dir.path(), name, &bytes);
            agree(&modinfo, &path);
            let (facts, layer) = facts(&path);
            assert_eq!(facts["name"]["value"], "sample");
            assert_eq!(facts["parameters"]["value"], 2);
            assert_eq!(facts["modversions"]["value"], module.imports.len());
            assert!(layer["title"].as_str().unwrap().starts_with("kernel module, "), "{layer}");
            let is_signed = name.starts_with("sha");
            assert_eq!(facts["signer"]["value"].as_str(), is_signed.then_some("The key of this test"));
            let line = stdout(&run_ok(kimage().arg("verify").arg(&path)));
            assert_eq!(line.contains("[module.signature]"), is_signed, "{line}");
            assert_eq!(line.contains("signatures of kernel modules, which were NOT checked"), is_signed, "{line}");
        }
    }
    // Before PKCS #7 the signer's name stood in front of the signature (Linux 3.7 to 4.2).
    let old = [&X86.elf()[..], b"Some signer", b"key id", &[9; 256], &[1, 6, 1, 11, 6, 0, 0, 0, 0, 0, 1, 0]].concat();
    let (facts, _) = facts(&put(dir.path(), "old.ko", &[&old[..], b"~Module signature appended~\n"].concat()));
    let value = |name: &str| facts[name]["value"].as_str();
    assert_eq!((value("signature"), value("signer")), (Some("X.509"), Some("Some signer")));
    assert_eq!(value("signature_hash"), Some("sha512"));
}

/// Debian's modules of one kernel, by the name of its folder in the cache.
fn modules(kernel: &str) -> Vec<PathBuf> {
    let folder = debian().join(kernel).join("modules");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
    let files: Vec<_> = files.filter(|path| path.to_string_lossy().contains(".ko")).collect();
    if files.is_empty() {
        missing(&format!("no modules in {} (sh tests/fetch-debian.sh)", folder.display()));
    }
    files
}

#[test]
fn what_modinfo_says_of_debians() {
    let Some(modinfo) = tool("modinfo", "kmod") else { return };
    for (kernel, cpu) in [
        ("bookworm-amd64-cloud-amd64", "x86-64"),
        ("bookworm-arm64-cloud-arm64", "arm64"),
        ("bookworm-armhf-armmp", "ARM"),
        ("bookworm-mipsel-4kc-malta", "MIPS"),
        ("trixie-amd64-cloud-amd64", "x86-64"),
    ] {
        for path in modules(kernel) {
            agree(&modinfo, &path);
            let (facts, _) = facts(&path);
            assert_eq!(facts["arch"]["value"], cpu);
            // Each symbol of others has a checksum, and so has the module's own layout.
            let is_packed = path.extension().is_some_and(|extension| extension != "ko");
            if !is_packed {
                let bytes = read(&path);
                let elf = goblin::elf::Elf::parse(&bytes).unwrap();
                let versions =
                    elf.section_headers.iter().find(|header| &elf.shdr_strtab[header.sh_name] == "__versions");
                assert_eq!(facts["modversions"]["value"], versions.unwrap().sh_size / 64, "{}", path.display());
            }
        }
    }
}

/// How a kernel's tables of exports are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tables {
    /// Sections of their own, with names.
    sections: bool,
    /// Distances instead of addresses.
    distances: bool,
    /// Bytes of a checksum; 0 without.
    width: usize,
    /// Checksums are distances to where they stand.
    far: bool,
}

const PLAIN: Tables = Tables { sections: true, distances: true, width: 4, far: false };
const MAGIC: &str = "6.1.0-test SMP preempt mod_unload modversions ";

/// A kernel that exports these symbols, and forty more.
fn kernel(tables: Tables, magic: &str, own: &[(&str, u32)]) -> Vec<u8> {
    const BASE: u64 = 0xffff_ffff_8100_0000;
    let more: Vec<String> = (0..40).map(|n| format!("exported_{n:02}")).collect();
    let exports: Vec<(&str, u32)> = own.iter().copied().chain(more.iter().map(|name| (&**name, 7))).collect();
    let release = magic.split(' ').next().unwrap();
    let mut head = format!("Linux version {release} (a@b) (gcc 12) #1 SMP\n\0{magic}\0").into_bytes();
    head.resize(head.len().next_multiple_of(16), 0);
    let stride = if tables.distances { 12 } else { 16 };
    let entries_at = head.len();
    let crcs_at = entries_at + exports.len() * stride;
    let names_at = crcs_at + exports.len() * tables.width;
    let names: Vec<u8> = exports.iter().flat_map(|(name, _)| name.bytes().chain([0])).collect();
    let far_at = (names_at + names.len()).next_multiple_of(8);
    let (mut entries, mut crcs, mut far, mut name_at) = (Vec::new(), Vec::new(), Vec::new(), names_at);
    let distance = |from: usize, to: usize| (to as i32 - from as i32).to_le_bytes();
    for (index, (name, crc)) in exports.iter().enumerate() {
        let at = entries_at + index * stride;
        if tables.distances {
            entries.extend([distance(at, 16), distance(at + 4, name_at), [0; 4]].concat());
        } else {
            entries.extend([(BASE + 16).to_le_bytes(), (BASE + name_at as u64).to_le_bytes()].concat());
        }
        let plain = u64::from(*crc).to_le_bytes();
        let slot = crcs_at + index * tables.width;
        crcs.extend(if tables.far {
            distance(slot, far_at + index * 4).to_vec()
        } else {
            plain[..tables.width].to_vec()
        });
        far.extend(crc.to_le_bytes());
        name_at += name.len() + 1;
    }
    let mut rest = vec![0; far_at - names_at - names.len()];
    rest.extend(far);
    let mut elf = Builder::new(true, false, 62);
    let parts =
        [(".head", head), ("__ksymtab", entries), ("__kcrctab", crcs), ("__ksymtab_strings", names), (".rest", rest)];
    let mut at = BASE;
    for (name, bytes) in parts {
        let name = if tables.sections { name.to_owned() } else { format!(".{name}") };
        elf.section(&name, SHT_PROGBITS, SHF_ALLOC, at, &bytes);
        at += bytes.len() as u64;
    }
    elf.segment(PT_LOAD, 1..elf.sections.len(), 0x100_0000);
    elf.entry = 0x100_0000;
    elf.build()
}

/// The ids of what `verify --kernel` finds, its exit status and its verdict.
fn fits(dir: &Path, module: &[u8], kernel: &[u8]) -> (Vec<String>, i32, String) {
    let (module, kernel) = (put(dir, "a.ko", module), put(dir, "kernel", kernel));
    let output = run(kimage().args(["verify", "--json"]).arg(&module).arg("--kernel").arg(&kernel));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let findings = report["files"][0]["findings"].as_array().unwrap();
    let ids = findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect();
    (ids, output.status.code().unwrap(), report.to_string())
}

#[test]
fn does_it_fit() {
    let dir = tempdir();
    let elf = X86.elf();
    let with = |imports: &'static [(&'static str, u32)]| Module { imports, ..X86 }.elf();
    let other = |info: &'static [u8]| Module { info, ..X86 }.elf();
    // Each form of tables tells the same: all fits; another checksum; a symbol that is not there.
    for tables in [
        PLAIN,
        Tables { sections: false, ..PLAIN },
        Tables { width: 8, distances: false, ..PLAIN },
        Tables { width: 8, distances: false, sections: false, ..PLAIN },
        Tables { far: true, ..PLAIN },
        Tables { far: true, sections: false, ..PLAIN },
    ] {
        let (ids, status, report) = fits(dir.path(), &elf, &kernel(tables, MAGIC, IMPORTS));
        assert_eq!((&*ids, status), (&[][..], 0), "{tables:?}: {report}");
        let changed = [IMPORTS[0], IMPORTS[1], ("kfree", 1)];
        let (ids, status, report) = fits(dir.path(), &elf, &kernel(tables, MAGIC, &changed));
        assert_eq!((ids, status), (vec!["module.crc".to_owned()], 1), "{tables:?}: {report}");
        assert!(report.contains("found 0x37a0cba for kfree, wanted 0x1"), "{report}");
    }
    let good = kernel(PLAIN, MAGIC, IMPORTS);
    const ALONE: &[u8] = b"depends=\0vermagic=6.1.0-test SMP preempt mod_unload modversions \0";
    const UP: &[u8] = b"depends=\0vermagic=6.1.0-test preempt mod_unload modversions \0";
    const RELEASE: &[u8] = b"depends=\0vermagic=6.1.1-other SMP preempt mod_unload modversions \0";
    const WANTS: &[(&str, u32)] = &[("module_layout", 0x8d51_0a3c), ("nobody_has_it", 5)];
    let arm = Module { machine: 183, ..X86 }.elf();
    let without = kernel(Tables { width: 0, ..PLAIN }, "6.1.0-test SMP preempt mod_unload ", IMPORTS);
    for (what, module, kernel, wanted, status) in [
        ("another CPU", arm, &good, vec!["module.cpu"], 1),
        ("another flag", other(UP), &good, vec!["module.vermagic"], 1),
        // Checksums stand for the release, where the kernel has them.
        ("another release", other(RELEASE), &good, vec![], 0),
        ("a kernel without checksums", elf.clone(), &without, vec!["module.vermagic", "module.unchecked"], 1),
        ("a symbol of a module", with(WANTS), &good, vec!["module.unchecked"], 0),
        ("no symbol", Module { info: ALONE, imports: WANTS, ..X86 }.elf(), &good, vec!["module.symbol"], 1),
        ("no vermagic", other(b"license=GPL\0"), &good, vec!["module.vermagic"], 1),
        ("no module", good.clone(), &good, vec!["module.none"], 1),
        ("no kernel", elf.clone(), &elf, vec!["module.none"], 1),
    ] {
        let (ids, found, report) = fits(dir.path(), &module, kernel);
        assert_eq!((ids, found), (wanted.iter().map(|id| (*id).to_owned()).collect(), status), "{what}: {report}");
    }
    // A kernel that has no table of exports at all: nobody knows.
    let bare =
        kernel(PLAIN, MAGIC, IMPORTS).iter().map(|byte| if *byte == b'_' { 1 } else { *byte }).collect::<Vec<_>>();
    let (ids, status, report) = fits(dir.path(), &elf, &bare);
    assert_eq!((ids.contains(&"module.unknown".to_owned()), status), (true, 1), "{report}");
    assert!(
        stderr(&run(kimage()
            .arg("verify")
            .arg(dir.path().join("a.ko"))
            .arg("--kernel")
            .arg(dir.path().join("kernel"))))
        .is_empty()
    );
}

/// The text of a build, in which the symbols of modules are, too.
#[test]
fn against_a_builds_module_symvers() {
    let dir = tempdir();
    let line = |(name, crc): &(&str, u32), owner: &str| format!("{crc:#010x}\t{name}\t{owner}\tEXPORT_SYMBOL\t\n");
    let own: String = IMPORTS.iter().map(|export| line(export, "vmlinux")).collect();
    let lib = line(&("nobody_has_it", 5), "lib/lib") + &line(&("crc16", 9), "lib/crc16");
    const WANTS: &[(&str, u32)] = &[("module_layout", 0x8d51_0a3c), ("nobody_has_it", 5)];
    let wants = Module { imports: WANTS, ..X86 }.elf();
    let unchecked = ["module.unchecked", "module.unchecked"];
    for (module, text, more, status) in [
        (X86.elf(), own.clone(), None, 0),
        (wants.clone(), format!("{own}{lib}"), None, 0),
        // crc16, on which it depends, is not in it.
        (wants.clone(), own.clone(), Some("module.unchecked"), 0),
        (wants.clone(), format!("{own}{}", lib.replace("nobody_has_it", "renamed")), Some("module.symbol"), 1),
        (wants.clone(), format!("{own}{}", lib.replace("0x00000005", "0x00000006")), Some("module.crc"), 1),
        (wants, lib, Some("module.unknown"), 1),
    ] {
        let (mut ids, found, report) = fits(dir.path(), &module, text.as_bytes());
        let mut all: Vec<&str> = unchecked.into_iter().chain(more).collect();
        all.sort_unstable();
        ids.sort();
        assert_eq!((ids.iter().map(String::as_str).collect(), found), (all, status), "{report}");
    }
    let damaged = put(dir.path(), "damaged", format!("{own}and more\n").as_bytes());
    assert_eq!(run(kimage().arg("verify").arg(damaged)).status.code(), Some(1));
}

/// Symbols for the GPL alone, and those of a namespace: by the sections of a vmlinux, by the order of the names in a flat table, by
/// Module.symvers. The oracle is kernel/module/main.c, whose answers stand beside.
#[test]
fn licenses_and_namespaces() {
    let dir = tempdir();
    const MAGIC_ALONE: &str = "6.1.0-test SMP preempt mod_unload ";
    let info = |more: &str| -> &'static [u8] {
        format!("vermagic={MAGIC_ALONE}\0depends=\0name=kvm-x\0{more}").into_bytes().leak()
    };
    let module = |more: &str| Module { info: info(more), imports: &[("zz_last", 0)], ..X86 };
    let imports = |name: &'static str, more: &str| {
        let mut elf = module(more);
        elf.imports = vec![(name, 7)].leak();
        elf.elf()
    };
    // In the order of the names: those for all, then those for the GPL.
    let all: Vec<(String, u32)> = (10..60).map(|n| (format!("free_{n}"), 7)).collect();
    let mut symvers = String::new();
    for (name, crc) in &all {
        symvers += &format!("{crc:#010x}\t{name}\tvmlinux\tEXPORT_SYMBOL\t\n");
    }
    symvers += "0x00000007\tclosed_1\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x00000007\tclosed_2\tvmlinux\tEXPORT_SYMBOL_GPL\tDMA_BUF\n\
                0x00000007\tclosed_3\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:kvm-*,other\n";
    for (what, module, wanted) in [
        ("GPL", imports("closed_1", "license=GPL\0"), &[][..]),
        ("dual", imports("closed_1", "license=Dual MIT/GPL\0"), &[]),
        ("proprietary", imports("closed_1", "license=Proprietary\0"), &["module.license"]),
        ("like GPL", imports("closed_1", "license=GPL v3\0"), &["module.license"]),
        ("none", imports("closed_1", ""), &["module.license"]),
        ("for all", imports("free_11", "license=Proprietary\0"), &[]),
        ("imported", imports("closed_2", "license=GPL\0import_ns=X\0import_ns=DMA_BUF\0"), &[]),
        ("not imported", imports("closed_2", "license=GPL\0import_ns=X\0"), &["module.unknown"]),
        ("for modules of that name", imports("closed_3", "license=GPL\0"), &[]),
    ] {
        let (ids, status, report) = fits(dir.path(), &module, symvers.as_bytes());
        let ids: Vec<&str> = ids.iter().map(String::as_str).filter(|id| *id != "module.unchecked").collect();
        assert_eq!((&*ids, status), (wanted, i32::from(!wanted.is_empty())), "{what}: {report}");
    }
    // A kernel whose table has two runs of names; one that complains of namespaces, and one that warns.
    let mut own: Vec<(&str, u32)> = vec![("_printk", 7)];
    own.extend(all.iter().map(|(name, crc)| (name.as_str(), *crc)));
    own.push(("closed_1", 7));
    let plain = Tables { width: 4, sections: false, ..PLAIN };
    let kernel = |magic: &str| kernel(plain, magic, &own);
    for (what, module, wanted) in [
        ("GPL", imports("closed_1", "license=GPL\0"), &[][..]),
        ("proprietary", imports("closed_1", "license=Proprietary\0"), &["module.license"]),
        ("for all", imports("free_11", "license=Proprietary\0"), &[]),
    ] {
        let (ids, _, report) = fits(dir.path(), &module, &kernel(MAGIC_ALONE));
        assert_eq!(ids, wanted, "{what}: {report}");
    }
}

/// Debian's kernels say of each symbol what Module.symvers of their build says: for the GPL alone or not, and its namespace; and
/// refuse what is not imported, as CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS is not set.
#[test]
fn licenses_and_namespaces_of_debians() {
    for name in ["bookworm-amd64-cloud-amd64", "bookworm-armhf-armmp", "trixie-amd64-cloud-amd64"] {
        let Some(kernel) = debian_kernel(name) else { continue };
        let symvers = kernel.with_file_name("modules").join("Module.symvers");
        let Ok(text) = fs::read_to_string(&symvers) else {
            missing(&format!("no {} (sh tests/fetch-debian.sh)", symvers.display()));
            continue;
        };
        let lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let own: Vec<_> = lines.filter(|fields| fields[2] == "vmlinux").collect();
        let find = |is: &dyn Fn(&[&str]) -> bool| -> Vec<String> {
            own.iter().filter(|fields| is(fields)).map(|fields| fields[1].to_owned()).collect()
        };
        let free: Vec<String> = find(&|fields| fields[3] == "EXPORT_SYMBOL" && fields[4].is_empty());
        let closed: Vec<String> = find(&|fields| fields[3] == "EXPORT_SYMBOL_GPL" && fields[4].is_empty());
        let spaced: Vec<String> = find(&|fields| !fields[4].is_empty());
        assert!(free.len() > 1000 && closed.len() > 1000 && spaced.len() > 10, "{name}");
        let machine = if name.contains("armhf") { 40 } else { 62 };
        let image = read(&kernel);
        let opened = open(&image, &Limits::default()).unwrap();
        let ask = fits_kernel(&opened);
        let wants = |names: &[&[String]], license: &str| {
            let info = format!("license={license}\0").into_bytes().leak();
            let imports: Vec<(&'static str, u32)> =
                names.iter().copied().flatten().map(|name| (&*name.clone().leak(), 0)).collect();
            let module = Module { info, imports: imports.leak(), machine, is_64: machine == 62, ..X86 }.elf();
            let found = ask(&open(&module, &Limits::default()).unwrap()).findings;
            let message = |rule: &str| {
                found.iter().find(|it| it.finding.rule == rule).map(|it| it.finding.message.clone()).unwrap_or_default()
            };
            ["module.license", "module.namespace", "module.unchecked", "module.symbol"].map(message)
        };
        assert_eq!(wants(&[&free], "Proprietary"), [""; 4], "{name}");
        assert_eq!(wants(&[&free, &closed], "GPL"), [""; 4], "{name}");
        let count = |names: &[String]| format!("and {} more", names.len() - 1);
        let [license, namespace, ..] = wants(&[&free, &closed], "Proprietary");
        assert!(license.contains(&count(&closed)) && namespace.is_empty(), "{name}: {license} {namespace}");
        let [license, namespace, ..] = wants(&[&free, &spaced], "GPL");
        assert!(license.is_empty() && namespace.contains(&count(&spaced)), "{name}: {license} {namespace}");
    }
}

#[test]
fn exports_that_changed() {
    let dir = tempdir();
    let old = put(dir.path(), "old", &kernel(PLAIN, MAGIC, IMPORTS));
    let new = put(
        dir.path(),
        "new",
        &kernel(Tables { sections: false, ..PLAIN }, MAGIC, &[("_printk", 1), ("kfree", 0x037a_0cba)]),
    );
    let diff = |left: &Path, right: &Path| run(kimage().args(["diff", "--abi"]).args([left, right]));
    let output = diff(&old, &new);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().skip(3).collect();
    let wanted =
        ["  symbol _printk", "    - 0x9212ab5c", "    + 0x00000001", "  symbol module_layout", "    - 0x8d510a3c"];
    assert_eq!(lines, wanted, "{text}");
    let same = diff(&old, &old);
    assert!(same.status.success() && stdout(&same).contains("export the same to modules"), "{}", stdout(&same));
    // What is not known is not called gone.
    let none = diff(&old, &put(dir.path(), "a.ko", &X86.elf()));
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("no exported symbols were found") && none.stdout.is_empty(), "{}", stderr(&none));
}

/// Debian's images say what the Module.symvers of the same build says, symbol for symbol, and take its modules.
#[test]
fn debians_kernels_and_their_modules() {
    for name in
        ["bookworm-amd64-cloud-amd64", "bookworm-arm64-cloud-arm64", "bookworm-armhf-armmp", "trixie-amd64-cloud-amd64"]
    {
        let (Some(kernel), files) = (debian_kernel(name), modules(name)) else { continue };
        let symvers = kernel.with_file_name("modules").join("Module.symvers");
        if files.is_empty() {
            continue; // no gap: modules() says so
        }
        let same = run(kimage().args(["diff", "--abi"]).args([&kernel, &symvers]));
        assert!(same.status.success(), "{name}: {}{}", stdout(&same), stderr(&same));
        for reference in [&kernel, &symvers] {
            run_ok(kimage().arg("verify").args(&files).arg("--kernel").arg(reference));
        }
    }
    let (Some(other), files) = (debian_kernel("trixie-amd64-cloud-amd64"), modules("bookworm-amd64-cloud-amd64"))
    else {
        return;
    };
    let output = run(kimage().arg("verify").args(&files).arg("--kernel").arg(&other));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).matches("for module_layout").count(), files.len(), "{}", stdout(&output));
}
