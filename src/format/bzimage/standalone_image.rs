//! Images around our own boot stub: recognised, and held against what the stub will do with them.
//!
//! The arithmetic is that of packer and stub ([`memory`], [`load`]), so the three cannot disagree.

use super::kernel_info;
use super::parse::BzImage;
use super::raw::{BOOT_PARAMS_HEADER_END, HEADER_AT, XLF_KERNEL_64, offset_of};
use crate::bytes::{Cursor, len64, printable, slice};
use crate::finding::{Checks, Finding, Hex, rules};
use crate::format::footprint::{Footprint, Stage};
use crate::format::pe::Pe;
use crate::layout::{RegionKind, usize_or_max};
use crate::stub::builtin::{BootStub, MIXED, Unpacker};
use crate::stub::load;
use crate::stub::memory::{self, Layout, Sizes, align_up};
use crate::stub::parameters::{self, CMDLINE_OVERRIDES, Parameters, RELOCATABLE, SUMMED};

rules! {
    /// Rules of images around our own boot stub.
    pub(crate) STANDALONE_RULES:
    HEADER = "bzimage.stub_header", Error, "header field and the boot stub's parameters",
        "a boot loader and the boot stub go by different numbers: the stub stops with a message, or what the loader \
         put into memory is overwritten",
        "make the image again with kimage bzimage";
    COPY = "bzimage.stub_header_copy", Warning, "the boot stub's copy of the setup's header",
        "a kernel that UEFI firmware starts gets the values of the copy, one that a boot loader starts those of the header",
        "make the image again with kimage bzimage";
    PLACES = "bzimage.stub_places", Error, "the boot stub's parameters",
        "the boot stub looks for payload, command line or RAM disk where they are not",
        "make the image again with kimage bzimage";
    MEMORY = "bzimage.stub_memory", Error, "memory that the boot stub takes",
        "kernel, boot stub, payload and built-in RAM disk overwrite each other, or memory that is not theirs",
        "make the image again with kimage bzimage";
    KERNEL = "bzimage.stub_kernel", Error, "the kernel, put into place as the boot stub does it",
        "the boot stub stops with this message instead of starting the kernel",
        "make the image again with kimage bzimage from a kernel that is whole";
    SUM = "bzimage.stub_payload_sum", Error, "XXH64 of the payload, as the boot stub's parameters have it",
        "the payload is damaged: the boot stub stops with a message instead of starting the kernel",
        "make the image again with kimage bzimage from a kernel that is whole";
    OPEN = "bzimage.open_cmdline", Warning, "built-in command line of a signed image",
        "the boot loader's command line is added to what was signed, unless Secure Boot is on: it may say init=/bin/sh",
        "make the image again with a command line that is the whole (`request.cmdline_overrides`), then sign it";
    STUB = "bzimage.stub", Note, "code of the boot stub",
        "another version of kimage made the image, or the code is damaged",
        "make the image again with this kimage to be sure";
}

/// `kernel_version` where the kernel tells none.
pub(crate) const NO_RELEASE: &str = "kernel (kimage)";

/// What an image around our own boot stub says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StandaloneImage {
    /// What the packer told the stub.
    pub(crate) parameters: Parameters,
    /// File offset of the parameters.
    pub(crate) at: u64,
    /// Which of this kimage's boot stubs it is, byte for byte; `None` for one of another version.
    unpacker: Option<Unpacker>,
    /// It is for CPUs of 64 bits.
    pub(crate) is_64: bool,
    /// File offset of the copy of the setup's header, in a stub that is known.
    header_copy_at: Option<u64>,
}

impl StandaloneImage {
    /// `None` for an image with another decompressor.
    pub(crate) fn find(image: &BzImage<'_>) -> Option<StandaloneImage> {
        const FURTHEST: u64 = 1 << 20;
        let (start, end) = image.system_range();
        let behind = u64::from(image.setup().header().payload_offset.get()).min(FURTHEST).min(end - start);
        let stub = slice(image.bytes(), start, behind)?;
        let magic = parameters::MAGIC.to_le_bytes();
        let cursor = Cursor::little(stub);
        // The stub's code has the magic number, too; the parameters stand behind kernel_info.
        let is_behind_info = |at: usize| {
            let info = u64::try_from(at).ok().and_then(|at| at.checked_sub(kernel_info::LEN));
            info.is_some_and(|info| info % 16 == 0 && cursor.u32("kernel_info", info) == Ok(kernel_info::MAGIC))
        };
        let at = memchr::memmem::find_iter(stub, &magic).find(|at| is_behind_info(*at))?;
        let mut words = [0; parameters::WORDS];
        for (word, at) in words.iter_mut().zip((u64::try_from(at).ok()?..).step_by(8)) {
            *word = cursor.u64("parameters", at).ok()?;
        }
        let parameters = Parameters::from_words(&words)?;
        let at = u64::try_from(at).ok()?;
        let all = [true, false].into_iter().flat_map(|is_64| Unpacker::ALL.map(|unpacker| (unpacker, is_64)));
        let known = all.into_iter().find_map(|(unpacker, is_64)| Some((unpacker, same(stub, unpacker, is_64, at)?)));
        Some(StandaloneImage {
            parameters,
            at: start + at,
            unpacker: known.as_ref().map(|known| known.0),
            is_64: known.as_ref().map_or(image.setup().xloadflag(XLF_KERNEL_64) == Some(true), |(_, stub)| stub.is_64),
            header_copy_at: known.map(|known| start + known.1.setup_header_at),
        })
    }

