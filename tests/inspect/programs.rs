//! Programs that are wrapped like a kernel and are none: memtest86+, iPXE and memdisk, as Debian has them. What is right for
//! the boot protocol is right; nothing of Linux's own build is asked of them. `tests/fetch-debian.sh` fetches them.

use crate::support::{self, debian, kimage, missing, read, run, run_ok, stdout, tempdir};
use std::path::{Path, PathBuf};

/// A file of the package's folder in the cache, or a loud word and `None`.
fn program(file: &str) -> Option<PathBuf> {
    let path = debian().join("bookworm-amd64-programs").join(file);
    if !path.is_file() {
        missing(&format!("no {}: run tests/fetch-debian.sh", path.display()));
        return None;
    }
    Some(path)
}

fn first_line(path: &Path) -> String {
    let text = stdout(&run_ok(kimage().arg("info").arg(path)));
    text.lines().next().unwrap().split_once(": ").unwrap().1.to_owned()
}

fn field(path: &Path, name: &str) -> String {
    stdout(&run_ok(kimage().arg("info").arg(path).args(["--field", name]))).trim().to_owned()
}

/// Title; fields as the programs' sources and od have them; whether the header gives the code's length.
#[test]
fn programs_that_are_no_kernels() {
    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], bool);
    let rows: [Row; 5] = [
        ("ipxe.lkrn", "x86 bzImage, boot protocol 2.07", &[("arch", "x86"), ("setup_sects", "5")], true),
        (
            "memtest86+x64.bin",
            "x86 bzImage, boot protocol 2.12",
            &[("release", "Memtest86+"), ("setup_sects", "2")],
            true,
        ),
        (
            "memtest86+ia32.bin",
            "x86 bzImage, boot protocol 2.12",
            &[("release", "Memtest86+"), ("setup_sects", "2")],
            true,
        ),
        (
            "memtest86+x64.efi",
            "x86 bzImage, boot protocol 2.12",
            &[("release", "Memtest86+"), ("arch", "x86-64")],
            true,
        ),
        ("memdisk", "x86 bzImage, boot protocol 2.03", &[("release", "MEMDISK"), ("setup_sects", "3")], false),
    ];
    let dir = tempdir();
    for (name, title, fields, knows_length) in rows {
        let Some(path) = program(name) else { continue };
        assert_eq!(first_line(&path), title, "{name}");
        for (field_name, value) in fields {
            assert_eq!(field(&path, field_name), *value, "{name}: {field_name}");
        }
        let verify = run(kimage().arg("verify").arg(&path));
        let text = stdout(&verify);
        assert!(verify.status.success() && !text.contains("error") && !text.contains("warning"), "{name}: {text}");
        // No kernel comes out, and nothing is said to be damaged for that.
        let parts = stdout(&run_ok(kimage().arg("extract").arg(&path)));
        assert!(
            !parts.lines().any(|line| line.starts_with("vmlinux") || line.starts_with("payload")),
            "{name}: {parts}"
        );
        let kernel = run(kimage().arg("extract").arg(&path).arg("vmlinux"));
        let said = support::stderr(&kernel);
        assert!(kernel.status.code() == Some(1) && said.contains("there is no part vmlinux"), "{name}: {said}");
        // What is loaded and entered is all behind the setup, but for the padding of the last paragraph.
        let bytes = read(&path);
        let setup = run_ok(kimage().arg("extract").arg(&path).arg("setup")).stdout;
        let code = run_ok(kimage().arg("extract").arg(&path).arg("decompressor")).stdout;
        let taken = [setup, code].concat();
        assert!(bytes.starts_with(&taken), "{name}");
        // The EFI one has its SBAT and relocations behind it.
        assert!(name.ends_with(".efi") || bytes.len() - taken.len() < 16, "{name}");
        // Nor is anything wrong with a signed one; the certificates stand where no boot loader looks.
        if name.ends_with(".efi") {
            let signed = dir.path().join("signed");
            let mut command = kimage();
            command.arg("sign").arg(&path).arg("--key").arg(support::testdata("keys/dev.key")).arg("--cert");
            run_ok(command.arg(support::testdata("keys/dev.pem")).args(["-q", "-o"]).arg(&signed));
            let verify = run(kimage().arg("verify").arg(&signed));
            let text = stdout(&verify);
            assert!(verify.status.success() && !text.contains("error") && !text.contains("warning"), "{name}: {text}");
        }
        // A file that is cut off is told where the header says how long it is.
        let cut = support::put(dir.path(), "cut", &bytes[..bytes.len() / 2]);
        let cut = run(kimage().arg("verify").arg(&cut));
        assert_eq!(cut.status.code(), Some(if knows_length { 1 } else { 0 }), "{name}: {}", stdout(&cut));
    }
}

/// EFI programs, and one that has no header that anything could tell it by.
#[test]
fn efi_programs() {
    for name in ["ipxe.efi", "snponly.efi"] {
        let Some(path) = program(name) else { continue };
        assert_eq!(first_line(&path), "EFI application", "{name}");
        let verify = run(kimage().arg("verify").arg(&path));
        let text = stdout(&verify);
        assert!(verify.status.success() && !text.contains("error") && !text.contains("warning"), "{name}: {text}");
    }
    let Some(path) = program("ipxe.pxe") else { return };
    let info = run(kimage().arg("info").arg(&path));
    let said = support::stderr(&info);
    assert!(info.status.code() == Some(1) && said.contains("no header tells what this is"), "{said}");
}
