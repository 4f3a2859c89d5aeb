//! `bench`.

use super::codec::{CODECS, CONVERTERS, one_of};
use super::size;
use clap::{Args, ValueEnum};
use kimage::codec::{Bcj, Codec, Parameters};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

/// What every codec makes of a kernel: size, time, memory
///
/// Compresses what the kernel's build compresses: of an x86 vmlinux the stripped file and its relocation table, of an
/// ARM, arm64 or RISC-V one the flat Image. Any other file is taken as it is. Reads every result back and compares it
/// with the data.
///
/// The Pareto front is marked: the results of which no other is at most as large and at most as slow, and better in
/// one of the two. There are two fronts, for the time to decompress and for the time to compress.
///
/// By default: each codec as the newest kernel's build runs it (gzip, bzip2, lzma, xz, lzo, lz4, zstd); what kimage can
/// do beyond (gzip-best; for data of more than 16 MiB xz-split and zstd-split); and the levels that buy much time for
/// their size (xz-0, zstd-19, zstd-3, lz4-1).
///
/// Times and memory are those of kimage. The decompressor in a kernel or a boot loader is other code on another CPU:
/// expect the order of the codecs there, not the figures. Memory is the most that was in use at once beyond the input
/// and the output; it is known on Linux only. Each codec runs in a process of its own, so that none inherits another's
/// memory.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage bench vmlinux
  kimage bench vmlinux.unstripped --svg codecs.svg
  kimage bench vmlinux --codec zstd --codec zstd-19 --codec zstd-12 --codec zstd-split
  kimage bench Image --codec lzma-64KiB --codec xz-64KiB            for a small boot ROM
  kimage bench initrd.cpio --json | jq -r '.results[] | select(.decompress.on_front).codec'")]
pub(crate) struct Bench {
    /// The kernel's own vmlinux, or any other file
    pub(crate) vmlinux: PathBuf,
    /// This one only: a codec, then -LEVEL, -SIZE of the dictionary, -best, -split as wished: xz, xz-9, xz-32MiB,
    /// gzip-best, zstd-19-split, lz4-frame-1, none (repeatable)
    #[arg(long = "codec", value_name = "NAME", value_parser = Variant::parse)]
    pub(crate) codecs: Vec<Variant>,
    /// Take an ELF file as it is, too
    #[arg(long)]
    pub(crate) as_is: bool,
    /// How often each one compresses; it decompresses three times as often, and the fastest counts
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) runs: NonZeroU32,
    /// How many threads may work to compress [default: one for each CPU]
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Write a plot: size against times and memory, with the Pareto fronts
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print the results as JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but errors and the results
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// One direction of one codec, which `bench` measures in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct BenchOne {
    #[arg(value_enum)]
    pub(crate) direction: Direction,
    #[arg(value_parser = Variant::parse)]
    pub(crate) codec: Variant,
    #[arg(long, value_parser = one_of(CONVERTERS))]
    pub(crate) bcj: Bcj,
    #[arg(long)]
    pub(crate) jobs: NonZeroUsize,
    #[arg(long)]
    pub(crate) runs: NonZeroU32,
    /// Bytes of data on standard input
    #[arg(long)]
    pub(crate) data: usize,
    /// Bytes of the compressed stream behind it
    #[arg(long)]
    pub(crate) stream: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    Compress,
    Decompress,
}

/// A codec and how it is told to compress, under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) codec: Codec,
    pub(crate) parameters: Parameters,
}

impl Variant {
    /// `CODEC`, then `-LEVEL`, `-SIZE` with its unit, `-best`, `-split`.
    pub(crate) fn parse(name: &str) -> Result<Variant, String> {
        let mut longest_first = CODECS.to_vec();
        longest_first.sort_by_key(|(word, ..)| std::cmp::Reverse(word.len()));
        let found = longest_first.iter().find_map(|(word, codec, _)| {
            let rest = name.strip_prefix(word)?;
            (rest.is_empty() || rest.starts_with('-')).then_some((*codec, rest))
        });
        let Some((codec, rest)) = found else {
            let names: Vec<&str> = CODECS.iter().map(|(word, ..)| *word).collect();
            return Err(format!("it begins with no codec; there are {}", names.join(", ")));
        };
        let mut parameters = Parameters::default();
        for part in rest.split('-').skip(1) {
            let taken = match part {
                "best" => std::mem::replace(&mut parameters.best, true),
                "split" => std::mem::replace(&mut parameters.split, true),
                _ if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let level = part.parse().map_err(|_| format!("level {part} is too large"))?;
                    parameters.level.replace(level).is_some()
                }
                _ => match size(part) {
                    Ok(size) => parameters.dictionary.replace(size).is_some(),
                    Err(_) => return Err(format!("`{part}` is no level, no size with a unit, nor best or split")),
                },
            };
            if taken {
                return Err(format!("`{part}` is one too many"));
            }
        }
        let variant = Variant { name: name.to_owned(), codec, parameters };
        // A codec looks at its parameters before it looks at the data.
        let checked = variant.codec.compress(&[], &variant.parameters, &mut std::io::sink());
        checked.map_err(|error| error.to_string()).map(|()| variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variants() {
        let variant = Variant::parse("xz-9-32MiB-split").unwrap();
        assert_eq!(variant.codec, Codec::Xz);
        let want = Parameters { level: Some(9), dictionary: Some(32 << 20), split: true, ..Parameters::default() };
        assert_eq!(variant.parameters, want);
        assert_eq!(Variant::parse("lz4-1").unwrap().codec, Codec::Lz4Legacy);
        assert_eq!(Variant::parse("lz4-frame-1").unwrap().codec, Codec::Lz4Frame);
        assert_eq!(Variant::parse("none").unwrap().codec, Codec::None);
        assert!(Variant::parse("gzip-best").unwrap().parameters.best);
        for (wrong, why) in [
            ("", "no codec; there are none, gzip, bzip2, lzma, xz, lzo, lz4, zstd, lz4-frame"),
            ("zip", "no codec"),
            ("xzz", "no codec"),
            ("xz-", "`` is no level"),
            ("xz-fast", "`fast` is no level"),
            ("xz-1-2", "`2` is one too many"),
            ("xz-split-split", "`split` is one too many"),
            ("gzip-10", "`request.level` 10 for gzip: allowed are 1 to 9"),
            ("gzip-split", "`request.split` means nothing to gzip"),
            ("none-1", "`request.level` means nothing to none"),
            ("zstd-99999999999", "too large"),
        ] {
            let error = Variant::parse(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
