//! Keys on a token of SoftHSM, and keys that a passphrase closes: what they sign, who is asked, and what is refused.

use crate::fit_sign::{folder, keys, signature, source};
use crate::support::{assert_same, kimage, missing, put, read, run, run_ok, stderr, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A token called `fit` with the keys of [`keys`], and what the modules are called.
struct Token {
    dir: tempfile::TempDir,
    module: PathBuf,
    spy: PathBuf,
}

fn first(paths: &[&str], package: &str) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        missing(&format!("{}: package {package}", paths[0]));
    }
    found
}

impl Token {
    fn new() -> Option<Token> {
        let (keys, util) = (keys()?, tool("softhsm2-util", "softhsm2")?);
        let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
        let spy = ["x86_64-linux-gnu/pkcs11-spy.so", "aarch64-linux-gnu/pkcs11-spy.so", "pkcs11-spy.so"];
        let spy = spy.map(|path| format!("/usr/lib/{path}"));
        let (module, spy) = (first(&module, "softhsm2")?, first(&spy.each_ref().map(String::as_str), "opensc")?);
        let dir = tempdir();
        let token = Token { dir, module, spy };
        fs::create_dir(token.dir.path().join("tokens")).unwrap();
        let text =
            format!("directories.tokendir = {}/tokens\nobjectstore.backend = file\n", token.dir.path().display());
        fs::write(token.dir.path().join("conf"), text).unwrap();
        let init = |label: &str| {
            let mut command = token.command(&util);
            run_ok(command.args(["--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "12345678"]));
        };
        init("fit");
        init("other");
        let openssl = tool("openssl", "openssl")?;
        for (id, name) in [("a1", "dev.key"), ("a2", "r4096.key"), ("a3", "e256.pem"), ("a4", "e384.pem")] {
            let pkcs8 = token.dir.path().join(name);
            let mut command = Command::new(&openssl);
            run_ok(command.args(["pkcs8", "-topk8", "-nocrypt", "-in"]).arg(keys.join(name)).arg("-out").arg(&pkcs8));
            let label = name.split('.').next().unwrap();
            let mut command = token.command(&util);
            command.args(["--token", "fit", "--pin", "1234", "--label", label, "--id", id, "--import"]);
            run_ok(command.arg(&pkcs8));
        }
        Some(token)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.dir.path().join("conf"));
        command
    }

    /// kimage in `dir`, with the spy that writes to `log`.
    fn kimage(&self, dir: &Path) -> Command {
        let mut command = kimage();
        command.current_dir(dir).env("SOFTHSM2_CONF", self.dir.path().join("conf"));
        command.env("PKCS11SPY", &self.module).env("PKCS11SPY_OUTPUT", dir.join("log"));
        command
    }
}

/// How often the token was asked to sign.
fn signed(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().lines().filter(|line| line.ends_with(": C_SignInit")).count()
}

/// RSA by PKCS#1 v1.5: the bytes that the same keys make as files, image and control device tree, each signature once; PSS and ECDSA
/// hold.
#[test]
fn keys_on_a_token() {
    let Some(token) = Token::new() else { return };
    let keys = keys().unwrap();
    let dir = folder();
    let dir = dir.path();
    put(dir, "pin", b"1234\n");
    put(dir, "wrong", b"4321\n");
    let second = "signature-2 { algo = \"sha512,rsa4096\"; key-name-hint = \"r4096\"; };";
    let behind = format!("conf-2 {{ kernel = \"kernel\"; {} }};", signature("sha1,rsa2048", "dev", ""));
    let own = signature("sha256,rsa2048", "dev", "");
    fs::write(dir.join("x.its"), source(&own, &format!("{own} {second}"), &behind)).unwrap();
    let fit = |name: &str, options: &[&str]| {
        let control = format!("{name}.dtb");
        fs::copy(dir.join("ctl-plain.dtb"), dir.join(&control)).unwrap();
        let mut command = token.kimage(dir);
        command.args(["fit", "x.its", "-q", "-o", name, "--control-dtb", &control, "--required", "conf"]);
        command.args(options);
        command
    };
    run_ok(&mut fit("files.itb", &["--keys", keys.to_str().unwrap()]));
    let on_spy = format!("pkcs11:token=fit?module-path={}&pin-source=file:pin", token.spy.display());
    run_ok(&mut fit("spy.itb", &["--keys", &on_spy]));
    assert_eq!(signed(&dir.join("log")), 4);
    let by_file = format!("pkcs11:token=fit?module-path={}", token.module.display());
    run_ok(&mut fit("file.itb", &["--keys", &by_file, "--pass-file", "pin"]));
    // One key a name, the module from the environment, a name with %.
    let (dev, r4096) =
        ("dev=pkcs11:token=%66it;object=dev?pin-value=1234", "r4096=pkcs11:token=fit;id=%a2;type=private");
    let mut named = fit("named.itb", &["--key", dev, "--key", r4096]);
    run_ok(named.env("PKCS11_MODULE_PATH", &token.module));
    for name in ["spy.itb", "file.itb", "named.itb"] {
        assert_same(name, &read(&dir.join(name)), &read(&dir.join("files.itb")));
        assert_same(name, &read(&dir.join(format!("{name}.dtb"))), &read(&dir.join("files.itb.dtb")));
    }
    // Public keys of a token, for the control device tree alone and for what was signed elsewhere.
    let pubkey = |from: &str, to: &str| {
        let mut command = token.kimage(dir);
        command.args(["pubkey", "ctl-plain.dtb", "--key-name", "e256", "--algo", "sha256,ecdsa256", "-o", to]);
        run_ok(command.args(["--key-dir", from]));
        read(&dir.join(to))
    };
    assert_same("pubkey", &pubkey(&by_file, "one.dtb"), &pubkey(keys.to_str().unwrap(), "two.dtb"));
    for (algo, key, more) in [
        ("sha256,rsa2048", "dev", "padding = \"pss\";"),
        ("sha256,ecdsa256", "e256", ""),
        ("sha384,ecdsa384", "e384", ""),
    ] {
        let own = signature(algo, key, &format!("{more} sign-images = \"kernel\", \"fdt\";"));
        fs::write(dir.join("x.its"), source("", &own, "")).unwrap();
        run_ok(&mut fit("x.itb", &["--keys", &on_spy]));
        let mut command = token.kimage(dir);
        run_ok(command.args(["verify", "x.itb", "--key"]).arg(keys.join(if more.is_empty() {
            format!("{key}.pem")
        } else {
            format!("{key}.crt")
        })));
    }
    // What is not there, or does not open.
    fs::write(dir.join("x.its"), source("", &own, "")).unwrap();
    let at = |path: &str, query: &str| format!("pkcs11:{path}?module-path={}{query}", token.module.display());
    for (key, words) in [
        (at("token=fit", ""), "wants a PIN"),
        (at("token=fit", "&pin-value=4321"), "does not take the PIN"),
        (at("token=fit", "&pin-source=wrong"), "does not take the PIN"),
        (at("token=fit", "&pin-source=nowhere"), "nowhere"),
        (at("token=fit", "&pin-source=|id"), "is a command"),
        (at("token=tif", "&pin-value=1234"), "there is \"fit\", \"other\""),
        (at("", "&pin-value=1234"), "fits several tokens"),
        (at("token=other", "&pin-value=1234"), "has no private key called \"dev\""),
        (at("token=fit;object=prod", "&pin-value=1234"), "has no private key of object=prod"),
        (at("token=fit;object=r4096", "&pin-value=1234"), "the key is of rsa4096"),
        (at("token=fit;object=%6", "&pin-value=1234"), "a % without"),
        (at("token=fit;colour=red", ""), "known are token"),
        ("pkcs11:token=fit".to_owned(), "names no PKCS#11 module"),
        ("pkcs11:token=fit?module-path=nowhere.so".to_owned(), "cannot be loaded"),
        ("pkcs11:token=fit?module-path=pin".to_owned(), "cannot be loaded"),
    ] {
        let output = run(fit("bad.itb", &["--key", &key]).env_remove("PKCS11_MODULE_PATH"));
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(words), "{key}: {said}");
        assert!(said.contains("/configurations/conf-1/signature-1") && !dir.join("bad.itb").exists(), "{key}: {said}");
    }
}

/// A key that is closed: the passphrase comes from a file, a descriptor or the terminal, and a wrong one is said to be wrong.
#[test]
fn passphrases() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let Some(script) = tool("script", "bsdutils") else { return };
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("x.its"), source("", &signature("sha256,rsa2048", "dev", ""), "")).unwrap();
    let mut command = Command::new(openssl);
    command.current_dir(dir).args(["pkcs8", "-topk8", "-passout", "pass:sec ret", "-out", "closed.key", "-in"]);
    run_ok(command.arg(keys.join("dev.key")));
    put(dir, "right", b"sec ret\r\nmore\n");
    put(dir, "wrong", b"sec\n");
    let kimage = kimage().get_program().to_owned().into_string().unwrap();
    let sh = |command: &str| {
        let mut shell = Command::new("sh");
        shell.current_dir(dir).env("KIMAGE", &kimage).args(["-c", command]);
        run(&mut shell)
    };
    const FIT: &str = "\"$KIMAGE\" fit x.its -q -o x.itb --key";
    run_ok(
        Command::new("sh")
            .current_dir(dir)
            .env("KIMAGE", &kimage)
            .args(["-c", &format!("{FIT} dev.key").replace("dev.key", keys.join("dev.key").to_str().unwrap())]),
    );
    let wanted = read(&dir.join("x.itb"));
    let script = script.display();
    for (command, good) in [
        (format!("{FIT} closed.key --pass-file right"), true),
        (format!("{FIT} closed.key --pass-fd 3 3<right"), true),
        (format!("cat right | {FIT} closed.key --pass-fd 0"), true),
        (format!("printf 'sec ret\\n' | {script} -qec '{FIT} closed.key' log"), true),
        (format!("printf 'sec\\n' | {script} -qec '{FIT} closed.key' log"), false),
        (format!("{FIT} closed.key --pass-file wrong"), false),
        (format!("{FIT} closed.key --pass-fd 3 3<wrong"), false),
        (format!("setsid {FIT} closed.key </dev/null"), false),
        (format!("{FIT} closed.key --pass-file nowhere"), false),
        (format!("{FIT} closed.key --pass-fd 77"), false),
        (format!("{FIT} closed.key --pass-fd 3 --pass-file right 3<right"), false),
    ] {
        let _ = fs::remove_file(dir.join("x.itb"));
        let output = sh(&command);
        assert_eq!(output.status.success(), good, "{command}: {}", stderr(&output));
        match good {
            true => assert_same(&command, &read(&dir.join("x.itb")), &wanted),
            false => assert!(!dir.join("x.itb").exists(), "{command}"),
        }
    }
    for (command, words) in [
        (format!("{FIT} closed.key --pass-file wrong"), "this passphrase does not open it"),
        (format!("setsid {FIT} closed.key </dev/null"), "there is no passphrase"),
        (format!("{FIT} dev=closed.key --key dev=closed.key"), "two keys are given"),
        (format!("{FIT} closed.key --keys ."), "two keys are given"),
    ] {
        let said = stderr(&sh(&command));
        assert!(said.contains(words), "{command}: {said}");
    }
}

/// An EFI program signed on the token has the bytes of one signed with the same key in a file; the token is asked once.
#[test]
fn an_efi_program() {
    let Some(token) = Token::new() else { return };
    let keys = keys().unwrap();
    let dir = tempdir();
    let dir = dir.path();
    put(dir, "pin", b"1234\n");
    put(dir, "plain", &crate::authenticode::program(true, 0));
    let sign = |key: &str, to: &str| {
        let mut command = token.kimage(dir);
        command.args(["sign", "plain", "--key", key, "--pass-file", "pin", "-q", "-o", to, "--cert"]);
        run_ok(command.arg(keys.join("dev.crt")));
        read(&dir.join(to))
    };
    let by_token = sign(&format!("pkcs11:token=fit;object=dev?module-path={}", token.spy.display()), "token");
    assert_eq!(signed(&dir.join("log")), 1);
    assert_same("the key in a file", &by_token, &sign(keys.join("dev.key").to_str().unwrap(), "file"));
}
