//! Wiping buffers that held plaintext.

/// Zeroes `bytes`, at the speed of the machine and not to be optimised away. Keys are wiped where they are kept.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}