    /// Is its boot stub one of this kimage's, byte for byte?
    pub(crate) fn is_known(&self) -> bool {
        self.unpacker.is_some()
    }

    /// Holds header, parameters and the memory that they describe against each other.
    pub(crate) fn check(&self, image: &BzImage<'_>) -> Checks {
        let mut checks = Checks::default();
        let (p, header) = (&self.parameters, image.setup().header());
        let places = p.cmdline_at.saturating_sub(p.payload_at);
        for (field, found, wanted) in [
            ("payload_offset", header.payload_offset.get().into(), p.payload_at),
            ("payload_length", header.payload_length.get().into(), places),
            ("syssize", u64::from(header.syssize.get()) * 16, p.file_len),
            ("kernel_alignment", header.kernel_alignment.get().into(), p.align),
            ("relocatable_kernel", header.relocatable_kernel.into(), u64::from(p.has(RELOCATABLE))),
            ("pref_address", header.pref_address.get(), p.load_min),
            ("init_size", header.init_size.get().into(), p.init_size),
        ] {
            let (kept, found) = (found == wanted, format!("{field} {found:#x}"));
            checks.expect(&HEADER, offset_of(field), kept, found, format!("{wanted:#x} as in the stub"));
        }
        if let Some(at) = self.header_copy_at {
            let header = image.setup().header_bytes();
            let kept = slice(image.bytes(), at, len64(header)) == Some(header);
            checks.expect(&COPY, at, kept, "another header", "the header that is in front of it");
        }
        // Behind the stream its size, unless the codec has it in its own trailer.
        let trailer = places.checked_sub(p.payload_len);
        let found = format!("a payload of {:#x} bytes in a place of {places:#x}", p.payload_len);
        checks.expect(&PLACES, self.at, matches!(trailer, Some(0 | 4)), found, "0 or 4 bytes between the two");
        let payload = slice(image.bytes(), image.system_range().0.saturating_add(p.payload_at), p.payload_len);
        if let Some(payload) = payload.filter(|_| p.has(SUMMED)) {
            let sum = payload_sum(payload);
            checks.expect(&SUM, self.at, sum == p.payload_sum, Hex(sum), format!("{:#x}", p.payload_sum));
        }
        if Pe::find(image.bytes()).is_some_and(|pe| pe.certificate_range().is_some()) {
            checks.append(Vec::from_iter(self.open_cmdline(image)).into());
        }
        let ends = [p.cmdline_at.checked_add(p.cmdline_len), p.initrd_at.checked_add(p.initrd_len)];
        let kept = matches!(ends, [Some(cmdline), Some(disk)] if cmdline <= p.initrd_at && disk <= p.file_len);
        let found = format!("command line at {:#x}, RAM disk at {:#x}", p.cmdline_at, p.initrd_at);
        checks.expect(&PLACES, self.at, kept, found, format!("one behind the other, inside {:#x} bytes", p.file_len));
        let sizes = Sizes {
            unpacked: p.unpacked_len,
            span: p.span,
            file: p.file_len,
            stub: p.stub_len,
            payload: places,
            cmdline: p.cmdline_len,
            heap: p.heap_len,
            initrd: p.initrd_len,
        };
        let wanted = memory::layout(&sizes);
        let found = Layout { run_at: p.run_at, initrd_to: p.initrd_to, init_size: p.init_size };
        let text = |layout: Layout| {
            let Layout { run_at, initrd_to, init_size } = layout;
            format!("the stub at {run_at:#x}, a RAM disk at {initrd_to:#x}, {init_size:#x} in all")
        };
        let wanted_text = wanted.map_or_else(|| "sizes that add up".to_owned(), text);
        checks.expect(&MEMORY, self.at, wanted == Some(found), text(found), wanted_text);
        checks.expect(&STUB, image.system_range().0, self.unpacker.is_some(), "none of this version", "one of them");
        checks
    }

