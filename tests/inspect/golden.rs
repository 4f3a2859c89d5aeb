//! What `kimage info` prints, word for word: one small file of each format. The form is pinned here; that the values are
//! true is shown by tests/inspect/info.rs and tests/inspect/debian.rs. `KIMAGE_UPDATE=1` writes the files anew: read the difference.

use crate::files;
use crate::schema;
use crate::support::testdata;
use kimage::inspect::{Limits, open};
use kimage::report::{FileInfo, Style, json_schema, write_files_json, write_info_text};
use std::fs;

/// Goldens of streams would show the version of each library: one is enough.
fn goldens() -> Vec<(&'static str, Vec<u8>)> {
    let known = ["bzip2", "lzma", "xz", "lzo", "lz4", "lz4 (legacy frame)", "zstd"];
    files::all().into_iter().filter(|(name, _)| !known.contains(name)).collect()
}

fn compare(name: &str, got: &str) {
    let path = testdata("golden").join(name);
    if std::env::var_os("KIMAGE_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, got).unwrap();
    }
    let want = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(got == want, "{name} is not as it was; KIMAGE_UPDATE=1 writes it anew:\n{got}");
}

#[test]
fn text() {
    for (name, file) in goldens() {
        let opened = open(&file, &Limits::default()).unwrap();
        let mut text = Vec::new();
        write_info_text(name, &opened, Style::default(), &mut text).unwrap();
        for part in opened.parts() {
            text.extend(
                format!("part {}: {} bytes of {}\n", part.name, part.at.end - part.at.start, opened.path(part.layer))
                    .bytes(),
            );
        }
        compare(&format!("{name}.txt"), &String::from_utf8(text).unwrap());
    }
}

#[test]
fn json() {
    for (name, file) in goldens() {
        let opened = open(&file, &Limits::default()).unwrap();
        let mut json = Vec::new();
        write_files_json("info", &[FileInfo::new(name, Ok(&opened))], &mut json).unwrap();
        schema::assert_valid(json_schema("info").unwrap(), &serde_json::from_slice(&json).unwrap());
        if ["bzimage", "uki"].contains(&name) {
            compare(&format!("{name}.json"), &String::from_utf8(json).unwrap());
        }
    }
}
