//! What the tests share: the corpus, the real tools, folders that clean up after themselves, the kimage binary.
//!
//! A test that needs something that is not there says so by [`missing`], which counts it, and passes, unless
//! `KIMAGE_REQUIRE_ALL=1` (as in `.ci/run`): then it fails. tests/architecture/untested.rs holds all tests to that.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

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

    /// The relocs tool of the tree's own release, which no package has: where the tree kept it, or a tree of the same
    /// release that tests/make-kernels.sh made; or `relocs-6.1` and so on in the folder `KIMAGE_RELOCS_TOOLS`.
    pub fn relocs_tool(&self) -> Option<PathBuf> {
        const TOOL: &str = "arch/x86/tools/relocs";
        let version = self.name.split('-').nth(1).unwrap_or_default();
        let folder =
            std::env::var_os("KIMAGE_RELOCS_TOOLS").map(|dir| Path::new(&dir).join(format!("relocs-{version}")));
        let kept = ["tools-relocs", TOOL].map(|file| self.path(file));
        let made = fs::read_dir(cache().join("kernels")).into_iter().flatten().flatten();
        let made = made.filter(|tree| tree.file_name().to_string_lossy().split('-').nth(1) == Some(version));
        let made = made.map(|tree| tree.path().join(TOOL));
        kept.into_iter().chain(folder).chain(made).find(|path| path.is_file())
    }

    /// The kernel itself, with its relocations: newer builds strip them off vmlinux.
    pub fn unstripped(&self) -> PathBuf {
        Some(self.path("vmlinux.unstripped")).filter(|path| path.is_file()).unwrap_or_else(|| self.path("vmlinux"))
    }

    pub fn is_x86(&self) -> bool {
        self.path("arch/x86/boot").is_dir()
    }

    pub fn is_arm(&self) -> bool {
        self.path("arch/arm/boot").is_dir()
    }
}

/// Where the kernel trees are: in `KIMAGE_CORPUS`, else in `../shared/corpus` beside the crate, else what
/// tests/make-kernels.sh made.
fn corpus_folder() -> PathBuf {
    let shared = || Some(shared("corpus")).filter(|path| path.is_dir());
    let named = std::env::var_os("KIMAGE_CORPUS").map(PathBuf::from);
    named.or_else(shared).unwrap_or_else(|| cache().join("kernels"))
}

/// What is fetched and made once for all runs: `KIMAGE_CACHE`.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/kimage");
    std::env::var_os("KIMAGE_CACHE").map_or_else(home, PathBuf::from)
}

/// Every tree of the corpus: archives, unpacked once, and folders that are trees already. Says so where there is none.
pub fn corpus() -> &'static [Tree] {
    static TREES: OnceLock<Vec<Tree>> = OnceLock::new();
    let trees = TREES.get_or_init(|| {
        let mut trees = Vec::new();
        for entry in fs::read_dir(corpus_folder()).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(name) = name.strip_suffix(".tar.zst") {
                trees.push(Tree { name: name.to_owned(), dir: unpack(&entry.path(), name).join(name) });
            } else if entry.path().join(".config").is_file() {
                trees.push(Tree { name, dir: entry.path() });
            }
        }
        trees.sort_by(|a, b| a.name.cmp(&b.name));
        trees
    });
    if trees.is_empty() {
        missing(&format!("no kernel trees in {} ({MAKE_TREES})", corpus_folder().display()));
    }
    trees
}

/// The way out where there is no tree of a kind.
const MAKE_TREES: &str = "sh tests/make-kernels.sh makes them, KIMAGE_CORPUS names others";

/// The way out where only the long run makes something.
pub const FULL_MAKES: &str = "sh tests/run.sh --full makes it, KIMAGE_CORPUS names others";

/// The generation of kernels that tests/make-kernels.sh makes for every run.
const MADE: &str = "6.1";

/// The way to trees of other generations than the one that every run has.
pub fn way_to_generations() -> &'static str {
    if corpus_folder() == cache().join("kernels") { FULL_MAKES } else { MAKE_TREES }
}

/// The trees that are `what`; says so where there is none.
pub fn trees(what: &str, is: impl Fn(&Tree) -> bool) -> Vec<&'static Tree> {
    trees_by(MAKE_TREES, what, is)
}

/// The same, of which there may be some in other generations alone.
pub fn trees_of_generations(what: &str, is: impl Fn(&Tree) -> bool) -> Vec<&'static Tree> {
    trees_by(way_to_generations(), what, is)
}

fn trees_by(way: &str, what: &str, is: impl Fn(&Tree) -> bool) -> Vec<&'static Tree> {
    let found: Vec<&Tree> = corpus().iter().filter(|tree| is(tree)).collect();
    if found.is_empty() && !corpus().is_empty() {
        missing(&format!("no {what} kernel tree in {} ({way})", corpus_folder().display()));
    }
    found
}

