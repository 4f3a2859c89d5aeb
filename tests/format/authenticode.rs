//! EFI programs signed for Secure Boot, beside sbsign, osslsigncode and pesign: each holds what the others signed.

use crate::files;
use crate::support::{
    self, assert_same, debian_kernel, kimage, missing, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Keys with certificates, made once by openssl: NAME.key and NAME.pem; `leaf` is issued by `root`.
pub(crate) fn keys() -> Option<&'static Path> {
    static KEYS: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let openssl = tool("openssl", "openssl")?;
        let dir = tempdir();
        let make = |args: &[&str]| drop(run_ok(Command::new(&openssl).current_dir(dir.path()).args(args)));
        let new = |name: &str, kind: &[&str], more: &[&str]| {
            let (key, certificate, subject) =
                (format!("{name}.key"), format!("{name}.pem"), format!("/CN=test {name}/"));
            let args =
                ["req", "-batch", "-nodes", "-x509", "-days", "3650", "-subj", &subject, "-keyout", &key, "-out"];
            make(&[&args, &[certificate.as_str()][..], &["-newkey"], kind, more].concat());
        };
        new("db", &["rsa:2048"], &[]);
        new("other", &["rsa:2048"], &[]);
        new("root", &["rsa:2048"], &[]);
        new("r4096", &["rsa:4096"], &[]);
        new("ec256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &[]);
        new("ec384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], &[]);
        new("server", &["rsa:2048"], &["-addext", "extendedKeyUsage = serverAuth"]);
        put(dir.path(), "leaf.ext", b"basicConstraints = critical, CA:FALSE\nextendedKeyUsage = codeSigning\n");
        make(&[
            "req",
            "-batch",
            "-nodes",
            "-newkey",
            "rsa:3072",
            "-subj",
            "/CN=test leaf/",
            "-keyout",
            "leaf.key",
            "-out",
            "leaf.csr",
        ]);
        make(&[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-days",
            "3650",
            "-extfile",
            "leaf.ext",
            "-out",
            "leaf.pem",
            "-set_serial",
            "0x7f01",
        ]);
        make(&["x509", "-in", "db.pem", "-outform", "der", "-out", "db.der"]);
        Some(dir)
    });
    keys.as_ref().map(|dir| dir.path())
}

