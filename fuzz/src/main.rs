//! Coverage-guided fuzzing of the library, one target a process: `TARGET=inspect kimage-fuzz CORPUS` (see run.sh).
//! With `KIMAGE_FUZZ_SEEDS=FOLDER` it writes the target's seeds there instead.
#![no_main]

#[path = "../../tests/support/elf.rs"]
mod elf;
#[path = "../../tests/support/files.rs"]
mod files;
mod seeds;
#[path = "../../tests/support/simulated.rs"]
mod simulated;
mod stub;
mod targets;

/// What the modules of the tests want of their crate.
mod support {
    use std::path::{Path, PathBuf};

    pub fn read(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn testdata(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
    }

    pub fn noise(len: usize, seed: u64) -> Vec<u8> {
        let next = |last: &u64| Some(last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(seed), next).map(|state| (state >> 33) as u8).take(len).collect()
    }
}

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn initialize() {
    let wanted = std::env::var("TARGET").unwrap_or_default();
    if let Some(folder) = std::env::var_os("KIMAGE_FUZZ_SEEDS") {
        seeds::write(&wanted, folder.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        std::process::exit(0);
    }
    let Some((_, target)) = targets::ALL.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("TARGET={wanted}: known are {}", targets::ALL.map(|(name, _)| name).join(" "));
        std::process::exit(2);
    };
    let _ = TARGET.set(*target);
}

fuzz_target!(init: initialize(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
});
