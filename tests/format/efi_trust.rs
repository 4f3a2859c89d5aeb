//! `verify` of EFI programs against whom firmware trusts: the verdicts are those of EDK2's DxeImageVerificationLib, seen in OVMF.

use crate::authenticode::{keys, program, sign, verdict, word};
use crate::support::{kimage, missing, put, read, run, run_ok, stderr, tempdir, tool};
use sha2::{Digest, Sha256, Sha384};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `EFI_CERT_X509_GUID` and `EFI_CERT_SHA256_GUID`, as they stand in memory.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
const SHA256: [u8; 16] =
    [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];
/// `EFI_CERT_SHA384_GUID`.
const SHA384: [u8; 16] =
    [0x07, 0x53, 0x3e, 0xff, 0xd0, 0x9f, 0xc9, 0x48, 0x85, 0xf1, 0x8a, 0xd5, 0x6c, 0x70, 0x1e, 0x01];

/// An `EFI_SIGNATURE_LIST`.
fn list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
    let each = 16 + entries[0].len();
    let mut list = kind.to_vec();
    for word in [28 + each * entries.len(), 0, each] {
        list.extend((word as u32).to_le_bytes());
    }
    entries.iter().for_each(|entry| list.extend([&[7; 16], *entry].concat()));
    list
}

struct Files {
    dir: tempfile::TempDir,
    keys: &'static Path,
}

impl Files {
    fn new() -> Option<Files> {
        Some(Files { dir: tempdir(), keys: keys()? })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        put(self.dir.path(), name, bytes)
    }

    fn signed(&self, name: &str, from: &Path, to: &str) -> PathBuf {
        let to = self.dir.path().join(to);
        sign(from, name, &to, &[]);
        to
    }

    fn der(&self, name: &str) -> Vec<u8> {
        let path = self.dir.path().join("der");
        let mut command = Command::new("openssl");
        run_ok(command.args(["x509", "-outform", "der", "-in"]).arg(self.keys.join(name)).arg("-out").arg(&path));
        read(&path)
    }

    /// The rules that a verdict with these options names, and these words in it.
    #[track_caller]
    fn says(&self, file: &Path, options: &[&Path], is_good: bool, rules: &[&str], words: &str) {
        let options: Vec<&str> = options.iter().map(|one| one.to_str().unwrap()).collect();
        let (found, good, text) = verdict(file, &options);
        let what = format!("{options:?} {found:?}: {text}");
        assert!(good == is_good && text.contains(words), "{what}");
        assert_eq!(found, rules, "{what}");
    }
}

