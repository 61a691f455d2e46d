//! The reply buffer of a loop thread: page-aligned, because the kernel then takes it page by page without splitting.

use std::{cell::RefCell, hint};

thread_local! {
    static BUFFER: RefCell<ReplyBuffer> = const { RefCell::new(ReplyBuffer { bytes: Vec::new(), start: 0 }) };
}

/// Lends `len` bytes of the calling thread's buffer to `use_it`. Their content is left over from earlier replies.
pub(super) fn with_buffer<R>(len: usize, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| use_it(buffer.slice(len)))
}

struct ReplyBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl ReplyBuffer {
    fn slice(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.start + len {
            self.clear();
            self.bytes = vec![0; len.max(USUAL) + PAGE];
            self.start = self.bytes.as_ptr().align_offset(PAGE);
        }
        self.bytes.get_mut(self.start..self.start + len).expect("the buffer was just made large enough")
    }

    /// It held plaintext.
    fn clear(&mut self) {
        self.bytes.fill(0);
        hint::black_box(&self.bytes);
    }
}

impl Drop for ReplyBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

const PAGE: usize = 4096;
const USUAL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_any_length_begin_at_a_page() {
        for len in [1, 4096, USUAL, USUAL + 1, 3 * USUAL, 10] {
            with_buffer(len, |bytes| {
                assert_eq!(bytes.len(), len);
                assert_eq!(bytes.as_ptr().align_offset(PAGE), 0);
            });
        }
    }
}
