//! Memory for the decompressors that ask for some: handed out in order, never taken back, but for the last piece.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Heap {
    next: AtomicUsize,
    end: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

/// The memory to hand out.
pub fn give(memory: &'static mut [u8]) {
    let range = memory.as_mut_ptr_range();
    HEAP.next.store(range.start as usize, Relaxed);
    HEAP.end.store(range.end as usize, Relaxed);
}

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.next.load(Relaxed).next_multiple_of(layout.align());
        match start.checked_add(layout.size()) {
            Some(end) if end <= self.end.load(Relaxed) => {
                self.next.store(end, Relaxed);
                start as *mut u8
            }
            _ => crate::console::halt(&[crate::console::Part::Text("the decompressor is out of memory")]),
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if start as usize + layout.size() == self.next.load(Relaxed) {
            self.next.store(start as usize, Relaxed);
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let last = start as usize + layout.size() == self.next.load(Relaxed);
        if last && start as usize + len <= self.end.load(Relaxed) {
            self.next.store(start as usize + len, Relaxed);
            return start;
        }
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(len, layout.align()));
            fresh.copy_from_nonoverlapping(start, len.min(layout.size()));
            self.dealloc(start, layout);
            fresh
        }
    }
}
