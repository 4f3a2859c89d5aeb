//! The boot parameters ("zero page"): arch/x86/include/uapi/asm/bootparam.h, Documentation/arch/x86/zero-page.rst.

use super::memory::{PAGE, Span};

/// Room for entries in boot_params itself.
pub const E820_MAX: usize = 128;
const E820_USABLE: u32 = 1;
const SETUP_E820_EXT: u32 = 1;
/// What is meant stands elsewhere: `struct setup_indirect` says where.
const SETUP_INDIRECT: u32 = 1 << 31;
/// A list of setup_data that is longer is a circle.
const SETUP_DATA_MAX: usize = 256;
/// The next one's address, type, length.
pub const NODE_HEADER: u64 = 16;

/// `loadflags`: the kernel's addresses were chosen at random.
pub const KASLR_FLAG: u8 = 1 << 1;

/// Offsets.
#[allow(dead_code, reason = "as the documentation lists them")]
pub mod at {
    pub const ORIG_X: usize = 0x00;
    pub const ORIG_Y: usize = 0x01;
    pub const EXT_MEM_K: usize = 0x02;
    pub const ORIG_VIDEO_MODE: usize = 0x06;
    pub const ORIG_VIDEO_COLS: usize = 0x07;
    pub const ORIG_VIDEO_LINES: usize = 0x0e;
    pub const ORIG_VIDEO_IS_VGA: usize = 0x0f;
    /// Lines of a character.
    pub const ORIG_VIDEO_POINTS: usize = 0x10;
    pub const LFB_WIDTH: usize = 0x12;
    pub const LFB_HEIGHT: usize = 0x14;
    pub const LFB_DEPTH: usize = 0x16;
    pub const LFB_BASE: usize = 0x18;
    pub const LFB_SIZE: usize = 0x1c;
    pub const LFB_LINE_LENGTH: usize = 0x24;
    /// Size and position of red, then green, blue and the rest.
    pub const RED_SIZE: usize = 0x26;
    pub const PAGES: usize = 0x32;
    pub const CAPABILITIES: usize = 0x36;
    pub const EXT_LFB_BASE: usize = 0x3a;
    pub const ACPI_RSDP_ADDR: usize = 0x70;
    pub const EXT_RAMDISK_IMAGE: usize = 0xc0;
    pub const EXT_RAMDISK_SIZE: usize = 0xc4;
    pub const EXT_CMD_LINE_PTR: usize = 0xc8;
    pub const EFI_LOADER_SIGNATURE: usize = 0x1c0;
    pub const EFI_SYSTAB: usize = 0x1c4;
    pub const EFI_MEMDESC_SIZE: usize = 0x1c8;
    pub const EFI_MEMDESC_VERSION: usize = 0x1cc;
    pub const EFI_MEMMAP: usize = 0x1d0;
    pub const EFI_MEMMAP_SIZE: usize = 0x1d4;
    pub const EFI_SYSTAB_HI: usize = 0x1d8;
    pub const EFI_MEMMAP_HI: usize = 0x1dc;
    pub const ALT_MEM_K: usize = 0x1e0;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const SECURE_BOOT: usize = 0x1ec;
    pub const SENTINEL: usize = 0x1ef;
    pub const HEADER: usize = 0x1f1;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const SETUP_DATA: usize = 0x250;
    pub const PREF_ADDRESS: usize = 0x258;
    /// Behind the header, and all that it may grow by.
    pub const HEADER_MAX: usize = 0x290;
    pub const E820_TABLE: usize = 0x2d0;
}

/// The page that the loader filled in.
#[derive(Clone, Copy)]
pub struct BootParams {
    page: *mut u8,
}

impl BootParams {
    /// # Safety
    /// `page` is a whole boot_params that nobody else uses.
    pub unsafe fn new(page: *mut u8) -> Self {
        BootParams { page }
    }

    pub fn u8(self, at: usize) -> u8 {
        unsafe { self.page.add(at).read_volatile() }
    }

    pub fn u32(self, at: usize) -> u32 {
        unsafe { self.page.add(at).cast::<u32>().read_unaligned() }
    }

    pub fn u64(self, at: usize) -> u64 {
        unsafe { self.page.add(at).cast::<u64>().read_unaligned() }
    }

    pub fn set_u8(self, at: usize, value: u8) {
        unsafe { self.page.add(at).write_volatile(value) }
    }

    pub fn set_u16(self, at: usize, value: u16) {
        unsafe { self.page.add(at).cast::<u16>().write_unaligned(value) }
    }

    pub fn set_u64(self, at: usize, value: u64) {
        unsafe { self.page.add(at).cast::<u64>().write_unaligned(value) }
    }

    pub fn set_u32(self, at: usize, value: u32) {
        unsafe { self.page.add(at).cast::<u32>().write_unaligned(value) }
    }

