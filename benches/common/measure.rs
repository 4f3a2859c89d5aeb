//! Child processes and what they cost: wall time, CPU time and peak memory, from the one call that tells all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One program, what it does and how that went.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    command: Command,
    dir: PathBuf,
    /// Must its output be that of the first contender?
    compared: bool,
    /// Is standard output its output?
    to_stdout: bool,
    runs: Vec<Run>,
}

/// What one run cost.
#[derive(Debug, Clone, Copy)]
struct Run {
    wall: Duration,
    /// User and system time, also of the children it waited for.
    cpu: Duration,
    /// Bytes.
    peak: u64,
}

impl Contender {
    /// `program` with `args`, which writes to `out` in its own folder under `dir`.
    pub(crate) fn new(name: &'static str, dir: &Path, program: &Path, args: &[OsString]) -> io::Result<Contender> {
        let dir = dir.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir_all(&dir)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(&dir).env("SOURCE_DATE_EPOCH", "0").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Contender { name, command, dir, compared: true, to_stdout: false, runs: Vec::new() })
    }

    /// One that shows what the work costs at least, without doing it.
    pub(crate) fn uncompared(mut self) -> Contender {
        self.compared = false;
        self
    }

    /// One that writes its output to standard output.
    pub(crate) fn writing_stdout(mut self) -> Contender {
        self.to_stdout = true;
        self
    }

    fn output(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Runs it once, from an empty folder.
    fn run(&mut self) -> io::Result<Run> {
        for entry in fs::read_dir(&self.dir)? {
            fs::remove_file(entry?.path())?;
        }
        if self.to_stdout {
            self.command.stdout(File::create(self.output())?);
        }
        let started = Instant::now();
        let child = self.command.spawn()?;
        let (status, usage) = wait4(child.id())?;
        let wall = started.elapsed();
        if status != 0 {
            return Err(io::Error::other(format!("{:?} failed: wait status {status:#x}", self.command)));
        }
        let time = |time: libc::timeval| {
            Duration::new(time.tv_sec.unsigned_abs(), 0) + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        let cpu = time(usage.ru_utime) + time(usage.ru_stime);
        Ok(Run { wall, cpu, peak: usage.ru_maxrss.unsigned_abs() << 10 })
    }

    fn sorted<T: Ord>(&self, of: impl Fn(&Run) -> T) -> Vec<T> {
        let mut all: Vec<T> = self.runs.iter().map(of).collect();
        all.sort();
        all
    }

    /// Shortest and median wall time.
    pub(crate) fn wall(&self) -> (Duration, Duration) {
        let all = self.sorted(|run| run.wall);
        (all[0], all[all.len() / 2])
    }

    /// The ratios of wall time to `peer`, turn by turn: from the first quarter of them to the third.
    pub(crate) fn middle_half(&self, peer: &Contender) -> (f64, f64) {
        let ratio = |(ours, theirs): (&Run, &Run)| ours.wall.as_secs_f64() / theirs.wall.as_secs_f64();
        let mut all: Vec<f64> = self.runs.iter().zip(&peer.runs).map(ratio).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 4], all[all.len() * 3 / 4])
    }

    /// Least CPU time.
    pub(crate) fn cpu(&self) -> Duration {
        self.sorted(|run| run.cpu)[0]
    }

    /// Largest peak of memory, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.runs.iter().map(|run| run.peak).max().unwrap_or(0)
    }
}

/// Runs all of them `count` times, one after the other in turns, after one turn that warms the caches and whose outputs
/// are compared. Returns the length of the first one's output.
pub(crate) fn measure(contenders: &mut [Contender], count: usize) -> io::Result<u64> {
    for contender in contenders.iter_mut() {
        contender.run()?;
    }
    let mut len = 0;
    if let [first, rest @ ..] = contenders {
        len = fs::metadata(first.output()).map_or(0, |meta| meta.len());
        for other in rest.iter().filter(|other| other.compared) {
            same(&first.output(), &other.output())?;
        }
    }
    for turn in 0..count {
        // Not always the same one behind the most expensive one.
        let len = contenders.len();
        for index in 0..len {
            let contender = &mut contenders[(index + turn) % len];
            let run = contender.run()?;
            contender.runs.push(run);
        }
    }
    for contender in contenders {
        fs::remove_dir_all(&contender.dir)?;
    }
    Ok(len)
}

/// Fails when two files differ. Reads them in pieces, so as to stay small.
fn same(one: &Path, other: &Path) -> io::Result<()> {
    let differ = || io::Error::other(format!("{} and {} differ", one.display(), other.display()));
    let (mut a, mut b) = (File::open(one)?, File::open(other)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Err(differ());
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = a.read(&mut left)?;
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Err(differ());
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Waits for a child that nobody else waits for.
#[allow(unsafe_code, reason = "std does not tell a single child's CPU time and peak memory")]
fn wait4(pid: u32) -> io::Result<(i32, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: all fields of rusage are integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that the call fills in.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } != pid {
        return Err(io::Error::last_os_error());
    }
    Ok((status, usage))
}
