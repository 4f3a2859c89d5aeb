//! What the tests share: the corpus, the real tools, folders that clean up after themselves, the kimage binary.
//!
//! A test that needs something that is not there says so loudly and passes, unless `KIMAGE_REQUIRE_ALL=1` (as in
//! `.ci/run`): then it fails.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// One unpacked kernel tree.
#[derive(Debug, Clone)]
pub struct Tree {
    pub name: String,
    pub dir: PathBuf,
}

impl Tree {
    /// The path of a file of the tree.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// A file of the tree.
    pub fn read(&self, file: &str) -> Vec<u8> {
        read(&self.path(file))
    }

    /// The relocs tool of the tree's own release, which no package has: where the tree kept it (`tools-relocs`), or
    /// `relocs-6.1` and so on in the folder `KIMAGE_RELOCS_TOOLS`.
    pub fn relocs_tool(&self) -> Option<PathBuf> {
        let version = self.name.split('-').nth(1).unwrap_or_default();
        let folder =
            std::env::var_os("KIMAGE_RELOCS_TOOLS").map(|dir| Path::new(&dir).join(format!("relocs-{version}")));
        let kept = ["tools-relocs", "arch/x86/tools/relocs"].map(|file| self.path(file));
        kept.into_iter().chain(folder).find(|path| path.is_file())
    }

    pub fn is_x86(&self) -> bool {
        self.path("arch/x86/boot").is_dir()
    }

    pub fn is_arm(&self) -> bool {
        self.path("arch/arm/boot").is_dir()
    }
}

/// The archives that are always in the corpus; others may be beside them.
pub const CORPUS: [&str; 6] = [
    "linux-5.10-x86_64-gzip",
    "linux-6.1-arm-gzip",
    "linux-6.1-i386-lzma",
    "linux-6.1-x86_64-xz",
    "linux-6.12-x86_64-lz4",
    "linux-7.2-x86_64-zstd",
];

/// Every tree of the corpus: the archives of `KIMAGE_CORPUS` (default `../shared/corpus` beside the crate), unpacked once, and
/// the folders there that are trees already.
pub fn corpus() -> &'static [Tree] {
    static TREES: OnceLock<Vec<Tree>> = OnceLock::new();
    TREES.get_or_init(|| {
        let folder = match std::env::var_os("KIMAGE_CORPUS") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        };
        let mut trees = Vec::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(name) = name.strip_suffix(".tar.zst") {
                trees.push(Tree { name: name.to_owned(), dir: unpack(&entry.path(), name) });
            } else if entry.path().join(".config").is_file() {
                trees.push(Tree { name, dir: entry.path() });
            }
        }
        trees.sort_by(|a, b| a.name.cmp(&b.name));
        if trees.is_empty() {
            missing(&format!("no corpus in {}: set KIMAGE_CORPUS to the folder of its archives", folder.display()));
        }
        trees
    })
}

/// The cache of Debian's kernels; with KIMAGE_REQUIRE_ALL=1 it is filled first.
pub fn debian() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/kimage/debian");
        let cache = std::env::var_os("KIMAGE_DEBIAN").map_or_else(home, PathBuf::from);
        if std::env::var_os("KIMAGE_REQUIRE_ALL").is_some() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch-debian.sh");
            run_ok(Command::new("sh").arg(script).arg(&cache));
        }
        cache
    })
}

/// A kernel of that cache (`bookworm-arm64-cloud-arm64`), or a loud word and `None`.
pub fn debian_kernel(name: &str) -> Option<PathBuf> {
    let folder = debian().join(name);
    let found = image_in(&folder, "vmlinu");
    if found.is_none() {
        missing(&format!("no kernel in {}: run tests/fetch-debian.sh", folder.display()));
    }
    found
}

/// The file of a folder whose name begins so.
pub fn image_in(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut files = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    files.next()
}

/// The kernel's own scripts/extract-vmlinux, in the sources that `KIMAGE_LINUX` names: it is in no package.
pub fn extract_vmlinux() -> Option<PathBuf> {
    std::env::var_os("KIMAGE_LINUX").map(|source| PathBuf::from(source).join("scripts/extract-vmlinux"))
}

/// The tree of that name, if the corpus is there.
pub fn tree(name: &str) -> Option<&'static Tree> {
    corpus().iter().find(|tree| tree.name == name)
}

/// Unpacks an archive beside the build output, once for all test binaries and for as long as the archive is the same.
fn unpack(archive: &Path, name: &str) -> PathBuf {
    let meta = fs::metadata(archive).unwrap();
    let cache = target_dir().join("corpus");
    let done = cache.join(format!("{name}-{}", meta.len()));
    if !done.is_dir() {
        fs::create_dir_all(&cache).unwrap();
        let fresh = tempfile::tempdir_in(&cache).unwrap();
        let stream = zstd::Decoder::new(fs::File::open(archive).unwrap()).unwrap();
        tar::Archive::new(stream).unpack(fresh.path()).unwrap();
        // Another test binary may have been faster; then its copy is as good.
        let _ = fs::rename(fresh.keep(), &done);
    }
    done.join(name)
}

/// Cargo's output folder: test binaries stand in `<target>/<profile>/deps/`.
pub fn target_dir() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// The binary under test. Without the feature `cli` there is none; the tests of the library run all the same.
pub fn kimage_path() -> &'static str {
    let Some(path) = option_env!("CARGO_BIN_EXE_kimage") else {
        panic!("this test runs the command: leave out --no-default-features");
    };
    path
}

/// A command line of the binary under test, without anything of the caller's environment that it could notice.
pub fn kimage() -> Command {
    let mut command = Command::new(kimage_path());
    command.env_remove("SOURCE_DATE_EPOCH").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Says loudly that something is missing; fails where everything must be there.
pub fn missing(what: &str) {
    let text = format!("\n*** NOT TESTED: {what}\n");
    assert!(std::env::var_os("KIMAGE_REQUIRE_ALL").is_none(), "{text}");
    eprintln!("{text}");
}

/// The path of a tool of this name, or a loud word and `None`. `package` is what Debian calls it.
pub fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        missing(&format!("{name} is not installed (apt-get install {package})"));
    }
    found
}

/// Says loudly that no tree of the corpus has its relocs tool. Nowhere a failure: it comes with a kernel's build alone.
pub fn no_relocs_tool() {
    eprintln!(
        "\n*** NOT TESTED: no relocs tool of a kernel's build; name a folder with relocs-6.1 ... in KIMAGE_RELOCS_TOOLS\n"
    );
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed.
pub fn run_ok(command: &mut Command) -> Output {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, stderr(&output));
    output
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error: io::Error| panic!("{}: {error}", path.display()))
}

/// A folder that goes away when the test ends.
pub fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Compares two images; says where they part instead of printing megabytes.
#[track_caller]
pub fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if got != want {
        let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or_else(|| got.len().min(want.len()));
        panic!(
            "{what}: {} bytes, wanted {}; first difference at {at:#x}: {:02x?}, wanted {:02x?}",
            got.len(),
            want.len(),
            got.get(at..(at + 8).min(got.len())),
            want.get(at..(at + 8).min(want.len()))
        );
    }
}

/// A file of testdata.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}