/// Certificates, chains, lists and hashes, allowed and forbidden.
#[test]
fn who_is_trusted() {
    let Some(files) = Files::new() else { return };
    let (cert, dbx) = (Path::new("--cert"), Path::new("--dbx"));
    let key = |name: &str| files.keys.join(name);
    let plain = files.put("plain", &program(true, 0));
    let signed = files.signed("db", &plain, "signed");
    let (db, other) = (key("db.pem"), key("other.pem"));
    let trusted = "its certificate is trusted";
    for one in [&db, &key("db.der"), &files.put("db.esl", &list(X509, &[&files.der("db.pem")]))] {
        files.says(&signed, &[cert, one], true, &["pe.signed"], trusted);
        files.says(&plain, &[cert, one], false, &["pe.unsigned"], "it has no signature");
    }
    files.says(&signed, &[cert, &other], false, &["pe.unsigned"], "leads to none that is trusted");
    // Both are trusted: one is enough.
    files.says(&signed, &[cert, &other, cert, &db], true, &["pe.signed"], trusted);
    let mut changed = read(&signed);
    changed[0x250] ^= 1;
    let changed = files.put("changed", &changed);
    files.says(&changed, &[cert, &db], false, &["pe.digest", "pe.unsigned"], "the digest that it signs is another");

    // A chain, with the issuer there or not, and without the issuer's word.
    let leaf = files.signed("leaf", &plain, "leaf");
    files.says(&leaf, &[cert, &key("root.pem")], true, &["pe.signed"], "leads to test root, which is trusted");
    files.says(&leaf, &[cert, &key("leaf.pem")], true, &["pe.signed"], trusted);
    files.says(&leaf, &[cert, &db], false, &["pe.unsigned"], "leads to none");
    // A root of the same name with another key.
    let mut command = Command::new("openssl");
    command.args(["req", "-batch", "-nodes", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=test root/", "-keyout"]);
    let false_root = files.dir.path().join("false.pem");
    run_ok(command.arg(files.dir.path().join("false.key")).arg("-out").arg(&false_root));
    files.says(&leaf, &[cert, &false_root], false, &["pe.unsigned"], "leads to none");
    files.says(
        &leaf,
        &[cert, &key("root.pem"), dbx, &key("root.pem")],
        false,
        &["pe.revoked"],
        "test root, which is forbidden",
    );

    // Two signatures: one is enough, none may be forbidden.
    let both = files.signed("other", &signed, "both");
    let several = ["pe.signatures", "pe.unsigned", "pe.signed"];
    files.says(&both, &[cert, &db], true, &several, "signed by test other: its certificate leads to none");
    files.says(
        &both,
        &[cert, &db, dbx, &other],
        false,
        &["pe.signatures", "pe.revoked", "pe.unsigned"],
        "is forbidden",
    );

    // By digest, without a signature, and against one.
    let info = kimage().arg("info").arg(&plain).args(["--field", "authenticode_sha256"]).output().unwrap();
    let digest = String::from_utf8(info.stdout).unwrap();
    let digest: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).unwrap()).collect();
    let hash = files.put("hash.esl", &list(SHA256, &[&[1; 32], &digest]));
    // By another hash: newer firmware alone takes it of what is not signed, and none looks for it where SHA-256 is signed.
    let (sum, entry) = crate::authenticode::fields(&program(true, 0));
    let all = program(true, 0);
    let digest = Sha384::digest([&all[..sum], &all[sum + 4..entry], &all[entry + 8..]].concat());
    let other_hash = files.put("sha384.esl", &list(SHA384, &[&digest]));
    let warned = ["pe.signed", "pe.digest_kind"];
    files.says(&plain, &[cert, &other_hash], true, &warned, "sha384, of a program without a signature");
    files.says(&plain, &[cert, &hash, dbx, &other_hash], false, &["pe.revoked"], "its digest is forbidden: sha384");
    files.says(&signed, &[cert, &other_hash], false, &["pe.unsigned"], "leads to none");
    files.says(&signed, &[cert, &db, dbx, &other_hash], true, &["pe.signed"], trusted);
    files.says(&plain, &[cert, &hash], true, &["pe.signed"], "its digest is among those that are trusted");
    files.says(&signed, &[cert, &db, dbx, &hash], false, &["pe.revoked"], "its digest is forbidden: sha256");
    let unknown = files.put("unknown.esl", &[list(X509, &[&files.der("db.pem")]), list([9; 16], &[&[1; 32]])].concat());
    files.says(&signed, &[cert, &unknown], true, &["pe.list_entry", "pe.signed"], "1 entries are of a kind");

    // What firmware takes and others do not.
    let server = files.signed("server", &plain, "server");
    files.says(&server, &[cert, &key("server.pem")], true, &["pe.signed", "pe.key_usage"], "not for signing code");
    let elliptic = files.signed("ec256", &plain, "elliptic");
    files.says(&elliptic, &[cert, &key("ec256.pem")], true, &["pe.signed", "pe.key_kind"], "ecdsa256");
    let old = files.dir.path().join("old.pem");
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-in"])
        .arg(&db)
        .args(["-signkey"])
        .arg(key("db.key"))
        .args(["-days", "-1", "-out"])
        .arg(&old);
    if run(&mut command).status.success() {
        let mut command = kimage();
        command.arg("sign").arg(&plain).arg("--key").arg(key("db.key")).arg("--cert").arg(&old).args(["-q", "-o"]);
        let expired = files.dir.path().join("expired");
        run_ok(command.arg(&expired));
        files.says(&expired, &[cert, &old], true, &["pe.signed", "pe.validity"], "has expired");
    }

    // efitools writes the same lists, and signs updates of them.
    if let (Some(make), Some(update)) =
        (tool("cert-to-efi-sig-list", "efitools"), tool("sign-efi-sig-list", "efitools"))
    {
        let (esl, auth) = (files.dir.path().join("made.esl"), files.dir.path().join("made.auth"));
        run_ok(Command::new(make).arg(&db).arg(&esl));
        run_ok(
            Command::new(update).arg("-k").arg(key("other.key")).arg("-c").arg(&other).arg("db").arg(&esl).arg(&auth),
        );
        for one in [&esl, &auth] {
            files.says(&signed, &[cert, one], true, &["pe.signed"], trusted);
        }
    }

    // What names nobody.
    for (name, bytes) in
        [("empty", vec![]), ("cut.esl", list(X509, &[&[1; 40]])[..40].to_vec()), ("text", b"db\n".to_vec())]
    {
        let output = run(kimage().arg("verify").arg(&signed).arg("--cert").arg(files.put(name, &bytes)));
        assert!(!output.status.success() && stderr(&output).contains(name), "{name}: {}", stderr(&output));
    }
}

