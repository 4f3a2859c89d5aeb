//! Keys on a token of SoftHSM, and keys that a passphrase closes: what they sign, who is asked, and what is refused.

use crate::fit_sign::{folder, keys, signature, source};
use crate::support::{assert_same, kimage, missing, put, read, run, run_ok, stderr, tempdir, tool};
use crate::token::{Token, signed};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A token with the keys of [`keys`].
fn token() -> Option<Token> {
    let keys = keys()?;
    let all = [("a1", "dev.key"), ("a2", "r4096.key"), ("a3", "e256.pem"), ("a4", "e384.pem")];
    Token::new(&all.map(|(id, name)| (id, keys.join(name))))
}

/// RSA by PKCS#1 v1.5: the bytes that the same keys make as files, image and control device tree, each signature once; PSS and ECDSA
/// hold.
#[test]
fn keys_on_a_token() {
    let Some(token) = token() else { return };
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

/// A key that wants the PIN again for each signature gets it, and signs as the same key in a file.
#[test]
fn a_pin_for_each_signature() {
    let Some(token) = token() else { return };
    let keys = keys().unwrap();
    if !token.add_closed("b1", "prod", &keys.join("prod.key")) {
        return; // no gap: add_closed() says so
    }
    let dir = folder();
    let dir = dir.path();
    put(dir, "pin", b"1234\n");
    let own = signature("sha256,rsa2048", "prod", "");
    let text = source(&own, &own, &format!("conf-2 {{ kernel = \"kernel\"; {own} }};"));
    fs::write(dir.join("x.its"), text).unwrap();
    let fit = |name: &str, keys: &str, more: &[&str]| {
        let mut command = token.kimage(dir);
        command.args(["fit", "x.its", "-q", "-o", name, "--keys", keys]).args(more);
        command
    };
    run_ok(&mut fit("file.itb", keys.to_str().unwrap(), &[]));
    let uri = format!("pkcs11:token=fit?module-path={}", token.spy.display());
    run_ok(&mut fit("token.itb", &uri, &["--pass-file", "pin"]));
    assert_same("a PIN for each", &read(&dir.join("token.itb")), &read(&dir.join("file.itb")));
    let log = fs::read_to_string(dir.join("log")).unwrap();
    let entered = |user: &str| log.matches(&format!("[in] userType = {user}")).count();
    assert_eq!((signed(&dir.join("log")), entered("CKU_USER"), entered("CKU_CONTEXT_SPECIFIC")), (3, 1, 3), "{log}");
    // Asked on the terminal, once more than there are signatures.
    let Some(script) = tool("script", "bsdutils") else { return };
    let typed = |pins: &str| {
        let mut shell = token.kimage(dir);
        let kimage = shell.get_program().to_owned();
        let environment = shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let environment: Vec<_> = environment.collect();
        shell = std::process::Command::new("sh");
        shell.current_dir(dir).envs(environment).env("KIMAGE", kimage).env("URI", &uri);
        let line = "\"$KIMAGE\" fit x.its -q -o typed.itb --keys \"$URI\"";
        let _ = fs::remove_file(dir.join("typed.itb"));
        run(shell.args(["-c", &format!("printf '{pins}' | {} -qec '{line}' typed.log", script.display())]))
    };
    let output = typed("1234\\n1234\\n1234\\n1234\\n");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("PIN of the token fit, for this signature: "));
    assert_same("typed", &read(&dir.join("typed.itb")), &read(&dir.join("file.itb")));
    let output = typed("1234\\n1234\\n4321\\n1234\\n");
    assert!(!output.status.success() && !dir.join("typed.itb").exists(), "{output:?}");
}

/// Called as mkimage with `-N pkcs11`: FIT and control device tree are mkimage's, by OpenSSL's engine and by the same keys in files.
#[test]
fn called_as_mkimage() {
    let (Some(token), Some(mkimage)) = (token(), tool("mkimage", "u-boot-tools")) else { return };
    let keys = keys().unwrap();
    let dir = folder();
    let dir = dir.path();
    let own = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
    let second = "signature-2 { algo = \"sha512,rsa4096\"; key-name-hint = \"r4096\"; };";
    fs::write(dir.join("x.its"), source(&own, &format!("{own} {second}"), "")).unwrap();
    let line = |mut command: Command, name: &str, keys: &[&str], pin: Option<&str>| {
        let control = format!("{name}.dtb");
        fs::copy(dir.join("ctl-plain.dtb"), dir.join(&control)).unwrap();
        command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000").env("PKCS11_MODULE_PATH", &token.module);
        command.envs(pin.map(|pin| ("MKIMAGE_SIGN_PIN", pin)));
        run(command.args(["-f", "x.its"]).args(keys).args(["-K", &control, "-r", name]))
    };
    let ours = |name: &str, keys: &[&str], pin: Option<&str>| {
        let mut command = token.kimage(dir);
        command.args(["as", "mkimage"]);
        line(command, name, keys, pin)
    };
    let same = |what: &str, one: &str, other: &str| {
        assert_same(what, &read(&dir.join(one)), &read(&dir.join(other)));
        assert_same(what, &read(&dir.join(format!("{one}.dtb"))), &read(&dir.join(format!("{other}.dtb"))));
    };
    let by_files = line(Command::new(&mkimage), "files.itb", &["-k", keys.to_str().unwrap()], None);
    assert!(by_files.status.success(), "{by_files:?}");
    for folder in ["token=fit", "pkcs11:token=fit"] {
        let output = ours("ours.itb", &["-N", "pkcs11", "-k", folder], Some("1234"));
        assert!(output.status.success(), "{output:?}");
        same(folder, "ours.itb", "files.itb");
    }
    // The real one's engine.
    let engines = ["/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so", "/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so"];
    if engines.iter().any(|path| Path::new(path).exists()) {
        let output = line(token.command(&mkimage), "theirs.itb", &["-N", "pkcs11", "-k", "token=fit"], Some("1234"));
        assert!(output.status.success(), "{output:?}");
        same("by its engine", "ours.itb", "theirs.itb");
        let mine = ours("ours.itb", &["-N", "pkcs11", "-k", "token=fit"], Some("1234"));
        let said =
            |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).replace("theirs.itb", "ours.itb");
        let without = |text: String| -> String {
            text.lines()
                .filter(|line| !line.starts_with("Failed to add verification data"))
                .map(|line| format!("{line}\n"))
                .collect()
        };
        assert_eq!(without(said(&mine)), without(said(&output)));
    } else {
        missing(&format!("{}: package libengine-pkcs11-openssl", engines[0]));
    }
    for (keys, pin, words) in [
        (&["-N", "pkcs11", "-k", "token=fit"][..], Some("4321"), "does not take the PIN"),
        (&["-N", "pkcs11", "-k", "token=nobody"], Some("1234"), "no token that the key's URI names"),
        (&["-N", "pkcs11", "-k", "token=other"], Some("1234"), "has no private key called"),
        (&["-N", "pkcs11", "-k", "token=fit;colour=red"], Some("1234"), "known are token"),
    ] {
        let _ = fs::remove_file(dir.join("none.itb"));
        let output = ours("none.itb", keys, pin);
        assert!(!output.status.success() && stderr(&output).contains(words), "{keys:?}: {}", stderr(&output));
        assert!(!dir.join("none.itb").exists(), "{keys:?}");
    }
}

/// An EFI program signed on the token has the bytes of one signed with the same key in a file; the token is asked once.
#[test]
fn an_efi_program() {
    let Some(token) = token() else { return };
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
