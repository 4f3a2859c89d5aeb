//! One direction of one codec in a child of its own: its fresh memory is that codec's alone, and what ends it (the
//! system, when memory runs out) does not end the others.
//!
//! The data goes to the child's standard input, which then stays open: its end tells the child that its parent is gone.
//! The child answers with a line, the nanoseconds and the bytes of memory, and with the stream that it made.

use crate::args::{BenchOne, Direction, Variant};
use anyhow::{Context, Result, anyhow, bail};
use kimage::assemble::Payload;
use kimage::codec::Parameters;
use kimage::report::{Conditions, Cost};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What all children of one codec have in common.
pub(super) struct Child<'b> {
    pub(super) variant: &'b Variant,
    pub(super) payload: &'b Payload<'b>,
    pub(super) conditions: Conditions,
}

impl Child<'_> {
    /// Runs one direction. Gives what it took, and the stream if one was made.
    pub(super) fn run(&self, direction: Direction, stream: &[u8]) -> Result<(Cost, Vec<u8>)> {
        let program = std::env::current_exe().context("kimage cannot find itself to start a process")?;
        let (word, runs) = match direction {
            Direction::Compress => ("compress", self.conditions.compress_runs),
            Direction::Decompress => ("decompress", self.conditions.decompress_runs),
        };
        let mut command = Command::new(program);
        command.args(["bench-one", word, &self.variant.name, "--bcj", self.payload.bcj.name()]);
        for (option, value) in [
            ("--jobs", self.conditions.threads.to_string()),
            ("--runs", runs.to_string()),
            ("--data", self.payload.bytes.len().to_string()),
            ("--stream", stream.len().to_string()),
        ] {
            command.args([option, &value]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("kimage cannot start itself")?;
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            // A child that cannot take it all says why.
            let _ = stdin.write_all(&self.payload.bytes).and_then(|()| stdin.write_all(stream));
        }
        let mut answer = Vec::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.read_to_end(&mut answer).context("the answer of a process cannot be read")?;
        }
        drop(stdin);
        let output = child.wait_with_output().context("a process cannot be waited for")?;
        if let Some(signal) = output.status.signal() {
            bail!("signal {signal} ended it while it was to {word}; too little memory is the usual reason");
        }
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it failed without a word");
            return Err(anyhow!("{}", said.strip_prefix("error: ").unwrap_or(said)));
        }
        parse(answer).with_context(|| format!("no answer came of the process that was to {word}"))
    }
}

fn parse(mut answer: Vec<u8>) -> Option<(Cost, Vec<u8>)> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let (ns, memory) = std::str::from_utf8(answer.get(..end)?).ok()?.split_once(' ')?;
    let cost = Cost { ns: ns.parse().ok()?, memory: memory.parse().ok() };
    answer.drain(..=end);
    Some((cost, answer))
}

/// The child.
pub(crate) fn bench_one(args: &BenchOne) -> Result<()> {
    let mut stdin = io::stdin().lock();
    let mut read = |len| -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        stdin.read_exact(&mut bytes).context("standard input")?;
        Ok(bytes)
    };
    let (data, stream) = (read(args.data)?, read(args.stream)?);
    drop(stdin);
    std::thread::spawn(|| {
        // Nothing more comes: this returns when the parent is gone.
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    });
    match args.direction {
        Direction::Compress => compress(args, &data),
        Direction::Decompress => decompress(args, &data, &stream),
    }
}

fn compress(args: &BenchOne, data: &[u8]) -> Result<()> {
    let codec = args.codec.codec;
    let mut parameters = Parameters { threads: args.jobs.get(), ..args.codec.parameters.clone() };
    if codec == kimage::codec::Codec::Xz {
        parameters.bcj = Some(args.bcj);
    }
    // Room for the result, more than any codec needs, that is in memory before the measuring begins.
    let mut stream = vec![0xff; data.len() + data.len() / 8 + (64 << 10)];
    let cost = measure(args, || {
        stream.clear();
        codec.compress(data, &parameters, &mut stream)
    })?;
    answer(cost, &stream)
}

fn decompress(args: &BenchOne, data: &[u8], stream: &[u8]) -> Result<()> {
    let codec = args.codec.codec;
    let limit = data.len() as u64;
    let cost = measure(args, || codec.decompress(stream, limit, &mut io::sink()))?;
    // And once more, to look at what comes out.
    let mut same = Same { rest: data, at: 0 };
    let inflated = codec.decompress(stream, limit, &mut same).map_err(kimage::Error::from)?;
    if inflated.produced != limit || inflated.consumed != stream.len() as u64 {
        bail!(
            "{} bytes came back out of {} of its {}, wanted {limit}: the codec is broken, report it",
            inflated.produced,
            inflated.consumed,
            stream.len()
        );
    }
    answer(cost, &[])
}

/// Takes what must be equal.
struct Same<'d> {
    rest: &'d [u8],
    at: u64,
}

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or_else(|| {
            let at = self.at + self.rest.iter().zip(bytes).take_while(|(want, got)| want == got).count() as u64;
            io::Error::other(format!("other data came back, from offset {at:#x} on: the codec is broken, report it"))
        })?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The fastest of the runs, and the most memory that any of them took.
fn measure<T>(args: &BenchOne, mut work: impl FnMut() -> kimage::codec::Result<T>) -> Result<Cost> {
    let before = status("VmRSS:");
    let mut ns = u64::MAX;
    for _ in 0..args.runs.get() {
        let started = Instant::now();
        work().map_err(kimage::Error::from)?;
        ns = ns.min(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    let memory = status("VmHWM:").zip(before).map(|(peak, before)| peak.saturating_sub(before));
    Ok(Cost { ns, memory })
}

/// A field of this process's memory in bytes: `VmRSS`, the resident memory, and `VmHWM`, the most that it ever was
/// (Linux, proc(5)). `None` elsewhere.
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field))?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

fn answer(cost: Cost, stream: &[u8]) -> Result<()> {
    let memory = cost.memory.map_or("-".to_owned(), |bytes| bytes.to_string());
    let mut out = io::stdout().lock();
    writeln!(out, "{} {memory}", cost.ns)?;
    out.write_all(stream)?;
    Ok(out.flush()?)
}