/// `EFI_CERT_X509_SHA256_GUID`.
const X509_SHA256: [u8; 16] =
    [0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed];

/// Chains through an issuer that goes along, and certificates that are forbidden by the hash of what is signed of them, at all times. As OVMF of
/// 2022.11 and the newest of Debian decided when these cases were booted in it.
#[test]
fn issuers_and_their_hashes() {
    let Some(files) = Files::new() else { return };
    let (cert, dbx) = (Path::new("--cert"), Path::new("--dbx"));
    let path = |name: &str| files.dir.path().join(name);
    let openssl = |args: &[&str]| drop(run_ok(Command::new("openssl").args(args).current_dir(files.dir.path())));
    let issue = |name: &str, issuer: &str, extensions: &str, to: &str| {
        let at = |end: &str| format!("{issuer}.{end}");
        files.put("ext", extensions.as_bytes());
        let (certificate, key) = (at("pem"), at("key"));
        let args = ["x509", "-req", "-in", name, "-CA", &certificate, "-CAkey", &key, "-days", "99", "-extfile", "ext"];
        openssl(&[&args[..], &["-set_serial", &format!("{}", to.len()), "-out", to]].concat());
    };
    for name in ["root", "other"] {
        ["pem", "key"].iter().for_each(|end| {
            drop(files.put(&format!("{name}.{end}"), &read(&files.keys.join(format!("{name}.{end}")))))
        });
    }
    for name in ["issuer", "signer"] {
        let (key, asked, subject) = (format!("{name}.key"), format!("{name}.csr"), format!("/CN=test {name}/"));
        openssl(&[
            "req", "-batch", "-nodes", "-newkey", "rsa:2048", "-subj", &subject, "-keyout", &key, "-out", &asked,
        ]);
    }
    let authority = "basicConstraints = CA:TRUE\n";
    issue("issuer.csr", "root", authority, "issuer.pem");
    // The same name and key, certified by another.
    issue("issuer.csr", "other", authority, "crossed.pem");
    issue("signer.csr", "issuer", "basicConstraints = CA:FALSE\n", "signer.pem");
    let plain = files.put("plain", &program(true, 0));
    let signed = |others: &[&str]| {
        let to = path(&format!("by {}", others.join(" ")));
        let mut command = kimage();
        command.arg("sign").arg(&plain).arg("--key").arg(path("signer.key")).arg("--cert").arg(path("signer.pem"));
        command.args(others.iter().flat_map(|one| [PathBuf::from("--add-cert"), path(one)]));
        run_ok(command.args(["-q", "-o"]).arg(&to));
        to
    };
    let chain = signed(&["issuer.pem"]);
    let der = |name: &str| {
        openssl(&["x509", "-in", name, "-outform", "der", "-out", "der"]);
        read(&path("der"))
    };
    let hash = |name: &str| {
        // SEQUENCE of two bytes of length, and in it another: what is signed.
        let der = der(name);
        let [0x30, 0x82, _, _, 0x30, 0x82, high, low, ..] = der[..] else { panic!("{name}") };
        let len = 4 + usize::from(u16::from_be_bytes([high, low]));
        let entry = [&Sha256::digest(&der[4..4 + len])[..], &[0; 16]].concat();
        files.put(&format!("{name}.esl"), &list(X509_SHA256, &[&entry]))
    };
    let (root, issuer) = (path("root.pem"), path("issuer.pem"));
    files.says(&chain, &[cert, &root], true, &["pe.signed"], "leads to test root, which is trusted");
    files.says(&chain, &[cert, &root, dbx, &hash("other.pem")], true, &["pe.signed"], "leads to test root");
    files.says(
        &chain,
        &[cert, &root, dbx, &hash("signer.pem")],
        false,
        &["pe.revoked"],
        "of test signer, which is forbidden",
    );
    // Who is trusted is forbidden, though not in the file.
    let forbidden = "test root, which is trusted, but its hash is forbidden";
    files.says(&chain, &[cert, &root, dbx, &hash("root.pem")], false, &["pe.unsigned"], forbidden);
    files.says(
        &signed(&["issuer.pem", "root.pem"]),
        &[cert, &root, dbx, &hash("root.pem")],
        false,
        &["pe.unsigned"],
        forbidden,
    );
    // The first in db that it leads to decides.
    let both =
        |one: &str, other: &str| files.put("both.esl", &[one, other].map(|name| list(X509, &[&der(name)])).concat());
    files.says(
        &chain,
        &[cert, &both("root.pem", "issuer.pem"), dbx, &hash("root.pem")],
        false,
        &["pe.unsigned"],
        forbidden,
    );
    files.says(
        &chain,
        &[cert, &both("issuer.pem", "root.pem"), dbx, &hash("root.pem")],
        true,
        &["pe.signed"],
        "leads to test issuer",
    );
    // In between, a certificate counts by itself, and its hash does not.
    files.says(&chain, &[cert, &root, dbx, &issuer], false, &["pe.revoked"], "test issuer, which is forbidden");
    let warned = ["pe.revoked_issuer", "pe.signed"];
    files.says(
        &chain,
        &[cert, &root, dbx, &hash("issuer.pem")],
        true,
        &warned,
        "the certificate of test issuer, which test signer sends",
    );
    // Of two that might have issued one, the first counts.
    for (others, trusted) in [(["issuer.pem", "crossed.pem"], "root.pem"), (["crossed.pem", "issuer.pem"], "other.pem")]
    {
        let file = signed(&others);
        for one in ["root.pem", "other.pem"] {
            let rule = if one == trusted { "pe.signed" } else { "pe.unsigned" };
            files.says(&file, &[cert, &path(one)], one == trusted, &[rule], "");
        }
    }
    // As Linux shows the variable.
    let variable = files.put(
        "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f",
        &[&[0x27, 0, 0, 0], &list(X509, &[&der("root.pem")])[..]].concat(),
    );
    files.says(&chain, &[cert, &variable], true, &["pe.signed"], "leads to test root");
}

