//! Tokens of SoftHSM.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use super::support::{kimage, missing, run_ok, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A token called `fit` with keys, one called `other` without, and what the modules are called. The PIN is 1234.
pub struct Token {
    dir: tempfile::TempDir,
    pub module: PathBuf,
    /// Opensc's, which writes down what it is asked.
    pub spy: PathBuf,
}

fn first(paths: &[&str], package: &str) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        missing(&format!("{}: package {package}", paths[0]));
    }
    found
}

impl Token {
    /// With these keys, PEM files, of these ids; a key is called as its file, without the ending.
    pub fn new(keys: &[(&str, PathBuf)]) -> Option<Token> {
        let util = tool("softhsm2-util", "softhsm2")?;
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
        for (id, key) in keys {
            let label = key.file_stem().unwrap();
            let pkcs8 = token.dir.path().join(label);
            let mut command = Command::new(&openssl);
            run_ok(command.args(["pkcs8", "-topk8", "-nocrypt", "-in"]).arg(key).arg("-out").arg(&pkcs8));
            let mut command = token.command(&util);
            command.args(["--token", "fit", "--pin", "1234", "--id", id, "--label"]).arg(label).arg("--import");
            run_ok(command.arg(&pkcs8));
        }
        Some(token)
    }

    /// Puts an RSA key there that wants the PIN again for each signature; false, said loudly, where no tool can.
    pub fn add_closed(&self, id: &str, label: &str, key: &Path) -> bool {
        let (Some(openssl), Some(util)) = (tool("openssl", "openssl"), tool("pkcs11-tool", "opensc")) else {
            return false; // no gap: tool() says so
        };
        let der = self.dir.path().join("der");
        let mut command = Command::new(openssl);
        run_ok(command.args(["rsa", "-traditional", "-outform", "DER", "-in"]).arg(key).arg("-out").arg(&der));
        let mut command = self.command(&util);
        command.arg("--module").arg(&self.module).args(["--token-label", "fit", "--login", "--pin", "1234"]);
        command.args(["--always-auth", "--type", "privkey", "--id", id, "--label", label, "--write-object"]);
        run_ok(command.arg(&der));
        true
    }

    /// A program that finds the token.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.dir.path().join("conf"));
        command
    }

    /// kimage in `dir`, with the spy that writes to `log`.
    pub fn kimage(&self, dir: &Path) -> Command {
        let mut command = kimage();
        command.current_dir(dir).env("SOFTHSM2_CONF", self.dir.path().join("conf"));
        command.env("PKCS11SPY", &self.module).env("PKCS11SPY_OUTPUT", dir.join("log"));
        command
    }
}

/// How often the token was asked to sign.
pub fn signed(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().lines().filter(|line| line.ends_with(": C_SignInit")).count()
}
