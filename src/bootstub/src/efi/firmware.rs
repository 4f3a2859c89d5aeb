//! Boot services, as far as they are used.

use core::ffi::c_void;
use core::ptr::{null, null_mut};
use uefi_raw::protocol::memory_protection::MemoryAttributeProtocol;
use uefi_raw::table::boot::{AllocateType, BootServices, MemoryAttribute, MemoryDescriptor, MemoryType};
use uefi_raw::table::system::SystemTable;
use uefi_raw::{Guid, Handle, Status};

use crate::console::Part::{Bytes, Hex, Text};
use crate::console::line;
use crate::memory::{PAGE, Span};

/// What a function gives; who fails has said why, when the user must know.
pub type Outcome<T> = Result<T, Status>;

/// A status as a result.
pub fn check(status: Status) -> Outcome<()> {
    if status == Status::SUCCESS { Ok(()) } else { Err(status) }
}

/// Says what went wrong, about which file if about one.
pub fn complain(what: &'static str, file: &[u8], status: Status) -> Status {
    line(&[Text(what), Bytes(file), Text(": error "), Hex(status.0 as u64)]);
    status
}

/// The firmware, until boot services end.
#[derive(Clone, Copy)]
pub struct Firmware {
    pub image: Handle,
    pub table: *const SystemTable,
}

impl Firmware {
    pub fn table(self) -> &'static SystemTable {
        unsafe { &*self.table }
    }

    pub fn services(self) -> &'static BootServices {
        unsafe { &*self.table().boot_services }
    }

    /// Has firmware that knows how keep `code`, at the beginning of our `len` bytes, from being written, and the others from being
    /// executed: the sections ask for it, but not all that loads images obeys.
    #[allow(dead_code, reason = "zboot's sections are few")]
    pub fn protect(self, code: Span, len: u64) {
        const READ_ONLY: MemoryAttribute = MemoryAttribute::READ_ONLY;
        const NOT_EXECUTED: MemoryAttribute = MemoryAttribute::EXECUTE_PROTECT;
        let Some(memory) = self.locate::<MemoryAttributeProtocol>(&MemoryAttributeProtocol::GUID) else { return };
        let (start, end) = (code.start, code.start + len);
        // What it refuses stays as the firmware wants it.
        let _ = unsafe {
            let (set, clear) = ((*memory).set_memory_attributes, (*memory).clear_memory_attributes);
            [
                clear(memory, start, code.end - start, NOT_EXECUTED),
                set(memory, start, code.end - start, READ_ONLY),
                clear(memory, code.end, end - code.end, READ_ONLY),
                set(memory, code.end, end - code.end, NOT_EXECUTED),
            ]
        };
    }

    /// What a handle can do.
    pub fn protocol<T>(self, handle: Handle, guid: &Guid) -> Option<*mut T> {
        let mut found = null_mut();
        let status = unsafe { (self.services().handle_protocol)(handle, guid, &mut found) };
        (status == Status::SUCCESS && !found.is_null()).then_some(found.cast())
    }

    /// The first that can do this.
    pub fn locate<T>(self, guid: &Guid) -> Option<*mut T> {
        let mut found = null_mut();
        let status = unsafe { (self.services().locate_protocol)(guid, null(), &mut found) };
        (status == Status::SUCCESS && !found.is_null()).then_some(found.cast())
    }

    /// All that can do this.
    pub fn handles(self, guid: &Guid) -> &'static [Handle] {
        const BY_PROTOCOL: i32 = 2;
        let (mut count, mut handles) = (0, null_mut());
        let locate = self.services().locate_handle_buffer;
        match unsafe { locate(BY_PROTOCOL, guid, null(), &mut count, &mut handles) } {
            Status::SUCCESS => unsafe { core::slice::from_raw_parts(handles, count) },
            _ => &[],
        }
    }

    /// A configuration table; none where firmware has a null for it.
    pub fn configuration(self, guid: &Guid) -> Option<*mut u8> {
        let table = self.table();
        if table.configuration_table.is_null() {
            return None;
        }
        let tables = unsafe {
            core::slice::from_raw_parts(table.configuration_table, table.number_of_configuration_table_entries)
        };
        let found = tables.iter().find(|entry| entry.vendor_guid == *guid)?;
        (!found.vendor_table.is_null()).then_some(found.vendor_table.cast())
    }

    pub fn install(self, guid: &'static Guid, table: *mut u8) -> Outcome<()> {
        check(unsafe { (self.services().install_configuration_table)(guid, table.cast::<c_void>()) })
    }

    /// Whole pages for `len` bytes whose last is not above `last`.
    pub fn pages(self, len: u64, last: u64) -> Outcome<u64> {
        self.allocate(AllocateType::MAX_ADDRESS, len, last)
    }

    /// Whole pages for `len` bytes right there.
    pub fn pages_at(self, at: u64, len: u64) -> Outcome<()> {
        self.allocate(AllocateType::ADDRESS, len, at).map(|_| ())
    }

    fn allocate(self, kind: AllocateType, len: u64, mut at: u64) -> Outcome<u64> {
        let count = len.div_ceil(PAGE) as usize;
        check(unsafe { (self.services().allocate_pages)(kind, MemoryType::LOADER_DATA, count, &mut at) })?;
        Ok(at)
    }

    /// Memory for a table that outlives the kernel: kexec's next one reads it, too.
    pub fn table_memory(self, len: usize) -> Outcome<&'static mut [u8]> {
        self.pool(MemoryType::ACPI_RECLAIM, len)
    }

    pub fn pool(self, kind: MemoryType, len: usize) -> Outcome<&'static mut [u8]> {
        let mut memory = null_mut();
        check(unsafe { (self.services().allocate_pool)(kind, len, &mut memory) })?;
        Ok(unsafe { core::slice::from_raw_parts_mut(memory, len) })
    }

    pub fn free(self, memory: *mut u8) {
        // Nothing to be done if the firmware does not want it back.
        let _ = unsafe { (self.services().free_pool)(memory) };
    }
}

