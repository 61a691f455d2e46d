//! Tag pages.

use strongroom::object::{FormatError, Segment, Stamp};

use super::object::{PAGE, fix_tag_page_mac, object, page};

/// Reads `data` as the tag page of the segment that it names.
pub fn run(data: &[u8]) -> bool {
    let index = u64::from_be_bytes(page(data)[8..16].try_into().unwrap());
    [false, true].into_iter().any(|wide| opens(&mut page(data), index.max(1), wide))
}

fn opens(page: &mut [u8; PAGE], index: u64, wide: bool) -> bool {
    let (identity, keys) = object(wide);
    let _ = keys.open_segment(&identity, index, page);
    fix_tag_page_mac(&identity, page);
    match keys.open_segment(&identity, index, page) {
        // What is accepted has one form only.
        Ok(segment) => assert_eq!(keys.seal_segment(&segment).as_slice(), page.as_slice()),
        Err(FormatError::TagPage(at)) => {
            assert_eq!(at, index);
            return false;
        }
        Err(other) => panic!("{other}"),
    }
    true
}

/// Pages of both widths.
pub fn seeds() -> Vec<Vec<u8>> {
    let sealed = |wide| {
        let (identity, keys) = object(wide);
        let mut segment = Segment::blank(&identity.geometry, 1);
        segment.salt = [1; 16];
        (segment.generation, segment.writes) = (2, 3);
        segment.set_stamp(0, Stamp { nonce: [4; 12], tag: [5; 16] });
        segment.set_stamp(63, Stamp { nonce: [6; 12], tag: [7; 16] });
        keys.seal_segment(&segment).to_vec()
    };
    vec![sealed(false), sealed(true)]
}
