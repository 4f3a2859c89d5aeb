//! EFI zboot: an EFI application that decompresses the kernel it carries (arm64, RISC-V, LoongArch).
//!
//! Source: drivers/firmware/efi/libstub/zboot-header.S and Makefile.zboot, Linux 6.1 to 7.2.
//!
//! One of ours is laid out as those of Linux are, but that the payload has a section of its own:
//!
//! ```text
//! file      header | code | data |        kernel, size | .sbat
//! memory    header | code | data, zeros | kernel, size | .sbat
//! ```

use crate::bytes::{Cursor, Field, FieldError, FieldWriter, len64, slice, until_zero};
use crate::codec::Codec;
use crate::finding::{Checks, rules};
use crate::format::pe;
use crate::format::pe::write::{
    CODE, FILE_ALIGNMENT, INITIALIZED, NewHeader, NewSection, PE_AT, SECTION_ALIGNMENT, write_header,
};
use crate::layout::{self, Plan, RegionKind, Reserver};
use crate::stub::builtin::EfiProgram;
use crate::stub::parameters::Parameters;

/// `zimg`, little-endian.
pub(crate) const MAGIC: u32 = 0x676d_697a;
pub(crate) const MAGIC_AT: u64 = 4;
const OFFSET_AT: u64 = 8;
pub(crate) const SIZE_AT: u64 = 12;
pub(crate) const CODEC_AT: u64 = 0x18;
/// The section that ours have for the payload.
const PAYLOAD: &str = ".payload";
/// Fields of the header.
pub(crate) const FIELDS: &[Field] =
    &[Field::new("payload_offset", OFFSET_AT, 4), Field::new("payload_size", SIZE_AT, 4)];
/// The tag and its NUL end before `LINUX_PE_MAGIC`.
const CODEC_LEN: u64 = 0x20;

rules! {
    /// What is looked at in the header.
    pub(crate) RULES:
    CONSTANT = "zboot.constant", Error, "header field",
        "boot loaders that unpack the kernel themselves do not know what to do with it",
        "copy the image again";
}

/// An EFI zboot image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zboot<'a> {
    bytes: &'a [u8],
    at: u64,
    len: u64,
    tag: &'a [u8],
}

impl<'a> Zboot<'a> {
    /// True when `bytes` begin with `MZ` and have `zimg` behind it.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        pe::is_mz(bytes) && Cursor::little(bytes).u32("magic", MAGIC_AT) == Ok(MAGIC)
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is wrong, or the payload leads out of the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let cursor = Cursor::little(bytes);
        cursor.magic("magic", MAGIC_AT, MAGIC)?;
        let (at, len) = (cursor.u32("payload offset", OFFSET_AT)?, cursor.u32("payload size", SIZE_AT)?);
        let (at, len) = (u64::from(at), u64::from(len));
        if slice(bytes, at, len).is_none() {
            return Err(FieldError::truncated("payload size", SIZE_AT, at + len, len64(bytes))
                .with_help("the image is cut off: copy it again"));
        }
        Ok(Zboot { bytes, at, len, tag: tag(bytes)? })
    }

    /// Length in bytes of the image that begins `bytes`, by its PE header, whether they are all there or not.
    pub(crate) fn announced_len(bytes: &[u8]) -> Option<u64> {
        pe::announced_len(bytes).filter(|_| Self::detect(bytes))
    }

    /// Is the program in it kimage's? Linux's have the payload in a section with their code.
    pub(crate) fn is_ours(bytes: &[u8]) -> bool {
        Self::detect(bytes) && pe::Pe::find(bytes).is_some_and(|pe| pe.section(PAYLOAD.as_bytes()).is_some())
    }

    /// The name of the compression: `gzip`, `zstd`; `xzkern`, `zstd22` and others up to 6.11.
    pub(crate) fn tag(&self) -> &'a [u8] {
        self.tag
    }

    /// The codec that the tag means.
    pub(crate) fn codec(&self) -> Option<Codec> {
        codec_of(self.tag)
    }

    /// Bytes of the stream, as the header has it.
    pub(crate) fn stream_len(&self) -> u64 {
        self.len
    }

    /// The compressed kernel in the file, its size word included: that stands behind every stream but gzip's, and the
    /// header does not count it.
    pub(crate) fn payload_range(&self) -> std::ops::Range<u64> {
        let end = self.at + self.len;
        let trailer = if self.codec() == Some(Codec::Gzip) || end + 4 > len64(self.bytes) { 0 } else { 4 };
        self.at..end + trailer
    }
}

fn tag(bytes: &[u8]) -> Result<&[u8], FieldError> {
    let tag = Cursor::little(bytes).take("compression type", CODEC_AT, CODEC_LEN)?;
    Ok(until_zero(tag))
}

/// What a new image is made of.
pub(crate) struct NewZboot<'a, 'p> {
    /// `Machine` of the kernel's own PE header.
    pub(crate) machine: u16,
    pub(crate) program: &'p EfiProgram,
    pub(crate) codec: Codec,
    /// The compressed kernel, and its size behind it.
    pub(crate) payload: Vec<u8>,
    /// Bytes of that which are the size.
    pub(crate) trailer: u64,
    /// What the program is to know of the kernel; where it finds it is filled in here.
    pub(crate) parameters: Parameters,
    /// The contents of `.sbat`; empty for none.
    pub(crate) sbat: &'a [u8],
}

