//! What the kernel is told without having asked.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::{TooSmall, fields::Writer};

/// Makes the kernel drop the cached content and attributes of `node` (`FUSE_NOTIFY_INVAL_INODE`): from offset 0 on and
/// with length 0, which is all of it.
pub fn forget_content(node: u64) -> Vec<u8> {
    notice(INVAL_INODE, 24, |writer| {
        writer.u64(node)?;
        writer.zeros(16)
    })
}

/// Makes the kernel drop the attributes of `node` alone: those of an offset before the beginning.
pub fn forget_attributes(node: u64) -> Vec<u8> {
    notice(INVAL_INODE, 24, |writer| {
        writer.u64(node)?;
        writer.u64(u64::MAX)?;
        writer.zeros(8)
    })
}

/// Makes the kernel drop those of `nodes` that nobody uses, and forget them (`FUSE_NOTIFY_PRUNE`, Linux 6.18).
pub fn prune(nodes: &[u64]) -> Vec<u8> {
    notice(PRUNE, 16 + size_of_val(nodes), |writer| {
        writer.u32(u32::try_from(nodes.len()).map_err(|_| TooSmall)?)?;
        writer.zeros(12)?;
        nodes.iter().try_for_each(|node| writer.u64(*node))
    })
}

/// Makes the kernel drop `name` in the directory `parent`, and forget what stands there when nobody uses it
/// (`FUSE_NOTIFY_INVAL_ENTRY`).
pub fn forget_entry(parent: u64, name: &OsStr) -> Vec<u8> {
    notice(INVAL_ENTRY, 16 + name.len() + 1, |writer| {
        writer.u64(parent)?;
        writer.u32(u32::try_from(name.len()).map_err(|_| TooSmall)?)?;
        writer.u32(0)?;
        writer.bytes(name.as_bytes())?;
        writer.zeros(1)
    })
}

/// A notice with a body of `len` bytes: a header with the number of the notice in the place of an error, and no request.
fn notice(number: u32, len: usize, body: impl FnOnce(&mut Writer<'_>) -> Result<(), TooSmall>) -> Vec<u8> {
    let mut bytes = vec![0; 16 + len];
    let whole = u32::try_from(bytes.len()).expect("a notice is far shorter than 4 GiB");
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .u32(whole)
        .and_then(|()| writer.u32(number))
        .and_then(|()| writer.u64(0))
        .and_then(|()| body(&mut writer));
    written.expect("the room was made for the body");
    bytes
}

const INVAL_INODE: u32 = 2;
const INVAL_ENTRY: u32 = 3;
const PRUNE: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_has_the_layout_of_the_kernel() {
        let bytes = forget_content(7);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [40, 2, 0, 0]);
        assert_eq!(u64::from_ne_bytes(bytes[16..24].try_into().unwrap()), 7);
        assert_eq!(bytes[24..], [0; 16], "from the beginning to the end");
        let bytes = forget_attributes(7);
        assert_eq!(i64::from_ne_bytes(bytes[24..32].try_into().unwrap()), -1, "nothing of the content");
    }

    #[test]
    fn nodes_to_prune_are_counted_and_follow() {
        let bytes = prune(&[7, 1 << 40]);
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[..8], [48, 9, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[32..], [7_u64, 1 << 40].map(u64::to_ne_bytes).concat());
    }

    #[test]
    fn the_notice_of_a_name_ends_in_a_zero() {
        let bytes = forget_entry(7, OsStr::new("ab"));
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [35, 3, 0, 0]);
        assert_eq!(u64::from_ne_bytes(bytes[16..24].try_into().unwrap()), 7);
        assert_eq!([word(24), word(28)], [2, 0]);
        assert_eq!(bytes[32..], *b"ab\0");
    }
}
