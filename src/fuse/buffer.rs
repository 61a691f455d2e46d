//! Buffers for what the kernel sends and gets: page-aligned, because it then takes them page by page without splitting.

use std::{fmt, hint};

/// Bytes that begin at a page and never move. Pages that were never used are not resident. They held plaintext, so they
/// are cleared in the end.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
    /// How much of it may have held something.
    used: usize,
}

impl Buffer {
    /// `len` zero bytes.
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len, used: 0 }
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).expect("a page more than needed was allocated")
    }

    /// Notes that the first `len` bytes hold something: those beyond are never touched, not even to clear them.
    pub(super) fn mark(&mut self, len: usize) {
        self.used = self.used.max(len.min(self.len));
    }

    /// The first `len` bytes, if there are as many, to be changed.
    pub(super) fn prefix_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        self.mark(len);
        self.bytes_mut().get_mut(..len)
    }

    /// The bytes, to be changed by somebody who [marks](Self::mark) what was.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).expect("a page more than needed was allocated")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let used = self.used;
        self.bytes_mut().get_mut(..used).expect("marks end at the length").fill(0);
        hint::black_box(&self.bytes);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_any_length_begin_at_a_page() {
        for len in [1, 4096, 1 << 20, (1 << 20) + 1, 10] {
            let buffer = Buffer::new(len);
            assert_eq!(buffer.bytes().len(), len);
            assert_eq!(buffer.bytes().as_ptr().align_offset(PAGE), 0);
        }
    }
}
