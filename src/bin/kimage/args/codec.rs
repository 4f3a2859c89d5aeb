//! `compress` and `decompress`.

use super::size;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use kimage::codec::{Bcj, Codec, Literal, Parameters};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

/// Compress data as the kernel's build does
///
/// By default with the parameters that the newest kernel's build gives the codec's own command: bzip2, lzma, xz and
/// both lz4 give the same bytes as that command; gzip, lzo and zstd bytes that every decoder of the format reads. The
/// number of threads never changes the bytes. lzop stamps the time into its files, so kernels packed by it never
/// reproduce; here that time is 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage compress xz vmlinux.bin --with-size -o vmlinux.bin.xz      what a kernel of 6.12 or later carries
  kimage compress xz vmlinux.bin --dict-size 32MiB | xz -lv         as kernels up to 6.1 have it
  kimage compress xz Image --bcj armthumb -o Image.xz
  kimage compress gzip --best Image -o Image.gz                     3 percent smaller, many times slower
  kimage compress lzma Image --dict-size 64KiB --lc 1 --lp 2        for a small boot ROM
  kimage compress lz4-frame Image -o Image.lz4                      for U-Boot
  kimage compress zstd --split -j 4 vmlinux.bin -o vmlinux.zst")]
pub(crate) struct Compress {
    /// Which codec
    #[arg(value_parser = one_of(CODECS))]
    pub(crate) codec: Codec,
    /// The data
    pub(crate) file: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) options: CodecOptions,
    /// With --split: compress in one piece, too, and print what the split costs in size
    #[arg(long, requires = "split")]
    pub(crate) split_cost: bool,
    /// Append the size of the data (32 bits, little-endian), which the kernel's decompressor reads; gzip streams end
    /// with it anyway and stay as they are
    #[arg(long)]
    pub(crate) with_size: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// How to compress, for every command that does.
#[derive(Debug, Args)]
pub(crate) struct CodecOptions {
    /// Level: 1 to 9 for gzip and bzip2, 0 to 9 for lzma and xz, 1 to 12 for lz4, 1 to 22 for zstd
    /// [default: 9, xz 6, zstd 22; behind kimage's own boot stub zstd 19, in a unified image 3]
    #[arg(short, long, value_name = "N")]
    pub(crate) level: Option<u32>,
    /// Search for the smallest gzip stream, beyond level 9
    #[arg(long, conflicts_with = "level")]
    pub(crate) best: bool,
    /// Dictionary of lzma (default 64 MiB) and xz (128 MiB), window of zstd (128 MiB)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) dict_size: Option<u64>,
    /// Branch converter in front of xz [default: that of an ELF file's CPU, none for other data]
    #[arg(long, value_parser = one_of(CONVERTERS), value_name = "CPU")]
    pub(crate) bcj: Option<Bcj>,
    /// Literal context bits of lzma and xz, 0 to 4 [default: 3, or as the kernel has it for the CPU]
    #[arg(long, value_name = "N")]
    pub(crate) lc: Option<u32>,
    /// Literal position bits of lzma and xz, 0 to 4 minus --lc [default: 0, or as the kernel has it for the CPU]
    #[arg(long, value_name = "N")]
    pub(crate) lp: Option<u32>,
    /// Position bits of lzma and xz, 0 to 4 [default: 2]
    #[arg(long, value_name = "N")]
    pub(crate) pb: Option<u32>,
    /// Cut the data for xz or zstd into pieces of 16 MiB, which several threads can compress: faster and larger
    #[arg(long)]
    pub(crate) split: bool,
    /// How many threads may work [default: one for each CPU]
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

impl CodecOptions {
    /// `parameters`, where nothing else was asked for.
    pub(crate) fn over(&self, parameters: Parameters) -> Parameters {
        let Literal { lc, lp, pb } = parameters.literal;
        Parameters {
            level: self.level.or(parameters.level),
            dictionary: self.dict_size.or(parameters.dictionary),
            bcj: self.bcj.or(parameters.bcj),
            literal: Literal { lc: self.lc.or(lc), lp: self.lp.or(lp), pb: self.pb.or(pb) },
            threads: self.jobs.or_else(|| available_parallelism().ok()).map_or(1, usize::from),
            split: self.split || parameters.split,
            best: self.best || parameters.best,
        }
    }