impl<'a> NewZboot<'a, '_> {
    /// The header, and the program with what it is to know.
    ///
    /// # Errors
    /// A [`FieldError`] where a number does not fit its field: of a kernel of 4 GiB.
    pub(crate) fn head(&self) -> Result<Vec<u8>, FieldError> {
        let program = self.program;
        let payload_len = len64(&self.payload);
        let stream_len = payload_len.saturating_sub(self.trailer);
        let padded = |len: u64| (len, len.next_multiple_of(FILE_ALIGNMENT));
        let code = program.data_at;
        let data = (program.memory.saturating_sub(code), len64(&program.bytes).saturating_sub(code));
        let (read, write) = (pe::SECTION_READ, pe::SECTION_WRITE);
        let sections = [
            NewSection { name: ".text", len: (code, code), flags: CODE | pe::SECTION_EXECUTE | read },
            NewSection { name: ".data", len: data, flags: INITIALIZED | read | write },
            NewSection { name: PAYLOAD, len: padded(payload_len), flags: INITIALIZED | read },
            NewSection { name: ".sbat", len: padded(len64(self.sbat)), flags: INITIALIZED | read },
        ];
        let mut out = FieldWriter::new(vec![0; layout::usize_or_max(SECTION_ALIGNMENT)]);
        let entry = SECTION_ALIGNMENT.saturating_add(program.entry);
        let code = (SECTION_ALIGNMENT, code);
        write_header(
            &mut out,
            &NewHeader {
                at: PE_AT,
                headers: SECTION_ALIGNMENT,
                machine: self.machine,
                entry,
                code,
                sections: &sections,
            },
        )?;
        out.u32("image type", MAGIC_AT, MAGIC)?;
        // The program ends at a multiple of the sections' alignment, in the file and in memory.
        out.narrow("payload_offset", OFFSET_AT, SECTION_ALIGNMENT.saturating_add(len64(&program.bytes)))?;
        out.narrow("payload_size", SIZE_AT, stream_len)?;
        for (at, byte) in (CODEC_AT..).zip(name_of(self.codec).bytes()) {
            out.u8("compression type", at, byte)?;
        }
        let (mut head, _) = out.finish();
        let parameters = Parameters { payload_at: program.memory, payload_len: stream_len, ..self.parameters };
        head.extend(program.with(&parameters)?);
        Ok(head)
    }

    /// Plans the image.
    ///
    /// # Errors
    /// [`layout::Error`].
    pub(crate) fn plan(self, head: Vec<u8>) -> Result<Plan<'a>, layout::Error> {
        let mut reserver = Reserver::new();
        let (header, program) = head.split_at(head.len().min(layout::usize_or_max(SECTION_ALIGNMENT)));
        reserver.bytes(header.to_vec())?;
        reserver.region("header", 0, RegionKind::Header);
        reserver.bytes(program.to_vec())?;
        reserver.region("program", SECTION_ALIGNMENT, RegionKind::Code);
        let payload_at = reserver.at();
        reserver.bytes(self.payload)?;
        let end = reserver.at();
        if !self.sbat.is_empty() {
            reserver.fill_to("the kernel", end.next_multiple_of(FILE_ALIGNMENT), 0)?;
        }
        reserver.region("payload", payload_at, RegionKind::Payload);
        let sbat_at = reserver.at();
        reserver.bytes(self.sbat)?;
        reserver.region("sbat", sbat_at, RegionKind::Data);
        let end = reserver.at();
        reserver.fill_to("the image", end.next_multiple_of(FILE_ALIGNMENT), 0)?;
        reserver.region("padding", end, RegionKind::Padding);
        Ok(reserver.finish())
    }
}

/// How the header names a codec.
fn name_of(codec: Codec) -> &'static str {
    if codec == Codec::Lz4Legacy { "lz4" } else { codec.name() }
}

fn codec_of(tag: &[u8]) -> Option<Codec> {
    match tag {
        b"gzip" => Some(Codec::Gzip),
        b"lz4" => Some(Codec::Lz4Legacy),
        b"lzma" => Some(Codec::Lzma),
        b"lzo" => Some(Codec::Lzo),
        b"xzkern" | b"xz" => Some(Codec::Xz),
        b"zstd" | b"zstd22" => Some(Codec::Zstd),
        b"bzip2" => Some(Codec::Bzip2),
        _ => None,
    }
}

/// Where the magic number should be of an EFI application that names a compression where a zboot image does.
pub(super) fn lost_magic(bytes: &[u8]) -> Option<u64> {
    codec_of(tag(bytes).ok()?).map(|_| MAGIC_AT)
}

/// Holds the header that begins `bytes` to the rules.
pub(crate) fn check(bytes: &[u8]) -> Checks {
    let mut checks = Checks::default();
    let cursor = Cursor::little(bytes);
    for (name, at) in [("upper half of e_magic", 0), ("reserved word", 16), ("reserved word", 20)] {
        let value = cursor.u32("zboot", at).unwrap_or(0) >> if at == 0 { 16 } else { 0 };
        checks.expect(&CONSTANT, at, value == 0, format!("{name} {value:#x}"), "0");
    }
    if let Ok(image) = Zboot::parse(bytes) {
        let found = format!("compression type {:?}", String::from_utf8_lossy(image.tag()));
        let wanted = "gzip or zstd; before Linux 6.12 also lz4, lzma, lzo, xzkern";
        checks.expect(&CONSTANT, CODEC_AT, image.codec().is_some(), found, wanted);
    }
    checks
}
