//! Kernel modules: what `info` says of them is what modinfo says, generated ones of both classes and byte orders and Debian's.

use crate::elf_builder::{Builder, ET_REL, GLOBAL, SHF_ALLOC, SHF_WRITE, SHT_PROGBITS};
use crate::files;
use crate::support::{debian, kimage, missing, put, read, run_ok, stdout, tempdir, tool};
use kimage::codec::Codec;
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
