//! A kernel on its way out: decompressed into a file, and never held.

use super::{Kind, Opened};
use crate::codec::{self, Codec};
use crate::elf::{Elf, TrimWriter};
use crate::error::Result;
use crate::format::Format;
use std::io::{ErrorKind, Write};

/// The part `vmlinux`, still compressed: an ELF file, perhaps with a relocation table behind it.
#[derive(Debug)]
pub struct PackedKernel<'o> {
    codec: Codec,
    stream: &'o [u8],
    limit: u64,
}

impl PackedKernel<'_> {
    /// About how many bytes it will be; 0 when nothing tells.
    pub fn expected_size(&self) -> u64 {
        u64::try_from(super::describe::expected_size(self.codec, self.stream, self.limit)).unwrap_or(0)
    }

    /// Decompresses the kernel into `out`, without what is behind it, and says how long it is. `None` when the stream
    /// turns out to be damaged, or the kernel to be one that needs to be seen as a whole: then what was written is worth
    /// nothing, and [`Opened::part`] knows more.
    ///
    /// # Errors
    /// The writer's own.
    pub fn unpack(&self, out: &mut dyn Write) -> Result<Option<u64>> {
        let mut trim = TrimWriter::new(out);
        match self.codec.decompress(self.stream, self.limit, &mut trim) {
            Ok(_) => Ok(trim.finish().ok()),
            Err(codec::Error::Write(error)) if error.kind() != ErrorKind::InvalidData => {
                Err(codec::Error::Write(error).into())
            }
            Err(_) => Ok(None),
        }
    }
}

impl Opened<'_> {
    /// Peels until the kernel is the next thing to be decompressed, for those who want the part `vmlinux` and nothing
    /// else. `None` when it is no ELF file, is not compressed or was decompressed to be found: then [`Opened::part`] has
    /// it.
    pub fn packed_kernel(&mut self) -> Option<PackedKernel<'_>> {
        let stream = loop {
            if self.parts().iter().any(|part| part.name == "vmlinux") {
                return None;
            }
            match self.next_stream() {
                Some(stream) => break stream,
                None => self.peel()?,
            };
        };
        let layer = self.layer(stream)?;
        // What is in a bare stream may be a decompressor that is an ELF file itself.
        if layer.name != super::describe::PAYLOAD {
            return None;
        }
        let Kind::Known(Format::Compressed(codec)) = layer.kind else { return None };
        let (stream, limit) = (self.bytes(layer), self.left());
        let is_elf = |piece: &[u8]| Some(Elf::detect(piece));
        let starts_well = matches!(codec.scan(stream, limit.min(4096), 0, is_elf), Ok(Some(true)));
        starts_well.then_some(PackedKernel { codec, stream, limit })
    }
}
