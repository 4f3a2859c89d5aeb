//! Compressed kernels that no header leads to: what begins as a codec's streams do is a candidate, decoding is the judge,
//! and one budget bounds all trials of a file.
//!
//! Work is counted, in steps of about a nanosecond: what a decoder reads, what it writes, and each attempt by itself,
//! because a file can be made of nothing but magic numbers, and each of its bytes can belong to thousands of streams.
//! A trial that finds what was searched costs nothing: what came out is a layer, and counted there. A file without tricks
//! fails a few hundred times within a few bytes.

use crate::bytes::{len64, slice};
use crate::codec::{self, Codec, Inflated};
use crate::elf::{BANNER, release_in};
use crate::finding::Finding;
use crate::finding::rules;
use std::cell::Cell;
use std::io::{self, Write};
use std::ops::Range;

/// A compressed kernel.
#[derive(Debug)]
pub(crate) struct Found {
    /// The stream, and what the judge takes for a part of the payload behind it.
    pub at: Range<u64>,
    /// How it is compressed.
    pub codec: Codec,
    /// What it decompresses to.
    pub data: Vec<u8>,
    /// How far the decoder read.
    pub inflated: Inflated,
}

/// A stream that gave much before it broke off: damage, and no chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    /// Where it begins.
    pub at: u64,
    /// How it is compressed.
    pub codec: Codec,
    /// How much came out of it.
    produced: u64,
}

/// Codecs whose streams have pieces of the text as it is, a kernel's banner among them.
pub(crate) const VERBATIM: &[Codec] = &[Codec::Zstd, Codec::Lz4Legacy, Codec::Lz4Frame, Codec::Lzo, Codec::Gzip];

/// The first stream of one of `codecs` that begins in front of `before`, decodes to at most `limit` bytes, and is what is
/// searched by `judge`. That sees the codec, where the stream stands and what it came to, and says where the payload ends.
/// Where there is none, [`Budget::broken`] tells of one that is damaged.
pub(crate) fn find_stream(
    bytes: &[u8],
    before: u64,
    codecs: &[Codec],
    (limit, budget): (u64, &Budget),
    judge: impl Fn(Codec, &Range<u64>, &Tried) -> Option<u64>,
) -> Option<Found> {
    // A magic number that begins in front of it ends behind.
    let starts = slice(bytes, 0, before.saturating_add(16).min(len64(bytes)))?;
    // Every candidate of the codec whose magic number is the longest first: the fewer there are by chance.
    let mut codecs: Vec<Codec> = codecs.to_vec();
    codecs.sort_by_key(|codec| std::cmp::Reverse(codec.magic().len()));
    budget.broken.set(None);
    codecs.into_iter().find_map(|codec| {
        codec.candidates(starts).take_while(|_| budget.is_left()).find_map(|offset| {
            let rest = bytes.get(offset..)?;
            let start = u64::try_from(offset).ok()?;
            let verdict = |tried: &Tried| {
                let stream = start..start + tried.inflated.consumed;
                Some((judge(codec, &stream, tried)?, tried.inflated))
            };
            budget.broke_off.set(0);
            let result = budget.search(codec, rest, limit, |_| true, verdict);
            let produced = budget.broke_off.get();
            if produced > budget.broken.get().map_or(0, |broken| broken.produced) {
                budget.broken.set(Some(Broken { at: start, codec, produced }));
            }
            let ((end, inflated), data) = result?;
            Some(Found { at: start..end, codec, data, inflated })
        })
    })
}

/// Where the size ends that the kernel's build puts behind the stream `at`, unless the codec is gzip, whose own end it is.
pub(crate) fn size_behind(bytes: &[u8], codec: Codec, at: &Range<u64>, tried: &Tried) -> Option<u64> {
    let size = u32::try_from(tried.inflated.produced).ok().filter(|_| codec != Codec::Gzip)?;
    let behind = || size_behind_zeros(slice(bytes, at.end, len64(bytes).saturating_sub(at.end))?, size.into());
    (slice(bytes, at.end, 4) == Some(&size.to_le_bytes())).then_some(4).or_else(behind).map(|len| at.end + len)
}