/// A variable in the flash of EDK2 (MdeModulePkg/Include/Guid/VariableFormat.h).
fn variable(name: &str, vendor: [u8; 16], state: u8, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let mut out = [&[0xaa, 0x55, state, 0, 0x27, 0, 0, 0][..], &[0; 28]].concat();
    for len in [name.len(), data.len()] {
        out.extend((len as u32).to_le_bytes());
    }
    out.extend([&vendor, &name[..], data].concat());
    out.resize(out.len().next_multiple_of(4), 0xff);
    out
}

/// Variables that were to be replaced when the power failed, that stand there twice, that are damaged: as EDK2 takes them, or not at all. (OVMF
/// refuses a program whose signer's certificate stands in a `dbx` of state 0x3e.)
#[test]
fn states_of_variables() {
    const EMPTY: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    /// `EFI_IMAGE_SECURITY_DATABASE_GUID`, `EFI_GLOBAL_VARIABLE`.
    const DATABASE: [u8; 16] =
        [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
    const GLOBAL: [u8; 16] =
        [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
    let Some(files) = Files::new() else { return };
    if !Path::new(EMPTY).exists() {
        return missing("ovmf");
    }
    let (own, other) = (list(X509, &[&files.der("db.pem")]), list(X509, &[&files.der("other.pem")]));
    let flash = |variables: &[Vec<u8>]| {
        let mut flash = read(Path::new(EMPTY));
        let start = usize::from(u16::from_le_bytes([flash[48], flash[49]]));
        let size = word(&flash, start + 16);
        let all = variables.concat();
        flash[start + 28..start + size].fill(0xff);
        flash[start + 28..][..all.len()].copy_from_slice(&all);
        files.put("flash.fd", &flash)
    };
    let plain = files.put("plain", &program(true, 0));
    let signed = files.signed("db", &plain, "signed");
    let vars = Path::new("--vars");
    let key = || variable("PK", GLOBAL, 0x3f, &own);
    let db = |state: u8, list: &[u8]| variable("db", DATABASE, state, list);
    let dbx = |state: u8| variable("dbx", DATABASE, state, &own);
    let good: (bool, &[&str]) = (true, &["pe.signed"]);
    let forbidden: (bool, &[&str]) = (false, &["pe.revoked"]);
    let foreign: (bool, &[&str]) = (false, &["pe.unsigned"]);
    for (variables, (is_good, rules)) in [
        (vec![key(), db(0x3f, &own)], good),
        (vec![key(), db(0x3f, &own), dbx(0x3f)], forbidden),
        // To be replaced, and not; replaced; deleted.
        (vec![key(), db(0x3f, &own), dbx(0x3e)], forbidden),
        (vec![key(), db(0x3e, &own), db(0x3f, &other)], foreign),
        (vec![key(), db(0x3f, &own), db(0x3e, &other)], good),
        (vec![key(), db(0x3d, &other), db(0x3f, &own), dbx(0x3c), dbx(0x7f)], good),
        // Twice, the second of which nobody finds.
        (vec![key(), db(0x3f, &other), db(0x3f, &own)], foreign),
        (vec![key(), variable("db", GLOBAL, 0x3f, &own), db(0x3f, &other)], foreign),
    ] {
        files.says(&signed, &[vars, &flash(&variables)], is_good, rules, "");
    }
    for (variables, words) in [
        (vec![key(), db(0x3f, &own), vec![0x12, 0x34, 0, 0], dbx(0x3f)], "StartId at offset"),
        (vec![key(), db(0x3f, &own[..own.len() - 1])], "the offset is in the variable db or dbx"),
    ] {
        let output = run(kimage().arg("verify").arg(&signed).arg("--vars").arg(flash(&variables)));
        assert!(!output.status.success() && stderr(&output).contains(words), "{}", stderr(&output));
    }
}

/// Firmware's variables.
#[test]
fn variables_of_a_firmware() {
    const SNAKEOIL: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
    let Some(files) = Files::new() else { return };
    if !Path::new(SNAKEOIL).exists() {
        return missing("ovmf");
    }
    let plain = files.put("plain", &program(true, 0));
    let signed = files.signed("db", &plain, "signed");
    let vars = Path::new("--vars");
    files.says(&signed, &[vars, Path::new(SNAKEOIL)], false, &["pe.unsigned"], "leads to none that is trusted");
    let mut command = Command::new("openssl");
    command.args(["rsa", "-in", "/usr/share/ovmf/PkKek-1-snakeoil.key", "-passin", "pass:snakeoil", "-out"]);
    let key = files.dir.path().join("snake.key");
    run_ok(command.arg(&key));
    let mut command = kimage();
    command.arg("sign").arg(&plain).arg("--key").arg(&key).args([
        "--cert",
        "/usr/share/ovmf/PkKek-1-snakeoil.pem",
        "-q",
        "-o",
    ]);
    let snake = files.dir.path().join("snake");
    run_ok(command.arg(&snake));
    files.says(&snake, &[vars, Path::new(SNAKEOIL)], true, &["pe.signed"], "its certificate is trusted");
    let empty = Path::new("/usr/share/OVMF/OVMF_VARS_4M.fd");
    files.says(&snake, &[vars, empty], false, &["pe.not_enforced", "pe.unsigned"], "no platform key");
    // Microsoft's certificates in one, its revocations in the other.
    let microsoft = Path::new("/usr/share/OVMF/OVMF_VARS_4M.ms.fd");
    files.says(&snake, &[vars, microsoft], false, &["pe.unsigned"], "leads to none that is trusted");
    for (name, bytes) in [("no.fd", vec![0; 4096]), ("cut.fd", read(Path::new(SNAKEOIL))[..0x100].to_vec())] {
        let output = run(kimage().arg("verify").arg(&snake).arg("--vars").arg(files.put(name, &bytes)));
        assert!(!output.status.success() && stderr(&output).contains(name), "{name}: {}", stderr(&output));
    }
}

/// Generations that shim takes no more.
#[test]
fn revoked_generations() {
    let Some(files) = Files::new() else { return };
    let mut file = program(true, 0);
    let table = word(&file, 0x3c) + 24 + 112 + 48;
    file[table + 40..table + 46].copy_from_slice(b".sbat\0");
    let text =
        b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\ntest,2,Test,test,1,none\n";
    file[0x400..0x600].fill(0);
    file[0x400..0x400 + text.len()].copy_from_slice(text);
    let with = files.put("with", &file);
    let level = Path::new("--sbat-level");
    for (lines, rules, words) in [
        ("sbat,1,2024010900\ntest,2\nother,9\n", &[][..], ""),
        ("sbat,1,2024010900\ntest,3\n", &["pe.sbat_revoked"], "test is of generation 2, those below 3 are revoked"),
        ("sbat,2\n", &["pe.sbat_revoked"], "sbat is of generation 1"),
    ] {
        files.says(&with, &[level, &files.put("level", lines.as_bytes())], rules.is_empty(), rules, words);
    }
    let without = files.put("without", &program(true, 0));
    files.says(&without, &[level, &files.put("level", b"sbat,1\n")], false, &["pe.sbat_revoked"], "no section .sbat");
}
