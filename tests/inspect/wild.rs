//! Images that people published with their boards, distributions and lessons: what kimage says of each, held to the truth in
//! testdata/wild.toml. The images themselves are in ../shared/wild only.
#![cfg(feature = "cli")]

use crate::support::{self, kimage, run};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Output;

#[derive(Deserialize)]
struct Table {
    image: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    file: String,
    title: String,
    release: Option<String>,
    arch: Option<String>,
    verify: String,
    vmlinux: String,
    #[serde(default)]
    config: bool,
    symbols: Option<String>,
    note: Option<Vec<String>>,
    todo: Option<String>,
}

fn table() -> Vec<Image> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wild.toml");
    toml::from_str::<Table>(&std::fs::read_to_string(path).unwrap()).unwrap().image
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Does the symbol `linux_banner`, where there is one, lead to the banner? In Linux 2.4 it is a pointer.
fn banner_is_there(elf: &[u8]) -> Option<bool> {
    use object::{Object, ObjectSegment, ObjectSymbol};
    let file = object::File::parse(elf).unwrap();
    let symbol = file.symbol_by_name("linux_banner")?;
    let at = |address: u64| {
        file.segments().find_map(|segment| {
            let inside = usize::try_from(address.checked_sub(segment.address())?).ok()?;
            segment.data().ok()?.get(inside..).map(<[u8]>::to_vec)
        })
    };
    let bytes = at(symbol.address())?;
    let word: [u8; 4] = bytes[..4].try_into().unwrap();
    let word = if file.is_little_endian() { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) };
    Some([Some(bytes), at(word.into())].iter().flatten().any(|bytes| bytes.starts_with(b"Linux version ")))
}

/// Everything by which kimage's words differ from the row.
fn wrong(image: &Image, path: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hold = |what: &str, found: String, kept: bool| {
        if !kept {
            wrong.push(format!("{what}: {found}"));
        }
    };
    let info = run(kimage().arg("info").arg(path));
    let first = out(&info).lines().next().unwrap_or_default().to_owned();
    let title = first.split_once(": ").map_or("", |(_, title)| title);
    hold("title", first.clone(), title.contains(&image.title) && !title.contains("damaged"));
    let field = |name: &str| out(&run(kimage().arg("info").arg(path).args(["--field", name]))).trim().to_owned();
    let release = field("release");
    hold("release", release.clone(), release == image.release.as_deref().unwrap_or_default());
    if let Some(want) = &image.arch {
        let arch = field("arch");
        hold("arch", arch.clone(), arch == *want);
    }
    let verify = run(kimage().arg("verify").arg(path));
    let want = if image.verify == "good" { 0 } else { 1 };
    hold("verify", out(&verify), verify.status.code() == Some(want) && !out(&verify).is_empty());
    if let Some(notes) = &image.note {
        let text = out(&verify);
        hold("notes", text.clone(), notes.iter().all(|id| text.contains(&format!("[{id}]"))));
    }
    let extracted = run(kimage().arg("extract").arg(path).arg("vmlinux"));
    match image.vmlinux.as_str() {
        "none" => hold("vmlinux", "there is one".into(), extracted.status.code() == Some(1)),
        want => {
            let want = if want == "file" { hex(&std::fs::read(path).unwrap()) } else { want.to_owned() };
            hold("extract vmlinux", support::stderr(&extracted), extracted.status.success());
            hold("SHA-256 of vmlinux", hex(&extracted.stdout), hex(&extracted.stdout) == want);
        }
    }
    let elf = tempfile::NamedTempFile::new().unwrap();
    let named = run(kimage().arg("extract").arg(path).args(["vmlinux", "--symbols", "-o"]).arg(elf.path()));
    let said = support::stderr(&named);
    let count = said.split_once(" symbols").map(|(count, _)| count.to_owned());
    let found = count.map(|count| format!("{count} {}", if said.contains("may use") { "exports" } else { "kallsyms" }));
    hold("symbols", said, found == image.symbols);
    if found.is_some() {
        let elf = std::fs::read(elf.path()).unwrap();
        hold("linux_banner", "it does not lead to the banner".into(), banner_is_there(&elf) != Some(false));
    }
    if image.config {
        let config = run(kimage().arg("extract").arg(path).arg("config"));
        hold("extract config", support::stderr(&config), out(&config).contains("\nCONFIG_"));
    }
    wrong
}

#[test]
fn the_truth_about_every_image() {
    let Some(folder) = support::wild() else { return };
    let mut failures = String::new();
    let mut open = Vec::new();
    for image in table() {
        let path = folder.join(&image.file);
        assert!(path.is_file(), "{} is not in the archive", image.file);
        let wrong = wrong(&image, &path);
        match &image.todo {
            None if wrong.is_empty() => {}
            None => failures += &format!("{}:\n  {}\n", image.file, wrong.join("\n  ")),
            Some(kind) if wrong.is_empty() => {
                failures += &format!("{}: right now: take todo = {kind:?} away in testdata/wild.toml\n", image.file);
            }
            Some(kind) => open.push(format!("{} ({kind})", image.file)),
        }
    }
    if !open.is_empty() {
        eprintln!("still wrong: {}", open.join(", "));
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// The table itself: every image of the archive has its row, and no row stands there twice.
#[test]
fn every_image_has_one_row() {
    let mut rows: Vec<String> = table().into_iter().map(|image| image.file).collect();
    rows.sort();
    assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "a row twice");
    let Some(folder) = support::wild() else { return };
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(rows, files);
}