/// Where in what is behind a stream its size ends, with zeros in front of it: `kimage edit` leaves a payload the place that it
/// had.
pub(crate) fn size_behind_zeros(rest: &[u8], size: u64) -> Option<u64> {
    let zeros = rest.iter().position(|byte| *byte != 0)?;
    let size = u32::try_from(size).ok()?.to_le_bytes();
    // The size may begin with zeros itself.
    let begins = (1.max(zeros.saturating_sub(3))..=zeros)
        .find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(&size)))?;
    u64::try_from(begins + size.len()).ok()
}

/// How many different bytes there would be if each were as frequent: 226 to 256 in blocks of what gzip, bzip2, xz, lzma and
/// zstd write, 40 to 160 (100 and 140 in the middle) of lz4 and lzo, 10 to 45 of code (measured: an ARM kernel, five U-Boots).
fn variety(bytes: &[u8]) -> u64 {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts.get_mut(usize::from(*byte)).into_iter().for_each(|count| *count += 1);
    }
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    len64(bytes).saturating_mul(len64(bytes)).checked_div(squares).unwrap_or(0)
}

/// Bytes of a block whose variety is looked at, those in front of one, and how much is that of compressed data.
const BLOCK: usize = 64 << 10;
const BLOCK_WORK: u64 = 128 << 10;
const BEFORE: usize = 4 << 10;
const DENSE: u64 = 64;

/// Is it compressed data, for its most part?
pub(crate) fn is_dense(bytes: &[u8]) -> bool {
    let blocks = bytes.chunks(BLOCK);
    let dense = blocks.clone().filter(|block| variety(block) >= DENSE).count();
    dense > blocks.len() / 2
}

/// Where dense data begins as a stream of one of the codecs does, behind what is less dense.
pub(crate) fn dense_stream(bytes: &[u8], budget: &Budget) -> Option<(u64, Codec)> {
    Codec::ALL.into_iter().find_map(|codec| {
        codec.candidates(bytes).take_while(|_| budget.is_left()).find_map(|at| {
            budget.spend(BLOCK_WORK);
            let before = bytes.get(at.saturating_sub(BEFORE)..at)?;
            let block = bytes.get(at..bytes.len().min(at.saturating_add(BLOCK)))?;
            (variety(before) < DENSE && variety(block) >= DENSE).then_some((u64::try_from(at).ok()?, codec))
        })
    })
}

/// A judge: the stream is a kernel.
pub(crate) fn kernel_end(bytes: &[u8], codec: Codec, at: &Range<u64>, tried: &Tried) -> Option<u64> {
    tried.has_release.then(|| size_behind(bytes, codec, at, tried).unwrap_or(at.end))
}

rules! {
    /// The rules of searches.
    pub(crate) RULES:
    /// A search was not finished.
    pub(crate) SEARCH_LIMIT = "layer.search_limit", Warning, "work of a search",
        "what was not looked at may hold a kernel, or be damaged",
        "what was not found may be there all the same; cut the stream out and give that to kimage";
}

/// Work that any file is worth.
const LEAST: u64 = 64 << 20;
/// Work for each byte of the file: kernels have a tenth of their size at least.
const PER_BYTE: u64 = 16;
/// Bytes that go into a stream, at least, before an error in it is damage: what only begins like one fails earlier, or gives
/// little or very much for what it reads.
const BROKEN: u64 = 16 << 10;
/// More than this many bytes for each that goes in: no kernel.
const BROKEN_RATIO: u64 = 32;
/// Bytes that are kept of what comes out on trial; more is decoded again when it is what was searched.
const HELD: usize = 64 << 20;

/// What is left for searches in one file.
#[derive(Debug)]
pub(crate) struct Budget {
    work: Cell<u64>,
    /// Attempts so far.
    tried: Cell<u64>,
    /// Bytes that came out of them.
    decoded: Cell<u64>,
    /// A search was cut short since this was last asked.
    cut_short: Cell<bool>,
    /// Bytes that came out of the last stream tried, when it is damaged.
    broke_off: Cell<u64>,
    /// The stream of the last search that gave most before it broke off.
    broken: Cell<Option<Broken>>,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    /// How far the stream reaches, and how much came out.
    pub inflated: Inflated,
    /// Has it the version banner of a kernel in it?
    pub has_release: bool,
}

impl Budget {
    /// For a file of `len` bytes.
    pub(crate) fn new(len: u64) -> Budget {
        let work = Cell::new(LEAST.saturating_add(len.saturating_mul(PER_BYTE)));
        let (tried, decoded, cut_short) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Budget { work, tried, decoded, cut_short, broke_off: Cell::new(0), broken: Cell::new(None) }
    }

