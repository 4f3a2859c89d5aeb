//! What a zImage around our own boot stub says of itself, and what the stub will do.

use crate::bytes::{Cursor, len64, slice_at};
use crate::finding::{Checks, rules};
use crate::format::footprint::{Footprint, Stage};
use crate::layout::RegionKind;
use crate::stub::arm::{self, ArmParameters, Machine, PLAIN};
use crate::stub::builtin::{ArmStub, Unpacker};
use std::ops::Range;

rules! {
    /// Rules of zImages around our own boot stub.
    pub(crate) STUB_RULES:
    PLACES = "zimage.stub_places", Error, "the boot stub's parameters",
        "the boot stub looks for the kernel where it is not, or writes it over what is not its own",
        "make the image again with kimage zimage";
    STUB = "zimage.stub", Note, "code of the boot stub",
        "another version of kimage made the image, or the code is damaged",
        "make the image again with this kimage to be sure";
}

/// What a zImage around our own boot stub says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StubImage {
    /// What the packer told the stub.
    pub(crate) parameters: ArmParameters,
    /// Which of this kimage's boot stubs it is, byte for byte; `None` for one of another version.
    pub(crate) unpacker: Option<Unpacker>,
}

/// File offset of the parameters.
pub(crate) const PARAMETERS: Range<u64> = 0x40..0xa0;

/// Bytes of the size table behind them: six words, and a zero.
const TABLE_LEN: u64 = 7 * 4;

impl StubImage {
    /// `None` for an image with another decompressor.
    pub(crate) fn find(bytes: &[u8]) -> Option<StubImage> {
        let cursor = Cursor::little(bytes);
        let mut words = [0; arm::WORDS];
        for (word, at) in words.iter_mut().zip(PARAMETERS.step_by(4)) {
            *word = cursor.u32("parameters", at).ok()?;
        }
        let parameters = ArmParameters::from_words(&words)?;
        let is_code = |unpacker: &Unpacker| {
            let Some(Ok(stub)) = unpacker.arm_elf().map(ArmStub::read) else { return false };
            let code = PARAMETERS.end + TABLE_LEN..len64(&stub.bytes);
            slice_at(&stub.bytes, &code) == slice_at(bytes, &code)
        };
        Some(StubImage { parameters, unpacker: Unpacker::ALL.into_iter().find(is_code) })
    }

    /// Where the compressed kernel is, its size behind it left out.
    pub(crate) fn payload(&self) -> Range<u64> {
        let start = u64::from(self.parameters.payload_at);
        start..start + u64::from(self.parameters.payload_len)
    }

    /// Is the kernel not compressed?
    pub(crate) fn is_plain(&self) -> bool {
        self.parameters.flags & PLAIN != 0
    }

    /// Holds header, parameters and size table against each other. `wanted` is what header and table say: the end of the image,
    /// the sizes of the kernel and of its BSS, TEXT_OFFSET, and where the payload ends.
    pub(crate) fn check(&self, wanted: [u64; 5], checks: &mut Checks) {
        let p = &self.parameters;
        let [.., payload_end] = wanted;
        let names = ["the end of the image", "the size of the kernel", "the size of its BSS", "TEXT_OFFSET"];
        let found = [p.image_len, p.unpacked_len, p.bss_len, p.text_offset].map(u64::from);
        for ((what, found), wanted) in names.into_iter().zip(found).zip(wanted) {
            let text = format!("{what} is {found:#x}");
            checks.expect(&PLACES, PARAMETERS.start, found == wanted, text, format!("{wanted:#x} as in the header"));
        }
        let payload = self.payload();
        let behind = payload_end.checked_sub(payload.end);
        let is_inside = u64::from(p.stub_len) <= payload.start && matches!(behind, Some(0 | 4));
        let found = format!("a payload at {:#x} to {:#x}", payload.start, payload.end);
        let wanted = format!("one behind the stub, up to its size at {:#x}", payload_end.saturating_sub(4));
        checks.expect(&PLACES, PARAMETERS.start, is_inside, found, wanted);
        checks.expect(&STUB, 0, self.unpacker.is_some(), "another stub", "that of this kimage");
    }

    /// What it takes of the memory when its first byte is at `at`, with `tree_len` bytes of device tree behind it; what the
    /// stub itself would decide, with memory for all of it.
    pub(crate) fn footprint(&self, at: u64, behind: u64, footprint: &mut Footprint) {
        let p = &self.parameters;
        let (Ok(base), Ok(behind)) = (u32::try_from(at), u32::try_from(behind)) else { return };
        let Ok(decision) = arm::decide(p, &Machine::default(), base, behind) else { return };
        let image = u64::from(decision.image);
        if decision.image != base {
            let end =
                footprint.add(Stage::Decompressing, "zImage, moved", image, p.image_len.into(), RegionKind::Payload);
            footprint.add(Stage::Decompressing, "device trees", end, behind.into(), RegionKind::Data);
        }
        let work = u64::from(decision.end.saturating_sub(decision.run));
        footprint.add(Stage::Decompressing, "boot stub, its memory", decision.run.into(), work, None);
    }
}

/// For messages.
impl std::fmt::Display for StubImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unpacker {
            Some(_) if self.is_plain() => write!(f, "kimage, none"),
            Some(unpacker) => write!(f, "kimage, {}", unpacker.name()),
            None => write!(f, "kimage, of another version"),
        }
    }
}
