//! The memory that a kernel takes, from the moment it is loaded until it runs.
//!
//! The owner of each format makes its [`Footprint`]; whoever speaks of memory (map, lint, verify) asks it.

use crate::elf::raw::PF_X;
use crate::elf::{Elf, PT_LOAD};
use crate::layout::RegionKind;
use std::borrow::Cow;
use std::ops::Range;

/// A moment of booting, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What the header demands to be free: `init_size` of x86.
    Reserved,
    /// The boot loader has put the image where it belongs, by its header or by the caller's word.
    Loaded,
    /// The decompressor has moved out of the way of what it is going to write.
    Decompressing,
    /// The kernel is there, with what came out of the payload behind it.
    Decompressed,
    /// The kernel runs, its uninitialised data included.
    Running,
}

impl Stage {
    /// Each, in order.
    pub(crate) const ALL: [Stage; 5] =
        [Stage::Reserved, Stage::Loaded, Stage::Decompressing, Stage::Decompressed, Stage::Running];

    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Reserved => "init_size",
            Stage::Loaded => "loaded",
            Stage::Decompressing => "decompressing",
            Stage::Decompressed => "decompressed",
            Stage::Running => "running",
        }
    }
}

/// A piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// When it is in use.
    pub(crate) stage: Stage,
    /// By what.
    pub(crate) name: Cow<'static, str>,
    /// Addresses, end exclusive.
    pub(crate) at: Range<u64>,
    /// What is there; `None`: nothing yet, it is set aside (BSS, heap, stack, page tables).
    pub(crate) kind: Option<RegionKind>,
}

/// All that a kernel takes of the memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    places: Vec<Place>,
    /// What nothing in the file tells of the memory, as a sentence.
    pub(crate) unknown: Option<&'static str>,
}

impl Footprint {
    /// Nothing is known, for this reason.
    pub(crate) fn unknown(why: &'static str) -> Footprint {
        Footprint { places: Vec::new(), unknown: Some(why) }
    }

    /// Adds `len` bytes at `start`, cut at the end of the address space; nothing where there are none. Gives their end.
    pub(super) fn add(
        &mut self,
        stage: Stage,
        name: impl Into<Cow<'static, str>>,
        start: u64,
        len: u64,
        kind: impl Into<Option<RegionKind>>,
    ) -> u64 {
        let end = start.saturating_add(len);
        if end > start {
            self.places.push(Place { stage, name: name.into(), at: start..end, kind: kind.into() });
        }
        end
    }

    /// The segments of an ELF file at their physical addresses, lowest first.
    pub(crate) fn of_elf(elf: &Elf<'_>) -> Footprint {
        let mut footprint = Footprint::default();
        footprint.add_segments(elf);
        footprint
    }

    pub(super) fn add_segments(&mut self, elf: &Elf<'_>) {
        let mut loads: Vec<_> = elf.segments().iter().filter(|one| one.kind == PT_LOAD && one.memsz > 0).collect();
        loads.sort_by_key(|segment| segment.paddr);
        for (index, segment) in loads.iter().enumerate() {
            let kind = if segment.flags & PF_X != 0 { RegionKind::Code } else { RegionKind::Data };
            let in_file = segment.filesz.min(segment.memsz);
            let end = self.add(Stage::Running, format!("segment {index}"), segment.paddr, in_file, kind);
            self.add(Stage::Running, format!("BSS {index}"), end, segment.memsz - in_file, None);
        }
    }

    /// Adds what the kernel that a boot loader has loaded takes from then on. Gives what is not known of that.
    pub(crate) fn started(&mut self, kernel: Footprint) -> Option<&'static str> {
        self.places.extend(kernel.places.into_iter().filter(|place| place.stage != Stage::Loaded));
        kernel.unknown
    }

    /// What is where at that moment, in the order in which it was added.
    pub(crate) fn places(&self, stage: Stage) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.stage == stage)
    }

    /// Where the part of that name is.
    pub(crate) fn place(&self, stage: Stage, name: &str) -> Option<&Range<u64>> {
        self.places(stage).find(|place| place.name == name).map(|place| &place.at)
    }

    /// From the first address in use at that moment to behind the last.
    pub(crate) fn range(&self, stage: Stage) -> Option<Range<u64>> {
        let start = self.places(stage).map(|place| place.at.start).min()?;
        Some(start..self.places(stage).map(|place| place.at.end).max()?)
    }
}