    /// Decodes the stream that begins `bytes`, at most `limit` bytes of it, and lets `judge` say whether it is what is
    /// searched. `begins` judges its first bytes before the rest is decoded: at least one, and 64 KiB where there are as
    /// many.
    ///
    /// `None` as well when the budget is used up: [`Budget::finding`] tells.
    pub(crate) fn search<T>(
        &self,
        codec: Codec,
        bytes: &[u8],
        limit: u64,
        begins: impl Fn(&[u8]) -> bool,
        judge: impl FnOnce(&Tried) -> Option<T>,
    ) -> Option<(T, Vec<u8>)> {
        let before = Some(self.work.get()).filter(|_| self.is_left())?;
        let most = limit.min(before);
        let mut trial = Trial { begins, held: Vec::new(), produced: 0, tail: Vec::new(), has_release: false };
        let result = codec.decompress_one(bytes, most, &mut trial);
        let Trial { held, produced, has_release, .. } = trial;
        self.tried.set(self.tried.get().saturating_add(1));
        self.decoded.set(self.decoded.get().saturating_add(produced));
        let read = match &result {
            Ok(inflated) => inflated.consumed,
            Err(error) => reached(error).unwrap_or(produced).min(len64(bytes)),
        };
        self.work.set(before.saturating_sub(cost(codec, read, produced)));
        let inflated = match result {
            Ok(inflated) => inflated,
            Err(codec::Error::TooBig { .. }) if most < limit => {
                self.work.set(0);
                self.cut_short.set(true);
                return None;
            }
            Err(error) => {
                let is_damage = matches!(error, codec::Error::Damaged { .. } | codec::Error::Truncated { .. });
                if is_damage && read >= BROKEN && (read / 2..read.saturating_mul(BROKEN_RATIO)).contains(&produced) {
                    self.broke_off.set(produced);
                }
                return None;
            }
        };
        let verdict = judge(&Tried { inflated, has_release })?;
        let data = if len64(&held) == produced {
            held
        } else {
            let mut data = Vec::new();
            codec.decompress_one(bytes, inflated.produced, &mut data).ok()?;
            data
        };
        // Found: this was no trial.
        self.work.set(before);
        Some((verdict, data))
    }

    /// What the last search found damaged; worth nothing where it found what was searched.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken.get()
    }

    /// Counts the work of a search that decodes nothing.
    pub(crate) fn spend(&self, work: u64) {
        self.work.set(self.work.get().saturating_sub(work));
    }

    /// False when nothing is left: a search that would go on ends.
    pub(crate) fn is_left(&self) -> bool {
        let is_left = self.work.get() > 0;
        if !is_left {
            self.cut_short.set(true);
        }
        is_left
    }

    /// What to say of a layer in which a search was not finished; once for each.
    pub(crate) fn finding(&self) -> Option<Finding> {
        self.cut_short.replace(false).then(|| {
            let (tried, decoded) = (self.tried.get(), self.decoded.get());
            let message = format!(
                "the search for what no header leads to was not finished: {tried} places that begin as compressed data were \
                 tried, {decoded} bytes came out, and the file is not worth more"
            );
            SEARCH_LIMIT.finding(message).not_checked("data that the search did not reach")
        })
    }
}

/// What an attempt costs. Decoders that look at every bit of their input are slow to read, and those that set up tables
/// are slow to start.
fn cost(codec: Codec, read: u64, written: u64) -> u64 {
    let (start, each_read, each_written) = match codec {
        Codec::Bzip2 => (64 << 10, 32, 4),
        Codec::Lzma | Codec::Xz => (64 << 10, 16, 4),
        Codec::Zstd | Codec::Lz4Frame => (16 << 10, 2, 1),
        _ => (16 << 10, 4, 2),
    };
    read.saturating_mul(each_read).saturating_add(written.saturating_mul(each_written)).saturating_add(start)
}

/// How far into the stream an error is.
fn reached(error: &codec::Error) -> Option<u64> {
    match error {
        codec::Error::Damaged { at, .. } | codec::Error::Truncated { at, .. } => Some(at.0),
        codec::Error::Field { source, .. } => Some(source.at.0),
        _ => None,
    }
}

/// Keeps what is not too much, and looks for the banner in all of it.
struct Trial<B> {
    begins: B,
    held: Vec<u8>,
    produced: u64,
    /// The last bytes, in which a banner may begin.
    tail: Vec<u8>,
    has_release: bool,
}