    /// Was anything asked for that changes the bytes?
    pub(crate) fn is_given(&self) -> bool {
        let default = Parameters::default();
        // The number of threads changes none.
        Parameters { threads: default.threads, ..self.over(default.clone()) } != default
    }
}

/// Decompress gzip, bzip2, lzma, xz, lzop, lz4 or zstd data
///
/// The codec is found out from the data. Every checksum in the stream is checked. Bytes behind the stream, such as the
/// size that kernels carry there, are reported and left out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage decompress vmlinux.bin.xz -o vmlinux.bin
  kimage decompress initrd.img | cpio -it
  kimage decompress --limit 64MiB upload.lzma -o upload")]
pub(crate) struct Decompress {
    /// The compressed data
    pub(crate) file: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Stop with an error when more comes out
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4GiB")]
    pub(crate) limit: u64,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long)]
    pub(crate) sync: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A word of the command line, what it stands for, and what there is to say of it.
pub(crate) type Word<T> = (&'static str, T, &'static str);

/// Every codec, with the frame of lz4 that the kernel reads.
pub(crate) const CODECS: &[Word<Codec>] = &[
    ("none", Codec::None, ""),
    ("gzip", Codec::Gzip, ""),
    ("bzip2", Codec::Bzip2, ""),
    ("lzma", Codec::Lzma, ""),
    ("xz", Codec::Xz, ""),
    ("lzo", Codec::Lzo, "In the container of lzop"),
    ("lz4", Codec::Lz4Legacy, "The legacy frame, which the kernel reads"),
    ("zstd", Codec::Zstd, ""),
    ("lz4-frame", Codec::Lz4Frame, "The modern frame, which U-Boot reads"),
];

/// What the kernel unpacks of an initial RAM disk.
pub(crate) const RAMDISK_CODECS: &[Word<Codec>] = CODECS.split_at(CODECS.len() - 1).0;

/// The compressions that U-Boot has a word for, with the frame of lz4 that it reads.
pub(crate) const UBOOT_CODECS: &[Word<Codec>] = &[
    ("none", Codec::None, ""),
    ("gzip", Codec::Gzip, ""),
    ("bzip2", Codec::Bzip2, ""),
    ("lzma", Codec::Lzma, ""),
    ("lzo", Codec::Lzo, ""),
    ("lz4", Codec::Lz4Frame, ""),
    ("zstd", Codec::Zstd, ""),
];

/// What kimage's boot stub unpacks.
pub(crate) const STUB_CODECS: &[Word<Codec>] = &[
    ("zstd", Codec::Zstd, ""),
    ("lz4", Codec::Lz4Legacy, ""),
    ("gzip", Codec::Gzip, ""),
    ("xz", Codec::Xz, ""),
    ("none", Codec::None, ""),
];

/// What kimage's EFI program unpacks.
pub(crate) const ZBOOT_CODECS: &[Word<Codec>] = &[
    ("zstd", Codec::Zstd, ""),
    ("lz4", Codec::Lz4Legacy, ""),
    ("gzip", Codec::Gzip, ""),
    ("xz", Codec::Xz, ""),
    ("lzma", Codec::Lzma, ""),
    ("lzo", Codec::Lzo, ""),
];

/// What the boot stub of unified kernel images unpacks.
pub(crate) const UKI_CODECS: &[Word<Codec>] = &[("zstd", Codec::Zstd, ""), ("lz4", Codec::Lz4Legacy, "")];

/// What the boot stub for ARM unpacks.
pub(crate) const ARM_STUB_CODECS: &[Word<Codec>] =
    &[("lz4", Codec::Lz4Legacy, ""), ("gzip", Codec::Gzip, ""), ("xz", Codec::Xz, ""), ("none", Codec::None, "")];

pub(super) const CONVERTERS: &[Word<Bcj>] = &[
    ("x86", Bcj::X86, ""),
    ("arm", Bcj::Arm, ""),
    ("armthumb", Bcj::ArmThumb, ""),
    ("arm64", Bcj::Arm64, ""),
    ("powerpc", Bcj::PowerPc, ""),
    ("riscv", Bcj::RiscV, ""),
    ("sparc", Bcj::Sparc, ""),
    ("none", Bcj::None, ""),
];

/// Takes one of these words.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(words: &'static [Word<T>]) -> impl TypedValueParser<Value = T> {
    let shown = words.iter().map(|(name, _, help)| {
        let value = PossibleValue::new(*name);
        if help.is_empty() { value } else { value.help(*help) }
    });
    PossibleValuesParser::new(shown).try_map(move |given| {
        let found = words.iter().find(|(name, ..)| *name == given);
        found.map(|(_, value, _)| *value).ok_or("no such word")
    })
}
