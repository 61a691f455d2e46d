//! What the kernel is told without having asked.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::fields::Writer;

/// Makes the kernel drop the cached content and attributes of `node` (`FUSE_NOTIFY_INVAL_INODE`): a header with the
/// number of the notice in the place of an error and no request, then node, offset 0 and length 0, which is all of it.
pub fn forget_content(node: u64) -> [u8; 40] {
    let mut bytes = [0; 40];
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .u32(40)
        .and_then(|()| writer.u32(INVAL_INODE))
        .and_then(|()| writer.u64(0))
        .and_then(|()| writer.u64(node));
    written.expect("twenty-four bytes fit into forty");
    bytes
}

/// Makes the kernel drop what it knows of `name` in the directory `parent` (`FUSE_NOTIFY_INVAL_ENTRY`): after the header
/// come directory, length of the name, no flags, and the name with a zero. `None` for a name longer than any is.
pub fn forget_entry(parent: u64, name: &OsStr) -> Option<Vec<u8>> {
    let name = name.as_bytes();
    let len = u32::try_from(name.len()).ok()?;
    let whole = len.checked_add(33)?;
    let mut bytes = vec![0; usize::try_from(whole).ok()?];
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .u32(whole)
        .and_then(|()| writer.u32(INVAL_ENTRY))
        .and_then(|()| writer.u64(0))
        .and_then(|()| writer.u64(parent))
        .and_then(|()| writer.u32(len))
        .and_then(|()| writer.u32(0))
        .and_then(|()| writer.bytes(name));
    written.ok().map(|()| bytes)
}

const INVAL_INODE: u32 = 2;
const INVAL_ENTRY: u32 = 3;

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
    }

    #[test]
    fn the_notice_of_a_name_ends_in_a_zero() {
        let bytes = forget_entry(7, OsStr::new("ab")).unwrap();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [35, 3, 0, 0]);
        assert_eq!(u64::from_ne_bytes(bytes[16..24].try_into().unwrap()), 7);
        assert_eq!([word(24), word(28)], [2, 0]);
        assert_eq!(bytes[32..], *b"ab\0");
    }
}