    /// Where the stub copies itself and what it carries, when the kernel goes to `base` (`payload_to` and what follows in
    /// bootstub/src/main.rs).
    pub(super) fn add_moved(&self, footprint: &mut Footprint, base: u64) {
        const STAGE: Stage = Stage::Decompressing;
        let p = &self.parameters;
        let up = |at: u64| align_up(at, memory::STEP).unwrap_or(at);
        let end = footprint.add(STAGE, "boot stub", base.saturating_add(p.run_at), p.stub_len, RegionKind::Code);
        let packed = p.cmdline_at.saturating_sub(p.payload_at);
        let end = footprint.add(STAGE, "payload", up(end), packed, RegionKind::Payload);
        let end = footprint.add(STAGE, "command line", end, p.cmdline_len, RegionKind::Data);
        footprint.add(STAGE, "heap", up(end), p.heap_len, None);
        footprint.add(STAGE, "RAM disk", base.saturating_add(p.initrd_to), p.initrd_len, RegionKind::Data);
    }

    /// Puts the unpacked payload into place, as the boot stub will, and moves it once.
    pub(crate) fn check_kernel(&self, unpacked: &[u8]) -> Checks {
        let mut checks = Checks::default();
        let p = &self.parameters;
        let found = format!("{} unpacked bytes", unpacked.len());
        let kept = len64(unpacked) == p.unpacked_len;
        checks.expect(&KERNEL, self.at, kept, found, p.unpacked_len);
        let end = p.elf_len.max(p.span);
        // Damaged numbers are not to cost more memory than there is in the file.
        let most = len64(unpacked).saturating_add(1 << 30);
        if !kept || end > most {
            return checks;
        }
        let mut memory = unpacked.to_vec();
        memory.resize(usize_or_max(end.max(p.unpacked_len)), 0);
        let (kernel, table) = memory.split_at_mut(usize_or_max(end));
        let moved = align_up(1, p.align).unwrap_or(0);
        let done = load::segments(kernel, p).and_then(|_| load::relocate(kernel, table, p, moved));
        let fault = done.err().map_or("", load::Fault::text);
        checks.expect(&KERNEL, self.at, done.is_ok(), fault, "the kernel in its place");
        checks
    }

    /// The CPUs that it runs on.
    pub(crate) fn cpu(&self) -> &'static str {
        stub_cpu(self.is_64)
    }

    /// What is to be said of a built-in command line when the image is signed: it is not the whole one.
    pub(crate) fn open_cmdline(&self, image: &BzImage<'_>) -> Option<Finding> {
        let text = self.cmdline(image);
        let is_open = !text.is_empty() && !self.parameters.has(CMDLINE_OVERRIDES);
        let message =
            || format!("`{}` is in front of what the boot loader says", printable(&String::from_utf8_lossy(text)));
        is_open.then(|| OPEN.finding(message()))
    }

    /// The command line that is built in; empty for none.
    pub(crate) fn cmdline<'i>(&self, image: &BzImage<'i>) -> &'i [u8] {
        let at = image.system_range().0.saturating_add(self.parameters.cmdline_at);
        slice(image.bytes(), at, self.parameters.cmdline_len).unwrap_or_default()
    }
}

/// The sum that the boot stub holds a payload to that has none of its own.
pub(crate) fn payload_sum(payload: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, payload)
}

/// The CPUs that a boot stub of ours is for.
pub(crate) fn stub_cpu(is_64: bool) -> &'static str {
    if is_64 { "x86-64" } else { "486 or later" }
}

/// The stub of this name if it is `found`, but for what the packer writes into it.
fn same(found: &[u8], unpacker: Unpacker, is_64: bool, parameters_at: u64) -> Option<BootStub> {
    let stub = BootStub::read(unpacker.elf(is_64)?).ok()?;
    if stub.parameters_at != parameters_at {
        return None;
    }
    // What stands between it and the payload is the program for 32-bit firmware, if anything.
    let behind = slice(found, stub.early_end, len64(found).checked_sub(stub.early_end)?)?;
    let is_known = behind.is_empty() || BootStub::read(MIXED).is_ok_and(|mixed| is_as_built(behind, &mixed));
    (is_known && is_as_built(found, &stub)).then_some(stub)
}

/// Is it this code, but for what the packer writes into it?
fn is_as_built(found: &[u8], stub: &BootStub) -> bool {
    let Some(found) = slice(found, 0, len64(&stub.bytes)) else { return false };
    let written = [
        (stub.parameters_at, len64(&[0; parameters::LEN])),
        (stub.setup_header_at, BOOT_PARAMS_HEADER_END - HEADER_AT),
        // That is the kernel's.
        (stub.kernel_info_at.saturating_add(kernel_info::SETUP_TYPE_MAX_AT), 4),
    ]
    .map(|(at, len)| usize_or_max(at)..usize_or_max(at.saturating_add(len)));
    let mut pairs = found.iter().zip(&stub.bytes).enumerate();
    pairs.all(|(at, (one, other))| one == other || written.iter().any(|place| place.contains(&at)))
}

/// For messages.
impl std::fmt::Display for StandaloneImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unpacker {
            Some(_) if self.parameters.has(parameters::PLAIN) => write!(f, "kimage, none"),
            Some(unpacker) => write!(f, "kimage, {}", unpacker.name()),
            None => write!(f, "kimage, of another version"),
        }
    }
}