/// A program of 64 or 32 bits that obeys all rules: two sections of 512 bytes, `gap` bytes between them in the file.
pub(crate) fn program(is_plus: bool, gap: usize) -> Vec<u8> {
    let mut file = vec![0xc3; 0x600 + gap];
    file[..0x200].fill(0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    let (machine, magic, directories) = if is_plus { (0x8664_u16, 2, 112) } else { (0x14c, 1, 96) };
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0");
    put(0x44, &machine.to_le_bytes());
    put(0x46, &[2]);
    put(0x54, &[directories + 6 * 8, 0, 2, 2, 0x0b, magic]);
    let optional = 0x58;
    let words = [(4, 512), (8, 512), (16, 0x1000), (20, 0x1000), (32, 0x1000), (36, 0x200), (56, 0x3000), (60, 0x200)];
    for (at, value) in words {
        put(optional + at, &u32::to_le_bytes(value));
    }
    put(optional + 68, &[10]);
    put(optional + usize::from(directories) - 4, &[6]);
    for (index, (name, flags)) in [(b".text", 0x6000_0020_u32), (b".data", 0xc000_0040)].into_iter().enumerate() {
        let at = optional + usize::from(directories) + 6 * 8 + 40 * index;
        put(at, name);
        let raw = 0x200 * (index + 1) + if index == 1 { gap } else { 0 };
        for (place, value) in [(8, 512), (12, 0x1000 * (index + 1)), (16, 512), (20, raw)] {
            put(at + place, &u32::to_le_bytes(value as u32));
        }
        put(at + 36, &flags.to_le_bytes());
    }
    file
}

/// Programs of all kinds and sizes.
fn programs() -> Vec<(String, Vec<u8>)> {
    let plain = program(true, 0);
    let mut all = vec![
        ("zboot".to_owned(), files::zboot()),
        ("uki".to_owned(), files::uki()),
        ("image".to_owned(), files::efi_image(0xaa64)),
        ("program32".to_owned(), program(false, 0)),
    ];
    for behind in [0, 1, 4, 7, 9] {
        all.push((format!("program-{behind}"), [&plain[..], &vec![7; behind]].concat()));
    }
    for real in ["/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"] {
        if Path::new(real).exists() {
            all.push((Path::new(real).file_name().unwrap().to_str().unwrap().to_owned(), read(Path::new(real))));
        } else {
            missing("systemd-boot-efi");
        }
    }
    all
}

/// `kimage sign FILE --key NAME.key --cert NAME.pem` and more.
pub(crate) fn sign(file: &Path, name: &str, to: &Path, more: &[&str]) -> Vec<u8> {
    let keys = keys().unwrap();
    let mut command = kimage();
    command.arg("sign").arg(file).arg("--key").arg(keys.join(format!("{name}.key")));
    command.arg("--cert").arg(keys.join(format!("{name}.pem"))).arg("-q").arg("-o").arg(to);
    run_ok(command.args(more));
    read(to)
}

pub(crate) fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Where the headers have `CheckSum` and the directory entry of the certificate table.
pub(crate) fn fields(file: &[u8]) -> (usize, usize) {
    let optional = word(file, 0x3c) + 24;
    (optional + 64, optional + if file[optional + 1] == 1 { 128 } else { 144 })
}

/// The first signature's DER.
fn signature(file: &[u8]) -> &[u8] {
    let at = word(file, fields(file).1);
    &file[at + 8..at + word(file, at)]
}

/// The rules of `verify`, and whether the verdict is good.
pub(crate) fn verdict(file: &Path, more: &[&str]) -> (Vec<String>, bool, String) {
    let output = run(kimage().arg("verify").arg(file).arg("--json").args(more));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let all = report["files"][0]["findings"].as_array().unwrap();
    let ids = all.iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect();
    let text = all.iter().map(|one| one["message"].as_str().unwrap().to_owned() + "\n").collect();
    (ids, output.status.success(), text)
}

#[track_caller]
fn has(file: &Path, rule: &str, words: &str, is_good: bool) {
    let (rules, good, text) = verdict(file, &[]);
    assert!(rules.iter().any(|one| one == rule) && good == is_good && text.contains(words), "{rules:?} {good}: {text}");
}

/// What kimage signs is the same each time, good for all peers, and has their digest; without the signature it is what it was.
#[test]
fn what_kimage_signs() {
    let (Some(keys), Some(sbsign)) = (keys(), tool("sbsign", "sbsigntool")) else { return };
    let osslsigncode = tool("osslsigncode", "osslsigncode");
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    for (name, file) in programs() {
        let plain = put(dir.path(), &name, &file);
        let signed = sign(&plain, "db", &path("k"), &[]);
        assert_eq!(signed, sign(&plain, "db", &path("again"), &[]), "{name}");
        run_ok(Command::new("sbverify").arg("--cert").arg(keys.join("db.pem")).arg(path("k")));
        if let Some(peer) = &osslsigncode {
            run_ok(Command::new(peer).arg("verify").arg("-CAfile").arg(keys.join("db.pem")).arg(path("k")));
        }
        // All but the signature, its length and the sum is what sbsign writes.
        let mut command = Command::new(&sbsign);
        command.arg("--key").arg(keys.join("db.key")).arg("--cert").arg(keys.join("db.pem"));
        run_ok(command.arg("--output").arg(path("s")).arg(&plain));
        let theirs = read(&path("s"));
        let (sum, entry) = fields(&file);
        let start = word(&signed, entry);
        assert_eq!((start, start % 8), (word(&theirs, entry), 0), "{name}");
        let masked = |bytes: &[u8]| {
            let mut bytes = bytes[..start].to_vec();
            bytes[sum..sum + 4].fill(0);
            bytes[entry + 4..entry + 8].fill(0);
            bytes
        };
        assert_same(&name, &masked(&signed), &masked(&theirs));
        assert_eq!(start + word(&signed, entry + 4), signed.len(), "{name}");
        // With the sum, which is that of osslsigncode, too; sbsign's table is shorter than what it sums up, so it is not asked.
        let summed = sign(&plain, "db", &path("sum"), &["--checksum"]);
        assert_ne!(word(&summed, sum), 0);
        if let Some(peer) = &osslsigncode {
            let said = stdout(&run_ok(
                Command::new(peer).arg("verify").arg("-CAfile").arg(keys.join("db.pem")).arg(path("sum")),
            ));
            assert!(said.contains(&format!("{:08X}", word(&summed, sum))), "{name}: {said}");
        }
        // The same without any signature; a sum that was wrong before is right then.
        run_ok(kimage().arg("sign").arg(path("k")).arg("--remove").arg("-q").arg("-o").arg(path("r")));
        let (mut before, mut removed) = (file.clone(), read(&path("r")));
        // What is behind the sections may have ended in zeros itself, as Debian's programs do not.
        if removed.len() > before.len()
            && removed[before.len()..].iter().all(|byte| *byte == 0)
            && name.starts_with("program-")
        {
            removed.truncate(before.len());
        }
        if name == "linuxx64.efi.stub" || name == "systemd-bootx64.efi" {
            before[sum..sum + 4].fill(0);
            removed[sum..sum + 4].fill(0);
        }
        assert_same(&format!("{name} without signature"), &removed, &before);
        // Nothing else is said of it than before, and that nobody looked who is trusted.
        let (rules, good, said) = verdict(&path("k"), &[]);
        let (mut known, was_good, _) = verdict(&plain, &[]);
        known.extend(["pe.signature".to_owned(), "pe.checksum".to_owned()]);
        assert!(rules.iter().all(|rule| known.contains(rule)) && good == was_good, "{name}: {rules:?} {known:?}");
        assert!(said.contains("test db (sha256)"), "{said}");
    }
}

/// Keys of all kinds, hashes, chains, several signatures.
#[test]
fn keys_and_chains() {
    let (Some(keys), Some(sbverify)) = (keys(), tool("sbverify", "sbsigntool")) else { return };
    let dir = tempdir();
    let plain = put(dir.path(), "plain", &program(true, 0));
    let to = dir.path().join("signed");
    let is_good = |certificate: &str| {
        run(Command::new(&sbverify).arg("--cert").arg(keys.join(certificate)).arg(&to)).status.success()
    };
    for (name, rule) in [("r4096", ""), ("ec256", "pe.key_kind"), ("ec384", "pe.key_kind"), ("server", "pe.key_usage")]
    {
        let made = sign(&plain, name, &to, &[]);
        assert_eq!(made, sign(&plain, name, &to, &[]));
        assert!(is_good(&format!("{name}.pem")) == (name != "server") && !is_good("other.pem"), "{name}");
        let mut command = kimage();
        command.arg("sign").arg(&plain).arg("--key").arg(keys.join(format!("{name}.key"))).arg("--cert");
        let output = run_ok(command.arg(keys.join(format!("{name}.pem"))).args(["--json", "-o"]).arg(&to));
        assert!(stdout(&output).contains(rule), "{name}: {}", stdout(&output));
    }
    // Keys that are no longer, or not yet, signed with.
    for kind in [&["rsa:1024"][..], &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]] {
        let (key, certificate) = (dir.path().join("odd.key"), dir.path().join("odd.pem"));
        let mut command = Command::new("openssl");
        command.args(["req", "-batch", "-nodes", "-x509", "-subj", "/CN=test odd/", "-newkey"]).args(kind);
        run_ok(command.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
        let mut command = kimage();
        command.arg("sign").arg(&plain).arg("--key").arg(&key).arg("--cert").arg(&certificate).arg("-o").arg(&to);
        let said = stderr(&run(&mut command));
        assert!(said.contains("signs with no key as that of the certificate of test odd"), "{said}");
    }
    for hash in ["sha384", "sha512"] {
        let output = run_ok(
            kimage()
                .arg("sign")
                .arg(&plain)
                .arg("--key")
                .arg(keys.join("db.key"))
                .arg("--cert")
                .arg(keys.join("db.der"))
                .args(["--hash", hash, "--json", "-o"])
                .arg(&to),
        );
        assert!(stdout(&output).contains("pe.hash_kind"));
        if let Some(peer) = tool("osslsigncode", "osslsigncode") {
            run_ok(Command::new(peer).arg("verify").arg("-CAfile").arg(keys.join("db.pem")).arg(&to));
        }
        assert_eq!(verdict(&to, &[]).0, ["pe.signature"]);
    }
    // The issuer goes along, from a file of its own or behind the signer's; who holds the root takes it.
    let root = keys.join("root.pem");
    let with_root = sign(&plain, "leaf", &to, &["--add-cert", root.to_str().unwrap()]);
    assert!(is_good("root.pem"));
    let chain = put(dir.path(), "chain.pem", &[read(&keys.join("leaf.pem")), read(&root)].concat());
    let mut command = kimage();
    command.arg("sign").arg(&plain).arg("--key").arg(keys.join("leaf.key")).arg("--cert").arg(&chain);
    run_ok(command.arg("-q").arg("-o").arg(&to));
    assert_same("chain", &read(&to), &with_root);
    let der = signature(&with_root);
    let text = stdout(&run_ok(
        Command::new("openssl").args(["pkcs7", "-inform", "der", "-print_certs", "-noout", "-in"]).arg(put(
            dir.path(),
            "der",
            der,
        )),
    ));
    assert!(text.contains("test leaf") && text.contains("CN = test root"), "{text}");

    // A second signature; each holds by itself. In its place; and none.
    let first = sign(&plain, "db", &to, &[]);
    let second = dir.path().join("second");
    let both = sign(&to, "other", &second, &[]);
    assert_same(
        "the first one",
        &both[word(&first, fields(&first).1)..first.len()],
        &first[word(&first, fields(&first).1)..],
    );
    for certificate in ["db.pem", "other.pem"] {
        run_ok(Command::new(&sbverify).arg("--cert").arg(keys.join(certificate)).arg(&second));
    }
    has(&second, "pe.signatures", "2 signatures by test db (sha256) and test other (sha256)", true);
    let replaced = sign(&second, "other", &dir.path().join("third"), &["--replace"]);
    assert_same("in place", &replaced, &sign(&plain, "other", &to, &[]));
    run_ok(kimage().arg("sign").arg(&second).args(["--remove", "-q"]));
    assert_same("none", &read(&second), &read(&plain));
}

/// What the peers sign is good for kimage; changed, it is not.
#[test]
fn what_others_sign() {
    let Some(keys) = keys() else { return };
    let (key, certificate) = (keys.join("db.key"), keys.join("db.pem"));
    let dir = tempdir();
    let to = dir.path().join("signed");
    /// What signs the file of that name.
    type Peer = Box<dyn Fn(&Path) -> Command>;
    let mut peers: Vec<(&str, Peer)> = Vec::new();
    if let Some(program) = tool("sbsign", "sbsigntool") {
        let (key, certificate, to) = (key.clone(), certificate.clone(), to.clone());
        peers.push((
            "sbsign",
            Box::new(move |plain| {
                let mut command = Command::new(&program);
                command.arg("--key").arg(&key).arg("--cert").arg(&certificate).arg("--output").arg(&to).arg(plain);
                command
            }),
        ));
    }
    if let Some(program) = tool("osslsigncode", "osslsigncode") {
        let (key, certificate, to) = (key.clone(), certificate.clone(), to.clone());
        peers.push((
            "osslsigncode",
            Box::new(move |plain| {
                let mut command = Command::new(&program);
                command
                    .arg("sign")
                    .arg("-key")
                    .arg(&key)
                    .arg("-certs")
                    .arg(&certificate)
                    .args(["-h", "sha256", "-in"])
                    .arg(plain);
                command.arg("-out").arg(&to);
                command
            }),
        ));
    }
    if let (Some(program), Some(database)) = (tool("pesign", "pesign"), nss(dir.path())) {
        let to = to.clone();
        peers.push((
            "pesign",
            Box::new(move |plain| {
                let mut command = Command::new(&program);
                command.arg("-n").arg(&database).args(["-c", "db", "-s", "-f", "-i"]).arg(plain).arg("-o").arg(&to);
                command
            }),
        ));
    }
    for (peer, command) in &peers {
        for (name, file) in programs() {
            // pesign's digest is another where zeros go behind the file, and its signature of no use.
            if *peer == "pesign" && file.len() % 8 != 0 {
                continue;
            }
            let plain = put(dir.path(), &name, &file);
            let _ = fs::remove_file(&to);
            run_ok(&mut command(&plain));
            let (rules, _, said) = verdict(&to, &[]);
            let wrong = ["pe.digest", "pe.signature_value", "pe.certificates", "pe.no_digest"];
            assert!(!rules.iter().any(|rule| wrong.contains(&rule.as_str())), "{peer} {name}: {rules:?} {said}");
            assert!(said.contains("1 signature by test db (sha256)"), "{peer} {name}: {said}");
            let mut changed = read(&to);
            changed[file.len() / 2] ^= 1;
            has(&put(dir.path(), "changed", &changed), "pe.digest", "signed by test db", false);
            // A bit of the value of the signature, which is the last there is of most.
            let mut changed = read(&to);
            let value = signature(&changed);
            let at = value.as_ptr() as usize - changed.as_ptr() as usize + value.len() - 20;
            changed[at] ^= 1;
            has(&put(dir.path(), "changed", &changed), "pe.signature_value", "", false);
        }
    }
}

/// A database of NSS with the key, for pesign.
fn nss(dir: &Path) -> Option<PathBuf> {
    let (certutil, pk12util) = (tool("certutil", "libnss3-tools")?, tool("pk12util", "libnss3-tools")?);
    let keys = keys()?;
    let database = dir.join("nss");
    fs::create_dir(&database).unwrap();
    run_ok(Command::new(certutil).arg("-N").arg("-d").arg(&database).arg("--empty-password"));
    let bundle = dir.join("db.p12");
    let mut command = Command::new("openssl");
    command.args(["pkcs12", "-export", "-name", "db", "-passout", "pass:x", "-in"]).arg(keys.join("db.pem"));
    run_ok(command.arg("-inkey").arg(keys.join("db.key")).arg("-out").arg(&bundle));
    run_ok(Command::new(pk12util).arg("-i").arg(&bundle).arg("-d").arg(&database).args(["-W", "x", "-K", ""]));
    Some(database)
}

/// The kernel in a unified image is held to its signature like any program: who signed it is named, and a changed byte is found.
#[test]
fn kernels_within_unified_images() {
    let (Some(keys), Some(osslsigncode)) = (keys(), tool("osslsigncode", "osslsigncode")) else { return };
    let dir = tempdir();
    for (name, kernel) in [("Image", files::efi_image(0xaa64)), ("zboot", files::zboot())] {
        let (plain, to) = (put(dir.path(), name, &kernel), dir.path().join(format!("{name}.signed")));
        let mut command = Command::new(&osslsigncode);
        command.args(["sign", "-h", "sha256", "-key"]).arg(keys.join("db.key")).arg("-certs").arg(keys.join("db.pem"));
        run_ok(command.arg("-in").arg(plain).arg("-out").arg(&to));
        let mut signed = read(&to);
        let said = |kernel: &[u8]| -> Vec<(String, String)> {
            let file = put(dir.path(), "uki.efi", &files::pe(&[], &[(".text", b"the stub"), (".linux", kernel)]));
            let output = run(kimage().arg("verify").arg("--json").arg(file));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let all = report["files"][0]["findings"].as_array().unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let inner = all.iter().filter(|one| one["path"] == "file/kernel");
            inner.map(|one| (text(&one["rule"]), text(&one["message"]))).collect()
        };
        let has = |said: &[(String, String)], id: &str, words: &str| {
            said.iter().any(|(rule, message)| rule == id && message.contains(words))
        };
        let good = said(&signed);
        assert!(has(&good, "pe.signature", "1 signature by test db (sha256)"), "{name}: {good:?}");
        assert!(!has(&good, "pe.digest", ""), "{name}: {good:?}");
        signed[kernel.len() - 1] ^= 1;
        let bad = said(&signed);
        assert!(has(&bad, "pe.digest", ""), "{name}: {bad:?}");
    }
}

/// Debian's signed kernels without the signature are what Debian built: the CRC-32 of the kernel's build, made before there was a
/// signature, is right again. (By hand: the bytes of linux-image-6.1.0-50-cloud-amd64-unsigned.)
#[test]
fn debians_kernels_without_their_signature() {
    let Some(kernel) = debian_kernel("bookworm-amd64-cloud-amd64") else { return };
    let dir = tempdir();
    let plain = dir.path().join("plain");
    has(&kernel, "bzimage.crc32_signed", "1 signature by Debian Secure Boot Signer 2022 - linux (sha256)", true);
    run_ok(kimage().arg("sign").arg(&kernel).arg("--remove").arg("-q").arg("-o").arg(&plain));
    let (rules, good, said) = verdict(&plain, &[]);
    assert!(rules.is_empty() && good, "{said}");
    let (old, new) = (read(&kernel), read(&plain));
    let (sum, entry) = fields(&old);
    assert_eq!((word(&new, sum), word(&new, entry), word(&new, entry + 4)), (0, 0, 0));
    assert_eq!(new[entry + 8..], old[entry + 8..new.len()]);
    // Signed again, and once more without.
    if keys().is_some() {
        let again = dir.path().join("again");
        sign(&plain, "db", &again, &[]);
        has(&again, "bzimage.crc32_signed", "test db", true);
        run_ok(kimage().arg("sign").arg(&again).args(["--remove", "-q"]));
        assert_same("again", &read(&again), &new);
    }
}

/// The key is elsewhere: what is to be signed is written, signed by openssl, and put in.
#[test]
fn signed_elsewhere() {
    let Some(keys) = keys() else { return };
    let dir = tempdir();
    let plain = put(dir.path(), "plain", &program(true, 0));
    let folder = dir.path().join("to-sign");
    for (name, options) in [("db", &["-pkeyopt", "digest:sha256"][..]), ("ec256", &[])] {
        let certificate = keys.join(format!("{name}.pem"));
        run_ok(
            kimage().arg("sign").arg(&plain).arg("--cert").arg(&certificate).arg("--prepare").arg(&folder).arg("-q"),
        );
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-sign", "-inkey"]).arg(keys.join(format!("{name}.key"))).args(options).arg("-in");
        run_ok(command.arg(folder.join("1-authenticode.digest")).arg("-out").arg(folder.join("1-authenticode.sig")));
        let attached = dir.path().join("attached");
        let attach = |to: &Path| {
            let mut command = kimage();
            command
                .arg("sign")
                .arg(&plain)
                .arg("--cert")
                .arg(&certificate)
                .arg("--attach")
                .arg(&folder)
                .arg("-q")
                .arg("-o")
                .arg(to);
            run(&mut command)
        };
        assert!(attach(&attached).status.success());
        if name == "db" {
            assert_same(name, &read(&attached), &sign(&plain, name, &dir.path().join("k"), &[]));
        }
        assert!(verdict(&attached, &[]).1);
        // Another one's signature is not put in.
        put(&folder, "1-authenticode.sig", &[1; 256]);
        let output = attach(&dir.path().join("wrong"));
        assert!(!output.status.success() && stderr(&output).contains("1-authenticode.sig"), "{}", stderr(&output));
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// What cannot be signed is refused, with the way out.
#[test]
fn refused() {
    let Some(keys) = keys() else { return };
    let dir = tempdir();
    let plain = put(dir.path(), "plain", &files::uki());
    let signed = sign(&plain, "db", &dir.path().join("signed"), &[]);
    let (key, certificate) = (keys.join("db.key"), keys.join("db.pem"));
    let says = |file: &Path, key: &Path, certificate: &Path, words: &str| {
        let to = dir.path().join("out");
        let mut command = kimage();
        command.arg("sign").arg(file).arg("--key").arg(key).arg("--cert").arg(certificate).arg("-o").arg(&to);
        let output = run(&mut command);
        let said = stderr(&output);
        assert!(
            !output.status.success() && said.contains(words) && said.contains("help:") && !to.exists(),
            "{words}: {said}"
        );
    };
    says(&plain, &keys.join("other.key"), &certificate, "the key is not that of the certificate of test db");
    says(&plain, &key, &key, "is no X.509 certificate");
    says(&plain, &certificate, &certificate, "is no private key");
    let cut = put(dir.path(), "cut.pem", &read(&certificate)[..500]);
    says(&plain, &key, &cut, "cut.pem: PEM that is cut off is no X.509 certificate");
    for (name, file, words) in [
        ("bzImage", files::bzimage(), "it is no EFI program"),
        ("empty", Vec::new(), "it is no EFI program"),
        ("head", files::uki()[..100].to_vec(), "it cannot be signed"),
        ("table", signed[..signed.len() - 8].to_vec(), "certificate table"),
        ("behind", [&signed[..], &[0; 8]].concat(), "certificate table"),
    ] {
        says(&put(dir.path(), name, &file), &key, &certificate, words);
    }
    let mut few = files::uki();
    let count = word(&few, 0x3c) + 24 + 108;
    few[count..count + 4].copy_from_slice(&4_u32.to_le_bytes());
    says(&put(dir.path(), "few", &few), &key, &certificate, "NumberOfRvaAndSizes");
    let output = run(kimage().arg("sign").arg(&plain).arg("--remove"));
    assert!(!output.status.success() && stderr(&output).contains("it has no signature"), "{}", stderr(&output));
    let output = run(kimage().arg("sign").arg(&plain).args(["--remove", "--time", "1"]));
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--time is for FITs"), "{}", stderr(&output));
    let output = run(kimage().arg("sign").arg(&plain).arg("--key").arg(&key));
    assert!(!output.status.success() && stderr(&output).contains("--cert FILE"), "{}", stderr(&output));
    let output = run(kimage().arg("verify").arg(&plain).arg("--cert").arg(dir.path()));
    assert!(!output.status.success() && stderr(&output).contains("is a folder"), "{}", stderr(&output));
    assert_same("left as it was", &read(&plain), &files::uki());
}

/// What is wrong with a certificate table is said, each in its own words.
/// `--sbat`: others find the section and hold the signature good, shim's revocations count; what has such a section keeps it.
#[test]
fn a_section_sbat() {
    let (Some(keys), Some(objcopy)) = (keys(), tool("objcopy", "binutils")) else { return };
    const LINES: &str =
        "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\nmine,2,Me,mine,2.0,none\n";
    let dir = tempdir();
    let text = put(dir.path(), "sbat.csv", LINES.as_bytes());
    let level = put(dir.path(), "level", b"sbat,1\nmine,3\n");
    let certificate = keys.join("db.pem");
    for (name, plain) in
        [("64", program(true, 0)), ("32", program(false, 0)), ("behind", [&program(true, 0)[..], &[7; 9]].concat())]
    {
        let (plain, to) = (put(dir.path(), name, &plain), dir.path().join(format!("{name}.signed")));
        let signed = sign(&plain, "db", &to, &["--sbat", text.to_str().unwrap()]);
        assert_same("the text instead of the file", &sign(&plain, "db", &to, &["--sbat", LINES]), &signed);
        let dumped = dir.path().join("dumped");
        run_ok(
            Command::new(&objcopy)
                .arg("--dump-section")
                .arg(format!(".sbat={}", dumped.display()))
                .arg(&to)
                .arg(dir.path().join("copy")),
        );
        // What objcopy gives is the section as it is in the file, filled up.
        let dumped = read(&dumped);
        assert!(dumped.starts_with(LINES.as_bytes()) && dumped[LINES.len()..].iter().all(|byte| *byte == 0), "{name}");
        if let Some(sbverify) = tool("sbverify", "sbsigntool") {
            run_ok(Command::new(sbverify).arg("--cert").arg(&certificate).arg(&to));
        }
        run_ok(kimage().arg("verify").arg(&to).arg("--cert").arg(&certificate));
        let revoked =
            run(kimage().arg("verify").arg(&to).arg("--cert").arg(&certificate).arg("--sbat-level").arg(&level));
        assert!(!revoked.status.success() && stdout(&revoked).contains("[pe.sbat_revoked]"), "{}", stdout(&revoked));
        // The same lines once more: the section stays, and the second signature stands behind the first.
        let twice = sign(&to, "other", &dir.path().join("twice"), &["--sbat", LINES]);
        assert!(twice.len() > signed.len() && twice[0x200..].starts_with(&signed[0x200..]), "{name}");
        let refused = |file: &Path, given: &str, words: &str| {
            let mut command = kimage();
            command.arg("sign").arg(file).arg("--key").arg(keys.join("db.key")).arg("--cert").arg(&certificate);
            let output = run(command.args(["--sbat", given, "-o"]).arg(dir.path().join("never")));
            let said = stderr(&output);
            assert!(!output.status.success() && said.contains(words), "{said}");
        };
        refused(&to, &LINES.replace("mine,2", "mine,3"), "it has a section .sbat already (sbat,1 mine,2)");
        refused(&plain, "sbat,1,a,b,c,d\nmine,2,Me\n", "line 2 has 3 values, wanted 6");
        refused(&plain, &LINES.replace("mine,2", "mine,0"), "line 2 has no generation");
        refused(&plain, "@/dev/null", "its first line");
        let once = sign(&plain, "other", &dir.path().join("once"), &[]);
        let once = put(dir.path(), "once", &once);
        refused(&once, LINES, "sign in place of them (--replace)");
        let replaced = sign(&once, "db", &dir.path().join("replaced"), &["--sbat", LINES, "--replace"]);
        if name != "behind" {
            assert_same("in place of another signature", &replaced, &signed);
        }
    }
}

#[test]
fn tables_that_are_wrong() {
    let Some(_) = keys() else { return };
    let dir = tempdir();
    let plain = program(true, 0);
    let path = put(dir.path(), "plain", &plain);
    let signed = sign(&path, "db", &dir.path().join("signed"), &[]);
    let (_, entry) = fields(&signed);
    let write = |name: &str, bytes: &[u8]| put(dir.path(), name, bytes);
    has(&write("behind", &[&signed[..], &[0; 8]].concat()), "pe.certificates", "8 bytes are behind it", false);
    has(&write("cut", &signed[..signed.len() - 8]), "pe.certificates", "it ends with the file", false);
    let mut shifted = signed.clone();
    shifted.insert(word(&signed, entry), 0);
    let start = word(&signed, entry) as u32 + 1;
    shifted[entry..entry + 4].copy_from_slice(&start.to_le_bytes());
    has(&write("shifted", &shifted), "pe.certificates", "a multiple of 8", false);
    let mut long = signed.clone();
    let at = word(&signed, entry);
    long[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    has(&write("long", &long), "pe.certificates", "0 signatures of 0 bytes", false);
    // A hole between the sections, which firmware does not hash where it stands.
    let gap = write("gap", &program(true, 512));
    let to = dir.path().join("gap.signed");
    sign(&gap, "db", &to, &[]);
    has(&to, "pe.digest_order", "bytes between sections", true);
    if let Some(sbverify) = tool("sbverify", "sbsigntool") {
        run_ok(Command::new(sbverify).arg("--cert").arg(keys().unwrap().join("db.pem")).arg(&to));
    }
    // Zeros at the end of what was signed may have been there before.
    let zeros = write("zeros", &[&plain[..], &[7, 0, 0]].concat());
    sign(&zeros, "db", &to, &[]);
    let output = run_ok(kimage().arg("sign").arg(&to).args(["--remove", "--json", "-o"]).arg(dir.path().join("out")));
    assert!(
        stdout(&output).contains("pe.not_as_before") && stdout(&output).contains("of the last 7 bytes"),
        "{}",
        stdout(&output)
    );
    if support::full() {
        // Each byte of the signature changed: never a panic, and never good without a word.
        let start = word(&signed, entry);
        for at in start..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 0x55;
            let (rules, ..) = verdict(&write("changed", &changed), &[]);
            assert!(!rules.is_empty(), "{at:#x}");
        }
    }
}

/// A built-in command line that the boot loader's still comes behind is told of when it is signed, and of what is signed; not when it is
/// the whole one, nor when there is none.
#[test]
fn a_command_line_that_is_not_all() {
    let Some(keys) = keys() else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let jobs: [(&[&str], bool); 3] =
        [(&["--cmdline", "quiet"], true), (&["--cmdline", "quiet", "--cmdline-override"], false), (&[], false)];
    for (options, is_open) in jobs {
        let mut command = kimage();
        command.arg("bzimage").arg(testdata("tiny/kernel")).args(options).arg("-o").arg(path("image"));
        run_ok(&mut command);
        let rules = |file: &str| verdict(&path(file), &[]).0;
        assert!(!rules("image").contains(&"bzimage.open_cmdline".to_owned()));
        let mut command = kimage();
        command.arg("sign").arg(path("image")).arg("--key").arg(keys.join("db.key"));
        let said = stderr(&run_ok(command.arg("--cert").arg(keys.join("db.pem")).arg("-o").arg(path("signed"))));
        assert_eq!(said.contains("`quiet` is in front of what the boot loader says"), is_open, "{options:?}: {said}");
        assert_eq!(said.contains("(--cmdline-override)"), is_open, "{options:?}: {said}");
        assert_eq!(rules("signed").contains(&"bzimage.open_cmdline".to_owned()), is_open, "{options:?}");
    }
}