    /// The whole page.
    pub fn bytes(self) -> &'static [u8] {
        unsafe { core::slice::from_raw_parts(self.page, PAGE as usize) }
    }

    pub fn span(self) -> Span {
        Span::new(self.page as u64, PAGE)
    }

    /// A 64-bit number in two halves; a loader that did not clear what it does not know has no upper half.
    fn halves(self, low: usize, high: usize) -> u64 {
        let upper = if self.u8(at::SENTINEL) == 0 { self.u32(high) } else { 0 };
        u64::from(upper) << 32 | u64::from(self.u32(low))
    }

    fn set_halves(self, low: usize, high: usize, value: u64) {
        self.set_u32(low, value as u32);
        if self.u8(at::SENTINEL) == 0 {
            self.set_u32(high, (value >> 32) as u32);
        }
    }

    pub fn ramdisk(self) -> Span {
        Span::new(
            self.halves(at::RAMDISK_IMAGE, at::EXT_RAMDISK_IMAGE),
            self.halves(at::RAMDISK_SIZE, at::EXT_RAMDISK_SIZE),
        )
    }

    pub fn set_ramdisk(self, span: Span) {
        self.set_halves(at::RAMDISK_IMAGE, at::EXT_RAMDISK_IMAGE, span.start);
        self.set_halves(at::RAMDISK_SIZE, at::EXT_RAMDISK_SIZE, span.end - span.start);
    }

    pub fn cmdline_at(self) -> u64 {
        self.halves(at::CMD_LINE_PTR, at::EXT_CMD_LINE_PTR)
    }

    pub fn set_cmdline_at(self, address: u64) {
        self.set_halves(at::CMD_LINE_PTR, at::EXT_CMD_LINE_PTR, address);
    }

    /// The command line, up to `max` bytes, without its zero.
    pub fn cmdline(self, max: usize) -> &'static [u8] {
        let address = self.cmdline_at();
        if address == 0 {
            return &[];
        }
        let start = address as *const u8;
        let len = (0..max).take_while(|index| unsafe { start.add(*index).read() } != 0).count();
        unsafe { core::slice::from_raw_parts(start, len) }
    }

    /// Where an entry of the memory map stands, of which there are [`E820_MAX`].
    pub fn entry(self, index: usize) -> *mut u8 {
        self.page.wrapping_add(at::E820_TABLE + index * 20)
    }

    /// True when an EFI loader passed EFI's own tables.
    pub fn is_efi(self) -> bool {
        matches!(&self.u32(at::EFI_LOADER_SIGNATURE).to_le_bytes(), b"EL32" | b"EL64")
    }

    /// The nodes of setup_data: address, type and length of each. False when the list has no end.
    pub fn setup_data(self, see: &mut dyn FnMut(u64, u32, u32)) -> bool {
        self.nodes(&mut |node, header| {
            if let Some((kind, len)) = header {
                see(node, kind, len);
            }
        })
    }

    /// The same; each is told of before it is read, too, for it may have to be mapped.
    pub fn nodes(self, see: &mut dyn FnMut(u64, Option<(u32, u32)>)) -> bool {
        let mut next = self.u64(at::SETUP_DATA);
        for _ in 0..SETUP_DATA_MAX {
            if next == 0 {
                return true;
            }
            see(next, None);
            let node = next as *const u8;
            let (kind, len) =
                unsafe { (node.add(8).cast::<u32>().read_unaligned(), node.add(12).cast::<u32>().read_unaligned()) };
            see(next, Some((kind, len)));
            next = unsafe { node.cast::<u64>().read_unaligned() };
        }
        next == 0
    }

    /// The memory that setup_data is in: each node, and what it means elsewhere. False when the list has no end.
    pub fn setup_data_spans(self, see: &mut dyn FnMut(Span)) -> bool {
        self.setup_data(&mut |node, kind, len| {
            see(Span::new(node, NODE_HEADER + u64::from(len)));
            if kind == SETUP_INDIRECT && len >= 24 {
                // Type, nothing, length, address.
                let indirect = (node as *const u8).wrapping_add(NODE_HEADER as usize).cast::<u64>();
                let [len, at] = [1, 2].map(|index| unsafe { indirect.wrapping_add(index).read_unaligned() });
                see(Span::new(at, len));
            }
        })
    }

    /// All ranges of the memory map, and whether each may be used.
    pub fn memory_map(self, see: &mut dyn FnMut(Span, bool)) {
        let count = usize::from(self.u8(at::E820_ENTRIES)).min(E820_MAX);
        if count == 0 {
            // Without a map, there is at least the size that BIOSes have told since the 1990s.
            let kib = match self.u32(at::ALT_MEM_K) {
                0 => self.u32(at::EXT_MEM_K) & 0xffff,
                kib => kib,
            };
            return see(Span::new(1 << 20, u64::from(kib) << 10), true);
        }
        table(self.page as u64 + at::E820_TABLE as u64, count, see);
        self.setup_data(&mut |node, kind, len| {
            if kind == SETUP_E820_EXT {
                table(node.wrapping_add(NODE_HEADER), len as usize / 20, see);
            }
        });
    }
}

fn table(at: u64, count: usize, see: &mut dyn FnMut(Span, bool)) {
    for index in 0..count {
        let entry = (at as *const u8).wrapping_add(index * 20);
        unsafe {
            let start = entry.cast::<u64>().read_unaligned();
            let len = entry.add(8).cast::<u64>().read_unaligned();
            let kind = entry.add(16).cast::<u32>().read_unaligned();
            see(Span::new(start, len), kind == E820_USABLE);
        }
    }
}
