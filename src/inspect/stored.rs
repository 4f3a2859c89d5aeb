//! The files of disks.

use super::{Kind, Layer, LayerId, Opened};
use crate::bytes::slice_at;
use crate::format::Format;
use crate::format::disk::{Disk, Found};
use std::ops::Range;

/// A file of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its path from the root folder on, without `/` in front. The disk says it: it may be anything.
    pub path: String,
    /// Bytes of it.
    pub size: u64,
    layer: LayerId,
    pieces: Vec<Range<u64>>,
    is_whole: bool,
}

impl Opened<'_> {
    /// The files of the disk that this is, or that it holds compressed: nothing of others. Of several file systems each but the
    /// first has its number in front of its paths (`2:EFI/BOOT/BOOTX64.EFI`).
    pub fn files(&mut self) -> Vec<StoredFile> {
        let is_disk = |layer: &&Layer| layer.kind == Kind::Known(Format::Disk);
        loop {
            if let Some(layer) = self.layers().iter().find(is_disk) {
                let (id, disk) = (layer.id, Disk::read(self.bytes(layer)));
                let stored =
                    |Found { path, size, pieces, is_whole, .. }| StoredFile { path, size, layer: id, pieces, is_whole };
                return disk.files.into_iter().map(|file| stored(file.found)).collect();
            }
            if self.peel().is_none() {
                return Vec::new();
            }
        }
    }

    /// The bytes of a file, piece by piece; `None` where not all of them are there.
    pub fn file_bytes(&self, file: &StoredFile) -> Option<Vec<&[u8]>> {
        let disk = self.bytes(self.layer(file.layer)?);
        let pieces: Option<Vec<&[u8]>> = file.pieces.iter().map(|piece| slice_at(disk, piece)).collect();
        pieces.filter(|_| file.is_whole)
    }
}