/// The memory map, in memory of its own.
pub struct Map {
    memory: &'static mut [u8],
    len: usize,
    pub key: usize,
    pub entry: usize,
    pub version: u32,
}

impl Map {
    /// Room for it, and for some more entries than there are now.
    pub fn allocate(firmware: Firmware) -> Outcome<Map> {
        const MORE: usize = 32;
        let mut map = Map { memory: &mut [], len: 0, key: 0, entry: 0, version: 0 };
        // Says how long it is.
        let _ = map.again(firmware);
        let room = map.len + MORE * map.entry;
        map.memory = firmware.pool(MemoryType::LOADER_DATA, room)?;
        Ok(map)
    }

    /// Reads it, or reads it again.
    pub fn again(&mut self, firmware: Firmware) -> Outcome<()> {
        self.len = self.memory.len();
        let memory = self.memory.as_mut_ptr().cast();
        let get = firmware.services().get_memory_map;
        check(unsafe { get(&mut self.len, memory, &mut self.key, &mut self.entry, &mut self.version) })?;
        // Entries are read where they begin, and there may be more behind what is known of them.
        let is_sound = self.entry >= size_of::<MemoryDescriptor>() && self.entry % 8 == 0;
        check(if is_sound && self.len <= self.memory.len() { Status::SUCCESS } else { Status::INCOMPATIBLE_VERSION })
    }

    pub fn free(self, firmware: Firmware) {
        firmware.free(self.memory.as_mut_ptr());
    }

    pub fn at(&self) -> u64 {
        self.memory.as_ptr() as u64
    }

    /// Bytes in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many entries there is room for.
    pub fn room(&self) -> usize {
        self.memory.len().checked_div(self.entry).unwrap_or(0)
    }

    pub fn entries(&self) -> impl Iterator<Item = &MemoryDescriptor> {
        let start = self.memory.as_ptr();
        (0..self.len.checked_div(self.entry).unwrap_or(0))
            .map(move |index| unsafe { &*start.add(index * self.entry).cast::<MemoryDescriptor>() })
    }
}