pub fn x86_trees() -> Vec<&'static Tree> {
    trees("x86", Tree::is_x86)
}

pub fn arm_trees() -> Vec<&'static Tree> {
    trees("ARM", Tree::is_arm)
}

/// A tree with all of these traits, joined by `-`: version, CPU, codec (`6.1-x86_64-xz`, `arm`, `x86_64-zstd`). Says so
/// where there is none.
pub fn tree(traits: &str) -> Option<&'static Tree> {
    let has_all = |tree: &Tree| traits.split('-').all(|word| tree.name.split('-').any(|part| part == word));
    let way = if traits.split('-').any(|word| word == MADE) { MAKE_TREES } else { way_to_generations() };
    trees_by(way, traits, has_all).first().copied()
}

/// A tool of U-Boot's that is in no package, with its release (2025, 1): of the two that tests/fetch-uboot-tools.sh built, those that
/// have it.
pub fn uboot_tools(tool: &str) -> Vec<(PathBuf, (u32, u32))> {
    let mut all = Vec::new();
    for name in ["2023.01", "newest"] {
        let folder = cache().join("uboot-tools").join(name);
        let (path, mkimage) = (folder.join(tool), folder.join("mkimage"));
        // fdt_add_pubkey came with 2023.04.
        let is_younger = tool == "fdt_add_pubkey" && name == "2023.01" && mkimage.is_file();
        if path.is_file() && mkimage.is_file() {
            let said = String::from_utf8(run_ok(Command::new(mkimage).arg("-V")).stdout).unwrap();
            let mut numbers = said.split(|it: char| !it.is_ascii_digit()).filter_map(|number| number.parse().ok());
            all.push((path, (numbers.next().unwrap(), numbers.next().unwrap())));
        } else if !is_younger {
            missing(&format!("no {}: sh tests/fetch-uboot-tools.sh", path.display()));
        }
    }
    all
}

/// The cache of Debian's kernels; with KIMAGE_REQUIRE_ALL=1 it is filled first.
pub fn debian() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let cache = std::env::var_os("KIMAGE_DEBIAN").map_or_else(|| cache().join("debian"), PathBuf::from);
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

/// The kernel's own scripts/extract-vmlinux.
pub fn extract_vmlinux() -> Option<PathBuf> {
    source("scripts/extract-vmlinux")
}

/// A file of a kernel's sources: of those that `KIMAGE_LINUX` names, or as tests/make-kernels.sh kept it.
pub fn source(file: &str) -> Option<PathBuf> {
    let named = std::env::var_os("KIMAGE_LINUX").map(|source| PathBuf::from(source).join(file));
    let name = Path::new(file).file_name().unwrap();
    let found = named.or_else(|| Some(cache().join("kernels").join(name))).filter(|path| path.is_file());
    if found.is_none() {
        missing(&format!("no {file} (sh tests/make-kernels.sh keeps it, or KIMAGE_LINUX names a kernel's sources)"));
    }
    found
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
    done
}

/// A folder of `../shared` beside the crate, or of what `KIMAGE_SHARED` names for it: `.ci/run` names what is not there.
pub fn shared(name: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("KIMAGE_SHARED").map_or_else(beside, PathBuf::from).join(name)
}

/// The folder of images that people published (`../shared/wild`), unpacked once; or a loud word and `None`.
pub fn wild() -> Option<PathBuf> {
    let archive = shared("wild/images.tar.zst");
    if !archive.is_file() {
        missing(&format!(
            "no images of others: {} is not there (this project's own machines have it)",
            archive.display()
        ));
        return None;
    }
    Some(unpack(&archive, "wild"))
}

/// Published builds of old kernels (`../shared/corpus-old`): these of their folders, in a folder of their own; or a loud word
/// and `None`.
pub fn old_trees<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<tempfile::TempDir> {
    let archive = shared("corpus-old/real-trees.tar.xz");
    if !archive.is_file() {
        missing(&format!("no old kernel trees: {} is not there", archive.display()));
        return None;
    }
    let dir = tempdir();
    let names: std::collections::BTreeSet<String> = names.into_iter().map(|name| format!("./{name}")).collect();
    run_ok(Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(dir.path()).args(names));
    Some(dir)
}

/// Runs the same for each job, so many at a time. All of them run; the first failure is passed on.
pub fn each<T: Sync>(jobs: &[T], at_a_time: usize, run: impl Fn(&T) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        // They bear the test's name, for what they say to be missing.
        let name = std::thread::current().name().unwrap_or("each").to_owned();
        for _ in 0..jobs.len().min(at_a_time) {
            let work = || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = catch_unwind(AssertUnwindSafe(|| run(job))) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                    }
                }
            };
            std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, work).unwrap();
        }
    });
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(why);
    }
}