/// Bytes that tell a release: the banner, and 65 behind it.
const RELEASE: usize = BANNER.len() + 66;

impl<B> Trial<B> {
    fn look(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes.get(..RELEASE).unwrap_or(bytes));
        self.has_release = release_in(&self.tail).is_some() || release_in(bytes).is_some();
        match bytes.len().checked_sub(RELEASE).and_then(|from| bytes.get(from..)) {
            Some(last) => self.tail = last.to_vec(),
            None => drop(self.tail.drain(..self.tail.len().saturating_sub(RELEASE))),
        }
    }
}

impl<B: Fn(&[u8]) -> bool> Write for Trial<B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.produced == 0 && !(self.begins)(bytes) {
            return Err(io::ErrorKind::Other.into());
        }
        let is_whole = len64(&self.held) == self.produced;
        self.produced = self.produced.saturating_add(len64(bytes));
        if is_whole && self.held.len().saturating_add(bytes.len()) <= HELD {
            self.held.extend_from_slice(bytes);
        } else {
            self.held = Vec::new();
        }
        if !self.has_release {
            self.look(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Parameters;

    fn packed(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(data, &Parameters { level: Some(9), ..Parameters::default() }, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_found_costs_nothing_and_what_is_not_does() {
        let data = vec![7; 3 << 20];
        let stream = packed(Codec::Gzip, &data);
        let budget = Budget::new(0);
        let (end, decoded) =
            budget.search(Codec::Gzip, &stream, u64::MAX, |_| true, |tried| Some(tried.inflated.consumed)).unwrap();
        assert_eq!((end, decoded), (stream.len() as u64, data));
        assert_eq!(budget.work.get(), LEAST);
        assert!(budget.search(Codec::Gzip, &stream, u64::MAX, |_| true, |_| None::<()>).is_none());
        let spent = LEAST - budget.work.get();
        assert!((6 << 20..8 << 20).contains(&spent), "{spent}");
        assert!(budget.finding().is_none());
    }

    #[test]
    fn it_ends_and_says_so_once() {
        let stream = packed(Codec::Gzip, &vec![0; 3 << 20]);
        let budget = Budget::new(0);
        let tries = (0..1000).take_while(|_| {
            budget.search(Codec::Gzip, &stream, u64::MAX, |_| true, |_| None::<()>);
            budget.work.get() > 0
        });
        // 64 MiB of work, of which each try takes a little over 6.
        assert_eq!(tries.count(), 10);
        assert!(budget.search(Codec::Gzip, &stream, u64::MAX, |_| true, |_| Some(())).is_none());
        let finding = budget.finding().unwrap();
        assert_eq!((finding.rule, finding.severity), (SEARCH_LIMIT.id, SEARCH_LIMIT.severity));
        assert!(budget.finding().is_none());
    }

    /// More than is kept: decoded again, and only when it was what was searched.
    #[test]
    fn much_is_not_kept_on_trial() {
        let mut data = vec![0; HELD + (1 << 20)];
        let at = data.len() - 100;
        data[at..at + 20].copy_from_slice(b"Linux version 6.1.0 ");
        let stream = packed(Codec::Zstd, &data);
        let budget = Budget::new(64 << 20);
        let judge = |tried: &Tried| (tried.has_release && tried.inflated.produced == data.len() as u64).then_some(());
        let (_, decoded) = budget.search(Codec::Zstd, &stream, u64::MAX, |_| true, judge).unwrap();
        assert!(decoded == data);
    }

    #[test]
    fn a_banner_on_a_seam_is_seen() {
        let banner = b"Linux version 6.1.0-50-amd64 (x@y)";
        for cut in 0..banner.len() {
            for piece in [1, 7, 200] {
                let mut data = vec![b'.'; 300];
                data.extend_from_slice(banner);
                data.extend_from_slice(&[b'.'; 300]);
                let (one, two) = data.split_at(300 + cut);
                let mut trial = Trial {
                    begins: |_: &[u8]| true,
                    held: Vec::new(),
                    produced: 0,
                    tail: Vec::new(),
                    has_release: false,
                };
                one.chunks(piece).chain(two.chunks(piece)).for_each(|piece| trial.write_all(piece).unwrap());
                assert!(trial.has_release, "cut at {cut}, pieces of {piece}");
            }
        }
    }
}
