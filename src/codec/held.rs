//! Memory only for what a stream is worth, whatever it declares.

use super::Result;
use crate::bytes::len64;
use std::io::{self, Write};

/// Counts what comes out of a stream, and holds the first bytes of it.
struct Held {
    bytes: Vec<u8>,
    most: u64,
    produced: u64,
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.most - len64(&self.bytes)).unwrap_or(usize::MAX);
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.produced += len64(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `unpack` writes, how many bytes that were, and what it returns. More than `worth` bytes are held only once all of
/// them have come out without an error, by unpacking a second time; `room` bytes are reserved.
pub(crate) fn held<T>(
    worth: u64,
    room: usize,
    mut unpack: impl FnMut(&mut dyn Write) -> Result<T>,
) -> (Vec<u8>, u64, Result<T>) {
    let mut held = Held { bytes: Vec::with_capacity(room), most: worth, produced: 0 };
    let mut result = unpack(&mut held);
    if result.is_ok() && held.produced > len64(&held.bytes) {
        // It declares more than the file is worth, and that is true: now it gets the memory.
        held.bytes = Vec::new();
        held.bytes.reserve(usize::try_from(held.produced).unwrap_or(0));
        result = unpack(&mut held.bytes);
    }
    (held.bytes, held.produced, result)
}