/// The same, as many at a time as there are processors: for what is long and would be the last to end.
pub fn side_by_side<T: Sync>(jobs: &[T], run: impl Fn(&T) + Sync) {
    each(jobs, std::thread::available_parallelism().map_or(1, usize::from), run);
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

/// What this test needs is not there, so it cannot test, or not all that it should. Every such word goes through here:
/// it is counted (tests/run.sh sums up all of them: which test, why, and how to change that), and with
/// `KIMAGE_REQUIRE_ALL=1` the test fails. `what` names the way out. Counted, and no failure, are what is in `../shared` alone
/// where there is none (nobody could do anything about it), and what takes `--full` where that was not asked for.
pub fn missing(what: &str) {
    let why_no_failure = if what.contains(&*shared("").to_string_lossy()) && !shared("").is_dir() {
        Some(
            "these files are not ours to hand on, so a clone cannot have them; put ../shared beside the clone to have them tested",
        )
    } else if what.contains(FULL_MAKES) && !full() {
        Some("it takes long and was not asked for")
    } else {
        None
    };
    let what = match why_no_failure {
        Some(why) => format!("{what} (no failure, with KIMAGE_REQUIRE_ALL neither: {why})"),
        None => what.to_owned(),
    };
    let text = format!("\n*** NOT TESTED: {what}\n");
    let thread = std::thread::current();
    let test = format!("{}::{}", test_binary(), thread.name().unwrap_or("(a thread of a test)"));
    if let Some(list) = std::env::var_os("KIMAGE_UNTESTED") {
        let line = format!("{test}\t{}\n", what.split_whitespace().collect::<Vec<_>>().join(" "));
        // Many processes write to the one list: a line is one write, at the end of the file whoever else wrote.
        let file = fs::OpenOptions::new().create(true).append(true).open(&list);
        let written = file.and_then(|mut file| io::Write::write_all(&mut file, line.as_bytes()));
        assert!(written.is_ok(), "{}: {written:?}: {text}", Path::new(&list).display());
    }
    assert!(why_no_failure.is_some() || std::env::var_os("KIMAGE_REQUIRE_ALL").is_none(), "{text}");
    eprintln!("{text}");
}

/// The name of this test binary, without what Cargo adds.
fn test_binary() -> String {
    let path = std::env::current_exe().unwrap();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem.rsplit_once('-').map_or(stem, |(name, _)| name).to_owned()
}

/// True with `--full` of tests/run.sh: the tests that take long are asked for. Without it they are left out by choice,
/// which is no failure to test.
pub fn full() -> bool {
    std::env::var_os("KIMAGE_FULL").is_some()
}

/// The path of a tool of this name, or a loud word and `None`. `package` is what Debian calls it.
pub fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where tests/install-aside.sh put what cannot be installed here.
    let folders = std::env::split_paths(&path).chain([cache().join("aside/bin")]);
    let found = folders.map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        missing(&format!("{name} is not installed (apt-get install {package})"));
    }
    found
}

/// The release that a mkimage says to be, as year and month: `2023.01`.
pub fn mkimage_release(mkimage: &Path) -> String {
    let said = stdout(&run_ok(Command::new(mkimage).arg("-V")));
    let version = said.trim().rsplit(' ').next().unwrap().to_owned();
    version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
}

/// The layout that this mkimage's FITs are held to: that of its release, or the newest that kimage knows.
pub fn mkimage_layout(mkimage: &Path) -> String {
    mkimage_release(mkimage).min("2026.10".to_owned())
}

/// No tree of the corpus has its relocs tool: it comes with a kernel's build alone.
pub fn no_relocs_tool() {
    missing(
        "no relocs tool of a kernel's build (sh tests/make-kernels.sh makes some; or name a folder with relocs-6.1 and so on \
         in KIMAGE_RELOCS_TOOLS)",
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

/// Writes a file of this folder.
pub fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Has kimage make a file of this folder.
pub fn make(dir: &Path, name: &str, command: &str, inputs: &[&Path], options: &[&str]) -> PathBuf {
    run_ok(kimage().current_dir(dir).arg(command).args(inputs).args(options).args(["--quiet", "-o", name]));
    dir.join(name)
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

/// Random numbers, the same in every run (Knuth's MMIX generator, the upper bits).
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// One of these words.
    pub fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }
}

/// The rules of a uImage's checksums that `kimage verify` finds broken.
pub fn wrong_checksums(image: &[u8]) -> Vec<&'static str> {
    let opened = kimage::inspect::open(image, &kimage::inspect::Limits::default()).unwrap();
    let found = kimage::inspect::verify::verify(&opened).findings.into_iter().map(|found| found.finding.rule);
    found.filter(|rule| ["uimage.hcrc", "uimage.dcrc"].contains(rule)).collect()
}

/// A file of testdata.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// Bytes that no codec makes smaller and that look like no format, the same in every run.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| random.below(1 << 31) >> 23).map(|byte| byte as u8).take(len).collect()
}
