//! Per-thread buffers, so that the data path does not allocate.

use std::cell::Cell;

use crate::crypto;

thread_local! {
    static CIPHERTEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static PLAINTEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends a buffer of `len` bytes of unspecified content, for stored bytes.
pub(super) fn with<R>(len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = CIPHERTEXT.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = work(buffer.get_mut(..len).expect("just made long enough"));
    CIPHERTEXT.set(buffer);
    result
}

/// Lends a buffer of `len` bytes for plaintext; it is wiped afterwards.
pub(super) fn with_plain<R>(len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = PLAINTEXT.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let lent = buffer.get_mut(..len).expect("just made long enough");
    let result = work(lent);
    crypto::wipe(lent);
    PLAINTEXT.set(buffer);
    result
}
