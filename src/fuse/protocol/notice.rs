//! What the kernel is told without having asked.

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

const INVAL_INODE: u32 = 2;

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
}
